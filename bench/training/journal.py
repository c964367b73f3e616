"""The journal of a training run: every step, validation and evaluation, one line each.

Line 1 is the header. A run that goes on after a crash may repeat steps since its last state; they come out the same,
and the later line counts. A line that does not match its checksum is left out.
"""

from __future__ import annotations

import json
import math
import os
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from vla_bench.bench.errors import ResultSetError
from vla_bench.bench.protocol import canonical_json
from vla_bench.bench.records.journal import LOCK, take_lock, write_atomically

STEPS = "training.jsonl"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class TrainingJournalContents:
    """What could be read."""

    header: Mapping[str, Any]
    lines: tuple[Mapping[str, Any], ...]
    """One per kind and step, in the order of the steps; each has ``kind``, ``step`` and ``time``."""
    damaged: int

    def of(self, kind: str) -> list[Mapping[str, Any]]:
        """Lines of a kind: ``step``, ``validation``, ``evaluation``, ``begun``, ``ended``."""
        return [line for line in self.lines if line["kind"] == kind]


def read_training(path: Path) -> TrainingJournalContents:
    """Reads a journal. ResultSetError: there is none, or its header cannot be read."""
    try:
        raw = path.read_bytes().split(b"\n")
    except OSError as error:
        raise ResultSetError(f"{path.parent} is no training run: {path.name}: {error.strerror}") from None
    first = _parse(raw[0])
    if first is None or "header" not in first:
        raise ResultSetError(f"{path} is damaged in its first line; type run.overwrite=true to begin anew")
    latest: dict[tuple[str, int], Mapping[str, Any]] = {}
    damaged = 0
    for line in raw[1:]:
        entry = _parse(line) if line else None
        if entry is None:
            damaged += bool(line)
            continue
        latest[(entry["kind"], entry["step"])] = entry
    ordered = sorted(latest.values(), key=lambda line: (line["step"], line["time"]))
    return TrainingJournalContents(first["header"], tuple(ordered), damaged)


class TrainingJournal:
    """A journal open for appending, held by this process alone until closed."""

    def __init__(self, folder: Path, header: Mapping[str, Any], *, overwrite: bool = False):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = take_lock(folder / LOCK)
        except OSError as error:
            raise ResultSetError(
                f"cannot write to {folder}: {error.strerror}. Another place: run.results=<folder>"
            ) from None
        self.path = folder / STEPS
        try:
            if overwrite or not self.path.exists() or not self.path.stat().st_size:
                line = _line({"header": {"format": FORMAT, **header}})
                write_atomically(self.path, lambda temporary: temporary.write_bytes(line))
            self.header = read_training(self.path).header
            self._file = self.path.open("ab", buffering=0)
            with self.path.open("rb") as held:
                held.seek(0, os.SEEK_END)
                if held.tell():
                    held.seek(-1, os.SEEK_END)
                    if held.read(1) != b"\n":  # a line cut short by a crash
                        self._file.write(b"\n")
        except BaseException:
            self._lock.close()
            raise

    def append(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """One line. OSError: it cannot be written."""
        self._file.write(_line({"time": round(time.time(), 3), "kind": kind, "step": step, **_finite(values)}))

    def sync(self) -> None:
        """Waits until everything is on disk."""
        os.fsync(self._file.fileno())

    def __enter__(self) -> TrainingJournal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._lock.close()


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _finite(value)
        if isinstance(value, Mapping)
        else None
        if isinstance(value, float) and not math.isfinite(value)
        else value
        for name, value in values.items()
    }


def _line(entry: Mapping[str, Any]) -> bytes:
    text = canonical_json(entry)
    return f'{{"checksum": "{zlib.crc32(text.encode()):08x}", "entry": {text}}}\n'.encode()


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        held = json.loads(line)
        entry = held["entry"]
        return entry if f"{zlib.crc32(canonical_json(entry).encode()):08x}" == held["checksum"] else None
    except (ValueError, KeyError, TypeError):
        return None
