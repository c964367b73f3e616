"""The rows of an ablation on disk: which folder is whose, in the order in which they stand in its tables.

The folder of an ablation holds ``rows.json``, which is written as its rows are planned, and one result set per row,
whose journal says the row's name, too. An ablation that an earlier version ran has no such file: its rows are then told
by their journals, in the order in which they were begun.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vla_bench.bench.errors import ResultSetError
from vla_bench.bench.records.journal import header_of, write_atomically
from vla_bench.bench.records.result_set import JOURNAL

ROWS = "rows.json"


@dataclass(frozen=True, slots=True)
class Row:
    """A result set of an ablation, there already or planned."""

    name: str
    """What it is called in tables; with its seed, where a row is measured with several."""
    folder: str
    """Its folder within the ablation's."""
    words: tuple[str, ...] = ()
    """What is typed for this row beside what is typed for all."""
    evaluation: str = ""
    """On what it is measured, where every row is measured on several things (a trained ablation's)."""


def folder_of_row(folder: Path, row: str, identity: Mapping[str, Any], *, extend: bool = False) -> Path:
    """Where the run goes that would, by itself, be in ``folder``: beside it, under the row's name.

    What an earlier version, or a row by another name, has made of the same run is gone on with where it is, also what
    has become of a shorter one that was extended.

    Args:
        identity: of the run.
        extend: go on with whatever the row has.
    """
    digest = folder.name.rpartition("-")[2]
    mine = folder.with_name(f"{_slug(row)}-{digest}")
    there = sorted(path.parent for path in folder.parent.glob(f"*-{digest}/{JOURNAL}"))
    if mine in there or there:
        return mine if mine in there else there[0]
    for each in read_rows(folder.parent) if (folder.parent / ROWS).is_file() else ():
        journal = folder.parent / each.folder / JOURNAL
        if each.name == row and journal.is_file():
            theirs = _header(journal).get("identity", {})
            if extend or {**theirs, "content": None} == {**identity, "content": None}:
                return journal.parent
    return mine


def _slug(row: str) -> str:
    return re.sub(r"[^A-Za-z0-9._]+", "-", row).strip("-.") or "row"


def write_rows(folder: Path, rows: Sequence[Row]) -> None:
    """Notes the rows in the ablation's folder. ResultSetError: it cannot be written."""
    text = json.dumps({"rows": [asdict(row) for row in rows]}, indent=1, ensure_ascii=False) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / ROWS, partial(_write_text, text))
    except OSError as error:
        raise ResultSetError(f"cannot write to {folder}: {error.strerror or error}") from error


def rows_beside(folder: Path, rows: Sequence[Row]) -> list[Row]:
    """Rows that the folder has from an earlier command and that are not among ``rows``: they go on to be listed."""
    if not (folder / ROWS).is_file():
        return []
    names, folders = {row.name for row in rows}, {row.folder for row in rows}
    return [
        row
        for row in read_rows(folder)
        if row.name not in names and row.folder not in folders and has_episodes(folder, row)
    ]


def _write_text(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")


def is_ablation(folder: Path) -> bool:
    """Whether a folder is an ablation's: no run itself, but one that says its rows, or is named like an ablation's
    and holds result sets."""
    if (folder / JOURNAL).exists():
        return False
    return (folder / ROWS).is_file() or (
        folder.resolve().name.startswith("ablation-") and any(folder.glob(f"*/{JOURNAL}"))
    )


def read_rows(folder: Path) -> list[Row]:
    """The rows of an ablation's folder, the baseline first; also those that have not begun.

    Raises:
        ResultSetError: ``rows.json`` is damaged.
    """
    path = folder / ROWS
    if not path.is_file():
        return _rows_by_journals(folder)
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))["rows"]
        rows = [Row(**{**each, "words": tuple(each["words"])}) for each in plain]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResultSetError(
            f"{path} is damaged ({error}); the ablation's command writes it again, and deleting it loses no result"
        ) from None
    for row in rows:
        if Path(row.folder).name != row.folder:
            raise ResultSetError(f"{path} is damaged: {row.folder!r} is no folder in it")
    return rows


def _rows_by_journals(folder: Path) -> list[Row]:
    headers = {path.parent.name: _header(path) for path in sorted(folder.glob(f"*/{JOURNAL}"))}
    order = sorted(headers, key=lambda name: str(headers[name].get("created", "")))
    names = [row_of(headers[name]) or str(headers[name].get("policy", name)) for name in order]
    return [Row(said if names.count(said) == 1 else name, name) for name, said in zip(order, names, strict=True)]


def _header(path: Path) -> Mapping[str, Any]:
    with path.open("rb") as file:
        return header_of(file.readline(), path)


def row_of(header: Mapping[str, Any]) -> str:
    """The row of an ablation that a journal's first line says it is of; empty for a run by itself."""
    return str(header.get("row", ""))


def has_episodes(folder: Path, row: Row) -> bool:
    """Whether the row has begun and more than its journal's first line is there."""
    try:
        with (folder / row.folder / JOURNAL).open("rb") as file:
            return bool(file.readline()) and bool(file.readline())
    except FileNotFoundError:
        return False
