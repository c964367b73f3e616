"""One HTML file of a result set, or of several and how they compare; opens offline, in any browser.

vla-bench report results/a                           writes results/a/report.html
vla-bench report results/a --output a.html
vla-bench report results/train-a                     of a training run: curves, what trained, cost
vla-bench report base=results/a new=results/b        writes comparison.html; the first is the baseline
vla-bench report results/ablation-smoke              of all rows of an ablation: comparison.html in its folder

It holds the numbers with their intervals, how far chains get, every task, failures by task and place,
where the time went, every episode with filters, and the command that makes the run again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vla_bench.bench.records.result_set import ResultSet


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the sets and the file."""
    parser.add_argument("sets", nargs="+", metavar="[NAME=]FOLDER", help="one result set or more, or an ablation")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="report.html in the set's folder, or comparison.html here"
    )
    parser.add_argument("--anyway", action="store_true", help="compare sets of different protocols too, and say so")


def run(arguments: argparse.Namespace) -> int:
    """Writes the file and says where it is."""
    from vla_bench.bench.errors import ResultSetError
    from vla_bench.bench.records.lineup import open_sets
    from vla_bench.bench.records.rows import is_ablation
    from vla_bench.bench.training.journal import STEPS

    folder = Path(arguments.sets[0])
    if len(arguments.sets) == 1 and (folder / STEPS).is_file():
        from vla_bench.bench.training.page import write_page

        print(write_page(folder, arguments.output))
        return 0
    if len(arguments.sets) == 1 and is_ablation(folder):
        return _report_ablation(folder, arguments.output)
    sets = open_sets(arguments.sets)
    first = next(iter(sets.values()))
    if len(sets) == 1 and not first.records:
        raise ResultSetError(f"{first.folder} has no finished episode yet, so there is nothing to report")
    path = arguments.output or (Path("comparison.html") if len(sets) > 1 else first.folder / "report.html")
    _write(path, sets, anyway=arguments.anyway)
    return 0


def _write(path: Path, sets: Mapping[str, ResultSet], *, anyway: bool) -> None:
    from vla_bench.bench.errors import ResultSetError
    from vla_bench.bench.records.comparison import compare
    from vla_bench.bench.records.journal import write_atomically
    from vla_bench.bench.report import render

    (base, first), *others = sets.items()
    text = render(sets, [compare(first, second, names=(base, name), anyway=anyway) for name, second in others])
    try:
        write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise ResultSetError(f"cannot write {path}: {error.strerror or error}") from error
    print(f"{path} ({len(text.encode()) / 1e6:.2f} MB)")


def _report_ablation(folder: Path, output: Path | None) -> int:
    """One page of all rows; of an ablation that measures its rows on several things, one page each."""
    from vla_bench.bench.ablation import REPORT
    from vla_bench.bench.errors import ResultSetError
    from vla_bench.bench.records.lineup import named_sets
    from vla_bench.bench.records.rows import has_episodes, read_rows

    rows = read_rows(folder)
    there = [row for row in rows if has_episodes(folder, row)]
    for row in rows:
        if row not in there:
            print(f"row {row.name} has no finished episode yet and is left out", file=sys.stderr)
    if not there:
        raise ResultSetError(f"{folder}: no row has a finished episode yet, so there is nothing to report")
    path = output or folder / REPORT
    evaluations = list(dict.fromkeys(row.evaluation for row in there))
    for evaluation in evaluations:
        sets = named_sets([(row.name, folder / row.folder) for row in there if row.evaluation == evaluation])
        named = path if len(evaluations) == 1 else path.with_stem(f"{path.stem}-{evaluation}")
        _write(named, sets, anyway=True)
    return 0
