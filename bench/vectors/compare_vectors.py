"""Compares what two policies hold at the same frames: distances by dimension, similarity, tasks that changed most.

vla-bench vectors compare vectors/early vectors/late
vla-bench vectors compare vectors/a vectors/b --format md > compared.md
"""

from __future__ import annotations

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the folders and the form."""
    parser.add_argument("first", type=Path, help="an extraction")
    parser.add_argument("second", type=Path, help="another one of the same frames")
    parser.add_argument("--at", metavar="PLACE", help="one place; all that both have unless given")
    parser.add_argument("--format", choices=("screen", "md", "csv", "latex", "html"), default="screen", help="screen")


def run(arguments: argparse.Namespace) -> int:
    """Prints the tables."""
    from vla_bench.bench.records.formats import print_tables
    from vla_bench.bench.vectors.comparison import compare
    from vla_bench.bench.vectors.store import common_places, needs_analysis, read
    from vla_bench.bench.vectors.tables import comparison_tables

    needs_analysis()
    first, second = read(arguments.first), read(arguments.second)
    places = [arguments.at] if arguments.at else common_places([first, second])
    for place in places:
        print_tables(comparison_tables(first, second, place, compare(first, second, place)), arguments.format)
    return 0
