"""One HTML file of a result set, or of several and how they compare; opens offline, in any browser.

vla-bench report results/a                           writes results/a/report.html
vla-bench report results/a --output a.html
vla-bench report results/train-a                     of a training run: curves, what trained, cost
vla-bench report base=results/a new=results/b        writes comparison.html; the first is the baseline

It holds the numbers with their intervals, how far chains get, every task, failures by task and place,
where the time went, every episode with filters, and the command that makes the run again.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the sets and the file."""
    parser.add_argument("sets", nargs="+", metavar="[NAME=]FOLDER", help="one result set or more")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="report.html in the set's folder, or comparison.html here"
    )
    parser.add_argument("--anyway", action="store_true", help="compare sets of different protocols too, and say so")


def run(arguments: argparse.Namespace) -> int:
    """Writes the file and says where it is."""
    from vla_bench.bench.errors import ResultSetError
    from vla_bench.bench.records.comparison import compare
    from vla_bench.bench.records.journal import write_atomically
    from vla_bench.bench.records.lineup import open_sets
    from vla_bench.bench.report import render
    from vla_bench.bench.training.journal import STEPS

    if len(arguments.sets) == 1 and (Path(arguments.sets[0]) / STEPS).is_file():
        from vla_bench.bench.training.page import write_page

        print(write_page(Path(arguments.sets[0]), arguments.output))
        return 0
    sets = open_sets(arguments.sets)
    (base, first), *others = sets.items()
    if not others and not first.records:
        raise ResultSetError(f"{first.folder} has no finished episode yet, so there is nothing to report")
    found = [compare(first, second, names=(base, name), anyway=arguments.anyway) for name, second in others]
    path = arguments.output or (Path("comparison.html") if others else first.folder / "report.html")
    text = render(sets, found)
    try:
        write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise ResultSetError(f"cannot write {path}: {error.strerror or error}") from error
    print(f"{path} ({len(text.encode()) / 1e6:.2f} MB)")
    return 0
