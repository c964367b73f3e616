"""The record that a data set of ours keeps of its own writing.

``recordings.jsonl`` gets a line when all frames of a recording are on the disk. What the original loaders read (the
two id files, scenes, annotations) is made from it; ``dataset.json`` says for how many lines that was done.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla_bench.envs.calvin.dataset.layout import JOURNAL
from vla_bench.envs.calvin.dataset.pickles import replace_file
from vla_bench.envs.errors import DatasetError
from vla_bench.program import program

NOTES = "dataset.json"


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All whole lines; a last one that was cut off is left out.

    Raises:
        DatasetError: a line in the middle is damaged.
    """
    if not path.is_file():
        return []
    lines = path.read_bytes().split(b"\n")
    found = []
    for number, line in enumerate(lines[:-1], 1):  # what follows the last newline was cut off
        try:
            found.append(json.loads(line))
        except ValueError as error:
            raise DatasetError(f"line {number} of {path} is damaged: {error}") from error
    return found


def add_line(path: Path, line: Mapping[str, Any]) -> None:
    """Appends a line and waits until it is on the disk; a cut-off one before it is removed."""
    with path.open("ab+") as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(size - 1)
            if file.read(1) != b"\n":
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
        file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_notes(path: Path) -> dict[str, Any]:
    """``dataset.json`` of a set of ours; empty for others.

    Raises:
        DatasetError: it is damaged.
    """
    if not path.is_file():
        return {}
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DatasetError(f"{path} is damaged: {error}") from error
    if not isinstance(held, dict):
        raise DatasetError(f"{path} is damaged: it holds no object")
    return held


def write_notes(path: Path, notes: Mapping[str, Any]) -> None:
    """Writes ``dataset.json``, whole or not at all."""
    replace_file(path, (json.dumps(notes, indent=1) + "\n").encode())


def unfinished(folder: Path) -> str | None:
    """Why a set of ours is not to be read yet, None when it is whole or not ours."""
    path = folder / JOURNAL
    if not path.is_file():
        return None
    written = path.read_bytes().count(b"\n")  # lines that are whole; reading them takes seconds where there are many
    closed = int(read_notes(folder / NOTES).get("closed", 0))
    if written == closed and written:
        return None
    return (
        f"{folder} was not finished: {written} recordings are written, of which {closed} are listed for readers. "
        f"The command that wrote it goes on from there; {program()} data finish {folder} closes it as it is"
    )
