"""The journal of a run: one line per finished episode, on disk before the next one counts.

The journal is the truth; tables and summaries are made from it and can be made again. It is written
by one driver at a time (a lock says so) and only ever appended to. A line carries a checksum, so that
a line torn by a power cut, or damaged later, is noticed and its episode run again instead of trusted.

Line 1 is the header (whose run this is), each other line a record with the time it was written::

    {"checksum": "5d41402a", "header": {...}}
    {"checksum": "7d793037", "time": 1750000000.0, "record": {...}}
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TextIO

from vla_bench.bench.errors import ResultSetError
from vla_bench.bench.protocol import EpisodeRecord, Timings, canonical_json, record_from_plain, to_plain

FORMAT = 1
"""Version of the lines; raised when an old reader would misread them."""


LOCK = ".lock"
"""File of a folder that says who writes there."""


@dataclass(frozen=True, slots=True)
class JournalContents:
    """What could be read of a journal."""

    header: Mapping[str, Any]
    records: tuple[EpisodeRecord, ...]
    """One per episode, by index: a judged one before an error, the latest before an earlier one."""
    times: tuple[float, ...]
    """Unix time of every record line, duplicates included, in file order."""
    damaged: tuple[int, ...]
    """1-based numbers of lines that do not match their checksum."""
    sound_bytes: int
    """Length of the file without an unfinished last line."""


def read_journal(path: Path) -> JournalContents:
    """Reads a journal; damaged lines are left out and named.

    Raises:
        ResultSetError: there is no journal, its header cannot be read, or a later version wrote it.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ResultSetError(f"{path.parent} is not a result set: it has no {path.name}") from None
    except OSError as error:
        raise ResultSetError(f"{path} cannot be read: {error.strerror}") from None
    lines = content.split(b"\n")
    torn = lines.pop()
    header = header_of(lines[0] if lines else b"", path)
    latest: dict[int, EpisodeRecord] = {}
    times: list[float] = []
    damaged: list[int] = []
    for number, line in enumerate(lines[1:], start=2):
        entry = entry_of(line, header)
        if entry is None:
            damaged.append(number)
            continue
        record = entry.record
        times.append(entry.time)
        earlier = latest.get(record.index)
        if earlier is None or earlier.status == "error" or record.status == "done":
            latest[record.index] = record
    records = tuple(latest[index] for index in sorted(latest))
    return JournalContents(header, records, tuple(times), tuple(damaged), len(content) - len(torn))


class Entry(NamedTuple):
    """A line of a journal that holds a record."""

    time: float
    """Unix time it was written at."""
    record: EpisodeRecord


def entry_of(line: bytes, header: Mapping[str, Any]) -> Entry | None:
    """What a line after the first holds; None when it is damaged, or none of this run's."""
    entry = _parse(line)
    record = None if entry is None else _record(entry, header)
    return None if entry is None or record is None else Entry(entry["time"], record)


class Journal:
    """A journal open for appending, held by this process alone until closed.

    Use :meth:`open`. Every :meth:`append` is on disk (fsync) when it returns.
    """

    def __init__(self, path: Path, lock: TextIO, contents: JournalContents) -> None:
        self._path = path
        self._lock = lock
        self.contents = contents
        """What the journal held when it was opened."""
        self._file = path.open("ab", buffering=0)
        self._sound = contents.sound_bytes
        if self._file.tell() > self._sound:  # a line cut short by a crash was never a record
            self._file.truncate(self._sound)

    @classmethod
    def open(cls, path: Path, header: Mapping[str, Any], *, overwrite: bool = False) -> Journal:
        """Opens or creates the journal and takes its lock.

        Args:
            path: file in the run's folder; the folder is made.
            header: plain data written as line 1 of a new journal, under the keys given.
            overwrite: discard what is there. Only once the lock is held, so never another driver's.

        Raises:
            ResultSetError: another driver holds the lock, or the journal cannot be read.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = take_lock(path.parent / LOCK)
        except OSError as error:
            raise ResultSetError(
                f"cannot write to {path.parent}: {error.strerror}. Another place: run.results=<folder>"
            ) from None
        try:
            if overwrite or not path.exists() or not path.stat().st_size:
                _write_new(path, _line({"header": {"format": FORMAT, **header}}))
            return cls(path, lock, read_journal(path))
        except BaseException:
            lock.close()
            raise

    def append(self, record: EpisodeRecord) -> None:
        """Writes one record and waits until it is on disk.

        Raises:
            ResultSetError: it cannot be written, e.g. the disk is full; no part of it is left then. Or the
                file has been removed, and whatever were written to it would be lost with it.
        """
        if not self._is_there():
            raise ResultSetError(
                f"{self._path} was removed, moved or replaced while the run was writing. Put it back, and "
                "the same command finishes the rest; without it, the same command starts afresh"
            )
        line = _line({"time": round(time.time(), 3), "record": to_plain(record)})
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):  # else the next try cuts it off
                self._file.truncate(self._sound)
            raise ResultSetError(
                f"cannot write to {self._path}: {error.strerror}. All records before are safe; make room, "
                "and the same command finishes the rest"
            ) from None
        self._sound += len(line)

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            return False

    def replace_header(self, header: Mapping[str, Any], places: Sequence[int]) -> None:
        """Puts another line 1 above the same records, whose episode ``i`` is episode ``places[i]`` by the new
        one; the file changes as a whole or not at all."""
        lines = [_line({"header": {"format": FORMAT, **header}})]
        for line in self._path.read_bytes()[: self._sound].split(b"\n")[1:-1]:
            entry = _parse(line)
            if entry is not None and _record(entry, self.contents.header) is not None:
                entry["record"]["index"] = places[entry["record"]["index"]]
                lines.append(_line(entry))
        whole = b"".join(lines)
        self._file.close()
        try:
            _write_new(self._path, whole)
        finally:
            self._file = self._path.open("ab", buffering=0)
        self._sound = len(whole)
        self.contents = read_journal(self._path)

    def close(self) -> None:
        """Closes the file and gives the lock back."""
        self._file.close()
        self._lock.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _line(entry: Mapping[str, Any]) -> bytes:
    text = canonical_json(entry)
    return f'{{"checksum":"{zlib.crc32(text.encode()):08x}",{text[1:]}\n'.encode()


def header_of(line: bytes, path: Path) -> Mapping[str, Any]:
    """What line 1 says. ResultSetError: it is damaged, or none of ours."""
    entry = _parse(line)
    if entry is None or "header" not in entry:
        raise ResultSetError(
            f"{path}: the header line is damaged, so nobody can say whose run this is. "
            "Move the folder away, or type run.overwrite=true to start afresh."
        )
    header: Mapping[str, Any] = entry["header"]
    found = header.get("format") if isinstance(header, dict) else None
    if found != FORMAT:
        raise ResultSetError(
            f"{path}: written in format {found!r}, this version reads format {FORMAT}. Read it with what "
            "wrote it (see provenance.json), and give a new run another folder: run.name=<name>"
        )
    if what := _missing(header, HEADER):
        raise ResultSetError(
            f"{path}: its header has no usable {what!r}, so it is not one of ours. Move the folder away, or "
            "type run.overwrite=true to start afresh."
        )
    return header


HEADER: Mapping[str, Any] = {
    "benchmark": str,
    "policy": str,
    "identity": {"split": str, "policy": str, "seed": int, "protocol": str},
    "protocol": {"hash": str, "facts": {"kind": str, "assets": str, "renderer": str}},
    "episodes": int,
    "longest": int,
    "tasks": list,
    "scenes": list,
    "notes": list,
}
"""What readers rely on in a header."""

_NUMBER = (int, float)
_ENTRY: Mapping[str, Any] = {
    "time": _NUMBER,
    "record": {
        **dict.fromkeys(("index", "chain_length", "attempt"), int),
        **dict.fromkeys(("episode", "scene", "worker"), str),
        "subtasks": list,
        "timings": dict.fromkeys((part.name for part in fields(Timings)), _NUMBER),
    },
}
_SUBTASK: Mapping[str, Any] = {
    **dict.fromkeys(("position", "steps", "decisions"), int),
    **dict.fromkeys(("subtask", "instruction", "digest"), str),
    **dict.fromkeys(("success", "ever"), bool),
    "flags": {},
}
_ERROR: Mapping[str, Any] = dict.fromkeys(("kind", "message", "detail"), str)


def _missing(value: Any, wanted: Mapping[str, Any], where: str = "") -> str:
    """Dotted name of the first key that is not there or not of its type; empty when all is well."""
    for name, kind in wanted.items():
        found = value.get(name)
        deeper = isinstance(kind, Mapping)
        if isinstance(found, bool) != (kind is bool) or not isinstance(found, dict if deeper else kind):
            return where + name
        if deeper and (inner := _missing(found, kind, f"{where}{name}.")):
            return inner
    return ""


def _record(entry: Mapping[str, Any], header: Mapping[str, Any]) -> EpisodeRecord | None:
    """The record of a line, or None when it is none of this run's, whatever else it is."""
    if _missing(entry, _ENTRY):
        return None
    plain, error = entry["record"], entry["record"].get("error")
    sound = (
        0 <= plain["index"] < header["episodes"]
        and isinstance(plain.get("cluster", ""), str)
        and 0 <= plain["chain_length"] <= min(header["longest"], len(plain["subtasks"]))
        and all(isinstance(each, dict) and not _missing(each, _SUBTASK) for each in plain["subtasks"])
        and all(type(flag) in _NUMBER for each in plain["subtasks"] for flag in each["flags"].values())
        and (not error if plain.get("status") == "done" else plain.get("status") == "error")
        and (error is None or (isinstance(error, dict) and not _missing(error, _ERROR)))
    )
    try:
        return record_from_plain(plain) if sound else None
    except TypeError:  # keys that no record has
        return None


def _parse(line: bytes) -> dict[str, Any] | None:
    """The entry of a line, or None when it is not what was written."""
    try:
        entry = json.loads(line)
        checksum = entry.pop("checksum")
        text = canonical_json(entry)
    except (ValueError, AttributeError, TypeError, KeyError, RecursionError):
        return None
    return entry if checksum == f"{zlib.crc32(text.encode()):08x}" else None


def take_lock(path: Path) -> TextIO:
    """The lock of a folder, held until closed or until the process is gone, however it goes."""
    lock = path.open("a+", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        holder = lock.read().strip() or "another process"
        lock.close()
        raise ResultSetError(
            f"{path.parent}: a run is writing here already ({holder}). Wait for it, or give this run "
            "another folder with run.name="
        ) from None
    lock.truncate(0)
    lock.write(f"process {os.getpid()} on {socket.gethostname()}")
    lock.flush()
    return lock


def _write_new(path: Path, content: bytes) -> None:
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Makes a file appear whole or not at all: ``write`` fills a neighbour that then takes its name."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the new name, too, has to survive a power cut
        finally:
            os.close(folder)
    finally:
        temporary.unlink(missing_ok=True)
