"""Compares result sets on the episodes they share; the first one is the baseline.

vla-bench compare results/base results/new           is new better than base, and by how much
vla-bench compare base=results/a half=results/b mlp=results/c
                                                     several against base, under names of your own
vla-bench compare results/a results/b --format latex > table.tex
vla-bench compare results/main results/branch --fail-if-worse
                                                     exit code 3 when branch is worse beyond chance

The difference of average chain length comes with a paired bootstrap interval and an exact test, each
chain position with McNemar's exact test, each task with Holm's correction for there being many. A
difference counts when both its test and its interval say so. When the sets cannot be told apart, you
are told how many episodes would do it. Sets that were not measured in the same way are refused, and the
fields that differ named.
"""

from __future__ import annotations

import argparse
import sys

from vla_bench.bench.errors import ConfigError
from vla_bench.program import program

WORSE = 3
"""Exit code when ``--fail-if-worse`` found it so."""
FORMATS = ("screen", "md", "csv", "latex", "html")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the sets and how to write about them."""
    parser.add_argument("sets", nargs="+", metavar="[NAME=]FOLDER", help="two or more result sets")
    parser.add_argument("--format", choices=FORMATS, default="screen", help="screen unless given")
    parser.add_argument(
        "--difference",
        type=float,
        metavar="D",
        help="difference to name a sample size for: subtasks per sequence (0.1) or share of trials (0.05)",
    )
    parser.add_argument("--anyway", action="store_true", help="compare sets of different protocols too, and mark them")
    parser.add_argument(
        "--fail-if-worse", action="store_true", help=f"exit code {WORSE} when any set is worse than the first"
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the comparison."""
    from vla_bench.bench.records.comparison import compare
    from vla_bench.bench.records.lineup import open_sets

    if len(arguments.sets) < 2:
        raise ConfigError(f"a comparison takes two result sets or more: {program()} compare <A> <B>")
    if arguments.difference is not None and arguments.difference <= 0:
        raise ConfigError(f"--difference {arguments.difference:g}: must be more than 0")
    (base, first), *others = open_sets(arguments.sets).items()
    found = [compare(first, second, names=(base, name), anyway=arguments.anyway) for name, second in others]
    _print(found, arguments.format, arguments.difference)
    worse = any(each.average.sign < 0 for each in found)
    return WORSE if arguments.fail_if_worse and worse else 0


def _print(found: list, form: str, wanted: float | None) -> None:
    from vla_bench.bench.records import comparison_tables as tables
    from vla_bench.bench.records.formats import FORMATS as WRITERS

    if form == "screen":
        from rich.console import Console

        console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
        console.print(tables.to_screen(found, wanted))
    elif form == "md":
        print(tables.to_markdown(found, wanted), end="")
    else:
        said = [*tables.warnings(found), *(tables.verdict(each, wanted) for each in found)]
        for line in said:  # a file of numbers or a float has no place for them
            print(line, file=sys.stderr)
        print("\n".join(WRITERS[form](table) for table in tables.comparison_tables(found)), end="")
