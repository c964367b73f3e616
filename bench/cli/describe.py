"""What a file or folder is: a checkpoint, or a result set.

vla-bench describe model.pt                          groups of tensors, sizes, the structure they fit
vla-bench describe model.safetensors --shapes        every tensor with its shape and dtype too
vla-bench describe results/a                         what was measured, and what came out
vla-bench describe results/ablation-smoke            the rows of an ablation, what differs, how far each is

A checkpoint is mapped into memory, not read: 6.8 GB are described with a few megabytes.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vla_bench.program import installing

if TYPE_CHECKING:
    from vla_bench.bench.records.result_set import ResultSet
    from vla_bench.bench.records.rows import Row


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the path and what is said of a checkpoint."""
    parser.add_argument(
        "path", type=Path, help="a .pt, .ckpt or .safetensors file, a policy's folder, a result set, or an ablation"
    )
    parser.add_argument("--shapes", action="store_true", help="list every tensor of a checkpoint")
    parser.add_argument("--format", choices=("screen", "json", "csv"), default="screen", help="screen unless given")
    parser.add_argument(
        "--trust",
        action="store_true",
        help="read a checkpoint that holds more than tensors; doing so can run its code",
    )


def run(arguments: argparse.Namespace) -> int:
    """Describes what the path is."""
    from vla_bench.bench.errors import ConfigError

    path: Path = arguments.path.expanduser()
    if not path.exists():
        raise ConfigError(f"there is no {path}; give a checkpoint or the folder of a result set")
    from vla_bench.bench.records.rows import is_ablation

    if is_ablation(path):
        return _describe_ablation(path, arguments.format)
    if _is_result_set(path):
        return _describe_results(path, arguments.format)
    return _describe_checkpoint(path, shapes=arguments.shapes, trust=arguments.trust, form=arguments.format)


def _is_result_set(path: Path) -> bool:
    from vla_bench.bench.records.result_set import JOURNAL

    return (path / JOURNAL).is_file()


def _describe_results(path: Path, form: str) -> int:
    from vla_bench.bench.records.result_set import ResultSet
    from vla_bench.bench.records.tables import counts_line, headline, key_line

    results = ResultSet.load(path)
    if form == "json":
        from vla_bench.bench.records.for_programs import as_json, results_to_plain

        print(as_json(results_to_plain(results)), end="")
        return 0
    if form == "csv":
        from vla_bench.bench.records.for_programs import MEASURED_COLUMNS, as_csv, result_rows

        print(as_csv(MEASURED_COLUMNS[1:], result_rows(results)), end="")
        return 0
    summary = results.summary
    print(headline(summary), counts_line(summary), key_line(summary), sep="\n")
    for note in summary.notes:
        print(f"note: {note}")
    return 0


def _describe_ablation(folder: Path, form: str) -> int:
    from vla_bench.bench.records.rows import read_rows

    rows = read_rows(folder)
    sets = sets_of_rows(folder, rows)
    if form == "json":
        from vla_bench.bench.records.for_programs import as_json, results_to_plain

        plain = [
            dataclasses.asdict(row) | {"results": results_to_plain(sets[row]) if row in sets else None} for row in rows
        ]
        print(as_json({"ablation": folder.resolve().name, "rows": plain}), end="")
        return 0
    if form == "csv":
        from vla_bench.bench.records.for_programs import MEASURED_COLUMNS, as_csv, result_rows

        found = [line for row in rows if row in sets for line in result_rows(sets[row], row.name)]
        print(as_csv(MEASURED_COLUMNS, found), end="")
        return 0
    print_rows(folder, rows, sets)
    return 0


def sets_of_rows(folder: Path, rows: Sequence[Row]) -> dict[Row, ResultSet]:
    """The result sets of an ablation's rows that have begun."""
    from vla_bench.bench.records.result_set import JOURNAL, ResultSet

    return {row: ResultSet.load(folder / row.folder) for row in rows if (folder / row.folder / JOURNAL).is_file()}


def print_rows(folder: Path, rows: Sequence[Row], sets: Mapping[Row, ResultSet]) -> None:
    """Prints the rows of an ablation: how far each is, what came out, what differs."""
    import sys

    from rich.console import Console
    from rich.table import Table

    from vla_bench.bench.records.tables import in_line, mean_cell, rate_cell

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    evaluations = any(row.evaluation for row in rows)
    chains = any(each.summary.chain for each in sets.values())
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 3, 0, 0))
    for name in ("row", *(["on"] if evaluations else []), "judged"):
        table.add_column(name, justify="right" if name == "judged" else "left")
    table.add_column("average chain length" if chains else "success, %", no_wrap=True)
    table.add_column("typed for it", overflow="fold")
    for row in rows:
        judged, number = "not begun", "–"
        if row in sets:
            summary = sets[row].summary
            judged = f"{summary.done}/{summary.planned}" + f", {summary.errors} errors" * bool(summary.errors)
            if summary.done and summary.chain:
                number = in_line(mean_cell(summary.chain.average))
            elif summary.done and summary.overall:
                number = in_line(rate_cell(summary.overall))
        table.add_row(row.name, *([row.evaluation] if evaluations else []), judged, number, " ".join(row.words))
    console.print(f"{folder}: an ablation of {len({row.name for row in rows})} rows, the first is the baseline")
    console.print(table, markup=False)
    others = sorted(path.parent.name for path in folder.glob("*/journal.jsonl"))
    if others := [name for name in others if name not in {row.folder for row in rows}]:
        console.print(f"of other rows or other words: {', '.join(others)}", soft_wrap=True, style="dim")


def _describe_checkpoint(path: Path, *, shapes: bool, trust: bool, form: str) -> int:
    from vla_bench.bench.errors import ConfigError

    try:
        from vla_bench.policies.vla.checkpoints import read_checkpoint
        from vla_bench.policies.vla.describe import as_text, describe_tensors, tensor_lines
    except ModuleNotFoundError as error:
        raise ConfigError(f"a checkpoint is read with the package {error.name}; type {installing('vla')}") from error
    if form == "csv":
        raise ConfigError(f"{path} is a checkpoint, which is no table; type --format json")
    tensors, remark = read_checkpoint(path, trust=trust)
    if form == "json":
        from vla_bench.bench.records.for_programs import as_json

        plain = dataclasses.asdict(describe_tensors(tensors)) | {"note": remark or None}
        if shapes:
            plain["tensors"] = {name: [str(each.dtype), list(each.shape)] for name, each in tensors.items()}
        print(as_json(plain), end="")
        return 0
    if remark:
        print(f"note: {remark}")
    if shapes:
        print(*tensor_lines(tensors), "", sep="\n")
    print(as_text(describe_tensors(tensors)))
    return 0
