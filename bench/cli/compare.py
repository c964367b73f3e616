"""Compares result sets on the episodes they share; the first one is the baseline.

vla-bench compare results/base results/new           is new better than base, and by how much
vla-bench compare base=results/a half=results/b mlp=results/c
                                                     several against base, under names of your own
vla-bench compare results/ablation-smoke             the rows of an ablation against its first
vla-bench compare results/a results/b --format latex > table.tex
vla-bench compare results/a results/b --format json  for programs; csv is one table that pandas reads
vla-bench compare results/main results/branch --fail-if-worse
                                                     exit code 3 when branch is worse beyond chance
vla-bench compare results/main results/branch --fail-under average=2.5
                                                     exit code 3 unless branch is surely that good

The difference of average chain length comes with a paired bootstrap interval and an exact test, each
chain position with McNemar's exact test, each task with Holm's correction for there being many. A
difference counts when both its test and its interval say so. When the sets cannot be told apart, you
are told how many episodes would do it. Sets that were not measured in the same way are refused, and the
fields that differ named.
"""

from __future__ import annotations

import argparse
import math
import sys
from typing import TYPE_CHECKING

from vla_bench.bench.errors import ConfigError
from vla_bench.program import program

if TYPE_CHECKING:
    from vla_bench.bench.records.result_set import ResultSet

WORSE = 3
"""Exit code when ``--fail-if-worse`` or ``--fail-under`` found it so."""
NUMBERS = {"average": "average_chain_length", "single": "single_task_success", "success": "success_rate"}
"""What ``--fail-under`` can be asked for."""
FORMATS = ("screen", "md", "csv", "latex", "html")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the sets and how to write about them."""
    parser.add_argument("sets", nargs="+", metavar="[NAME=]FOLDER", help="two or more result sets")
    parser.add_argument("--format", choices=(*FORMATS, "json"), default="screen", help="screen unless given")
    parser.add_argument(
        "--difference",
        type=float,
        metavar="D",
        help="difference to name a sample size for: subtasks per sequence (0.1) or share of trials (0.05)",
    )
    parser.add_argument("--anyway", action="store_true", help="compare sets of different protocols too, and mark them")
    parser.add_argument(
        "--fail-under",
        metavar="NUMBER=LEAST",
        help=f"exit code {WORSE} when the lower end of the interval of any set but the first is below it, e.g. "
        "average=2.5, single=0.8, success=0.4",
    )
    parser.add_argument(
        "--fail-if-worse", action="store_true", help=f"exit code {WORSE} when any set is worse than the first"
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the comparison."""
    from vla_bench.bench.records.comparison import compare
    from vla_bench.bench.records.lineup import open_sets

    least = parse_least(arguments.fail_under)
    if arguments.difference is not None and arguments.difference <= 0:
        raise ConfigError(f"--difference {arguments.difference:g}: must be more than 0")
    (base, first), *others = open_sets(arguments.sets).items()
    if not others:
        raise ConfigError(f"a comparison takes two result sets or more: {program()} compare <A> <B>")
    anyway = arguments.anyway or len(arguments.sets) == 1  # rows of an ablation may differ in the protocol on purpose
    found = [compare(first, second, names=(base, name), anyway=anyway) for name, second in others]
    _print(found, arguments.format, arguments.difference)
    worse = any(each.average.sign < 0 for each in found)
    low = [line for name, each in others if least and (line := below(name, each, *least))]
    for line in low:
        print(line, file=sys.stderr)
    return WORSE if low or (arguments.fail_if_worse and worse) else 0


def parse_least(text: str | None) -> tuple[str, float] | None:
    """What ``--fail-under`` asks for. ConfigError: it is not ``average=2.5`` or the like."""
    if text is None:
        return None
    name, sign, number = text.partition("=")
    try:
        least = float(number)
    except ValueError:
        least = math.nan
    if name not in NUMBERS or not sign or not math.isfinite(least):
        raise ConfigError(f"--fail-under {text}: type {' or '.join(f'{each}=<number>' for each in NUMBERS)}")
    if name != "average" and not 0 <= least <= 1:
        raise ConfigError(f"--fail-under {text}: a share between 0 and 1 is wanted")
    return name, least


def below(name: str, of: ResultSet, number: str, least: float) -> str:
    """What is below ``least`` by the lower end of its interval, in a sentence; empty when nothing is."""
    found = getattr(of, NUMBERS[number])
    if found.n and found.low >= least:
        return ""
    return f"{name}: {number} {found} is not surely {least:g} or more: its interval begins at {found.low:.3g}"


def _print(found: list, form: str, wanted: float | None) -> None:
    from vla_bench.bench.records import comparison_tables as tables
    from vla_bench.bench.records.formats import FORMATS as WRITERS

    if form == "screen":
        from rich.console import Console

        console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
        console.print(tables.to_screen(found, wanted))
    elif form == "json":
        from vla_bench.bench.records.for_programs import as_json, comparison_to_plain

        difference = wanted or tables.WANTED[found[0].kind]
        print(as_json([comparison_to_plain(each, difference) for each in found]), end="")
    elif form == "md":
        print(tables.to_markdown(found, wanted), end="")
    else:
        said = [*tables.warnings(found), *(tables.verdict(each, wanted) for each in found)]
        for line in said:  # a file of numbers or a float has no place for them
            print(line, file=sys.stderr)
        if form == "csv":
            from vla_bench.bench.records.for_programs import COMPARED_COLUMNS, as_csv, comparison_rows

            print(as_csv(COMPARED_COLUMNS, comparison_rows(found)), end="")
            return
        print("\n".join(WRITERS[form](table) for table in tables.comparison_tables(found)), end="")
