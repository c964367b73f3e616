"""What a worker and the policy in it print: a file per worker in the run's folder, and on the screen when asked for."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import IO

LOGS = "logs"
"""Folder in the run's folder."""
LIMIT = 16 << 20
"""Bytes above which a log is cut to its end, between episodes."""
_KEPT = 1 << 20
_LOOK_SECONDS = 0.3


class WorkerLog:
    """The log of one process; goes on where an earlier try's ended."""

    def __init__(self, folder: str, worker: str) -> None:
        """Opens ``<folder>/logs/<worker>.log``, or a nameless file where there is no such folder."""
        self._path: Path | None = None
        self.file: IO[bytes] = self._open(folder, worker)
        self._begin = os.fstat(self.file.fileno()).st_size

    def _open(self, folder: str, worker: str) -> IO[bytes]:
        if folder and worker and os.path.isdir(folder):
            path = Path(folder) / LOGS / f"{worker}.log"
            with contextlib.suppress(OSError):
                path.parent.mkdir(exist_ok=True)
                file = path.open("ab+")
                self._path = path
                return file
        return tempfile.TemporaryFile(mode="ab+")

    def tail(self, characters: int) -> str:
        """The end of what this process has printed."""
        size = os.fstat(self.file.fileno()).st_size
        text = os.pread(self.file.fileno(), characters, max(min(self._begin, size), size - characters))
        return text.decode(errors="replace").strip()

    def shorten(self) -> None:
        """Cuts a log that has grown too long to its end."""
        descriptor = self.file.fileno()
        size = os.fstat(descriptor).st_size
        if size > LIMIT:
            end = os.pread(descriptor, _KEPT, size - _KEPT)
            os.ftruncate(descriptor, 0)
            self._begin = 0
            os.write(descriptor, b"... cut here ...\n" + end)  # opened for appending

    def close(self) -> None:
        """Closes it; one that holds nothing is removed."""
        empty = not os.fstat(self.file.fileno()).st_size
        self.file.close()
        if self._path is not None and empty:
            with contextlib.suppress(OSError):
                self._path.unlink()
                self._path.parent.rmdir()


class ShownLogs:
    """Copies what is printed into a run's logs to standard error, each line with its worker's name.

    Logs of machines that do not share the run's folder are not seen.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / LOGS
        self._at = {path: path.stat().st_size for path in self._folder.glob("*.log")}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shown logs", daemon=True)

    def __enter__(self) -> ShownLogs:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            self._look()
        self._look(last=True)

    def _look(self, *, last: bool = False) -> None:
        for path in sorted(self._folder.glob("*.log")):
            with contextlib.suppress(OSError), open(path, "rb") as file:
                start = min(self._at.get(path, 0), os.fstat(file.fileno()).st_size)
                file.seek(start)
                text = file.read()
                whole = text if last else text[: text.rfind(b"\n") + 1]
                self._at[path] = start + len(whole)
                for line in whole.decode(errors="replace").splitlines():
                    print(f"[{path.stem}] {line}", file=sys.stderr)


def keep_output(folder: Path, name: str, text: str) -> None:
    """Adds a text to ``<folder>/logs/<name>.log``."""
    if text.strip():
        with contextlib.suppress(OSError):
            (folder / LOGS).mkdir(exist_ok=True)
            with open(folder / LOGS / f"{name}.log", "a", encoding="utf-8") as file:
                file.write(text if text.endswith("\n") else f"{text}\n")
