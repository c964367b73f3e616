"""All result sets of a folder, best first, one table per protocol and training split.

vla-bench leaderboard results/
vla-bench leaderboard results/ --format html > leaderboard.html

Numbers that were not measured in the same way never stand in one table. Each row is compared with the
best one on the episodes they share.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vla_bench.bench.cli.compare import FORMATS


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the folder and how to write the tables."""
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path("results"),
        help="looked through with all below (results)",
    )
    parser.add_argument("--format", choices=(*FORMATS, "json"), default="screen", help="screen unless given")


def run(arguments: argparse.Namespace) -> int:
    """Prints the tables; sets that cannot be read or hold nothing yet are named on stderr."""
    from vla_bench.bench.errors import ResultSetError
    from vla_bench.bench.records.formats import print_tables
    from vla_bench.bench.records.lineup import find_sets
    from vla_bench.bench.records.overview import leaderboard, ranked_groups
    from vla_bench.bench.records.result_set import ResultSet

    sets: dict[str, ResultSet] = {}
    for folder in find_sets(arguments.folder):
        try:
            found = ResultSet.load(folder)
        except ResultSetError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        if found.summary.done:
            sets[str(folder.relative_to(arguments.folder))] = found
        else:
            print(f"left out: {folder} has no judged episode yet", file=sys.stderr)
    if not sets:
        raise ResultSetError(f"no result set in {arguments.folder} has a judged episode")
    if arguments.format in ("json", "csv"):
        from vla_bench.bench.records.for_programs import RANKED_COLUMNS, as_csv, as_json, ranking_rows

        rows = ranking_rows(ranked_groups(sets))
        print(as_json(rows) if arguments.format == "json" else as_csv(RANKED_COLUMNS, rows), end="")
        return 0
    if arguments.format == "html":
        from vla_bench.bench.report.tables_page import tables_page

        print(tables_page("Leaderboard", leaderboard(sets), str(arguments.folder)), end="")
        return 0
    print_tables(leaderboard(sets), arguments.format)
    return 0
