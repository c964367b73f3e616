"""Reads a journal that somebody else is writing: what is new since the last look."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla_bench.bench.errors import ResultSetError
from vla_bench.bench.records.journal import Entry, entry_of, header_of


class JournalTail:
    """A journal that is followed. ResultSetError: it cannot be read, or its header is not one of ours."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset, self._file = 0, 0
        self.header: Mapping[str, Any] = {}
        self.entries: list[Entry] = []
        """All records so far, in the order they were written."""
        self.look()
        if not self.header:
            raise ResultSetError(f"{path} is empty; its run is about to begin, or never did")

    def look(self) -> bool:
        """Reads what was written since. True: the journal is another one than it was (the run was extended or begun
        anew), and :attr:`entries` are those of the new one."""
        try:
            with self._path.open("rb") as file:
                number, size = _status(file)
                fresh = bool(self.header) and (number != self._file or size < self._offset)
                if fresh:
                    self._offset, self.header, self.entries = 0, {}, []
                self._file = number
                file.seek(self._offset)
                content = file.read()
        except OSError as error:
            raise ResultSetError(f"{self._path} cannot be read any more: {error.strerror or error}") from None
        *lines, torn = content.split(b"\n")
        self._offset += len(content) - len(torn)
        for line in lines:
            if not self.header:
                self.header = header_of(line, self._path)
            elif (entry := entry_of(line, self.header)) is not None:
                self.entries.append(entry)
        return fresh


def _status(file: Any) -> tuple[int, int]:
    import os

    status = os.fstat(file.fileno())
    return status.st_ino, status.st_size
