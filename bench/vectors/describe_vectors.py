"""Says what an extraction is like: statistics with intervals over episodes, broken dimensions, probes, are n enough.

vla-bench vectors describe vectors/a
vla-bench vectors describe vectors/a --format md > a.md
"""

from __future__ import annotations

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the folder and the form."""
    parser.add_argument("folder", type=Path, help="an extraction")
    parser.add_argument("--at", metavar="PLACE", help="one place; all unless given")
    parser.add_argument("--format", choices=("screen", "md", "csv", "latex", "html"), default="screen", help="screen")


def run(arguments: argparse.Namespace) -> int:
    """Prints the tables."""
    from vla_bench.bench.records.formats import print_tables
    from vla_bench.bench.vectors.store import needs_analysis, read
    from vla_bench.bench.vectors.tables import description

    needs_analysis()
    found = read(arguments.folder)
    for place in [arguments.at] if arguments.at else found.places:
        print_tables(description(found, place), arguments.format)
    return 0
