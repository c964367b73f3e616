"""Result sets in one table, beside published numbers.

vla-bench table results/a results/b                  on the screen
vla-bench table ours=results/a --format latex > table.tex
                                                     a booktabs table, under a name of yours
vla-bench table results/a --format csv --no-published
vla-bench table ours=results/seed0,results/seed1,results/seed2
                                                     several seeds or checkpoints in a row

Every rate has its n and a 95 % interval. One table per training split. Letters behind a name say what
keeps a row from being compared with the published ones: other assets, another renderer, fewer
sequences. Sets that were not measured in the same way are refused, and the fields that differ named.
"""

from __future__ import annotations

import argparse

from vla_bench.bench.cli.compare import FORMATS


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the sets and how to write the table."""
    parser.add_argument("sets", nargs="+", metavar="[NAME=]FOLDER[,FOLDER…]", help="one result set or more")
    parser.add_argument("--format", choices=FORMATS, default="screen", help="screen unless given")
    parser.add_argument("--no-published", action="store_true", help="leave published numbers out")
    parser.add_argument(
        "--anyway", action="store_true", help="put sets of different protocols into one table, and mark them"
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the tables."""
    from vla_bench.bench.records.formats import print_tables
    from vla_bench.bench.records.lineup import open_rows
    from vla_bench.bench.records.overview import side_by_side

    sets = open_rows(arguments.sets)
    made = side_by_side(sets, published=not arguments.no_published, anyway=arguments.anyway)
    print_tables(made, arguments.format)
    return 0
