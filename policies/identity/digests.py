"""The digest of a file's whole content; that of a large file is remembered in the user's cache.

A file up to :data:`BLOCK` has its SHA-256. A larger one has the SHA-256 over the SHA-256 of its blocks, which
are read by several threads at once (``hashlib`` lets go of the interpreter lock).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

BLOCK = 1 << 26
"""Bytes that one thread digests at a time."""
REMEMBERED = 1 << 24
"""Bytes from which on a digest is worth remembering."""
_PIECE = 1 << 22
_FRESH_NS = 2_000_000_000
"""A file changed so lately may change again within the same tick of the file system's clock, unseen."""

Progress = Callable[[int], None]
"""Is told of so many further bytes, from any thread."""


def digest_of(path: str | Path, progress: Progress = lambda _: None) -> str:
    """64 hexadecimal digits of the file's content.

    Remembered by size, times and inode; a file whose content changed under all of them would pass for the old
    one. OSError: it cannot be read.
    """
    path, told = Path(path), 0

    def advance(count: int) -> None:
        nonlocal told
        told += count
        progress(count)

    size = path.stat().st_size
    done = once(path, "content", lambda: _read(path, size, advance))
    progress(max(0, size - told))
    return done


def once(path: Path, purpose: str, find: Callable[[], str]) -> str:
    """What ``find`` finds out of the file; for a large file remembered until it changes.

    The processes of a machine take turns: one finds it out, the others are told.
    """
    about = path.stat()
    if about.st_size < REMEMBERED:
        return find()
    key = [about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino]
    name = hashlib.sha256(f"{purpose} {path.resolve()}".encode()).hexdigest()[:32]
    note = cache_folder() / f"{name}.json"
    with _turn(note):
        if (known := _remembered(note, key)) is not None:
            return known
        found = find()
        after = path.stat()
        same = [after.st_size, after.st_mtime_ns, after.st_ctime_ns, after.st_ino] == key
        if same and time.time_ns() - max(about.st_mtime_ns, about.st_ctime_ns) > _FRESH_NS:
            _remember(note, key, found)
    return found


def cache_folder() -> Path:
    """Where digests are remembered: below ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "vla-bench" / "digests"


def _read(path: Path, size: int, progress: Progress = lambda _: None) -> str:
    with open(path, "rb") as file:
        if size <= BLOCK:
            whole = hashlib.sha256()
            while piece := file.read(_PIECE):
                whole.update(piece)
                progress(len(piece))
            return whole.hexdigest()
        descriptor = file.fileno()

        def block(start: int) -> bytes:
            part, position, end = hashlib.sha256(), start, min(start + BLOCK, size)
            while position < end and (piece := os.pread(descriptor, min(_PIECE, end - position), position)):
                part.update(piece)
                progress(len(piece))
                position += len(piece)
            return part.digest()

        whole = hashlib.sha256(f"{BLOCK} {size} ".encode())
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
            for digest in threads.map(block, range(0, size, BLOCK)):
                whole.update(digest)
        return whole.hexdigest()


@contextlib.contextmanager
def _turn(note: Path) -> Iterator[None]:
    """One process at a time; without a cache that can be written, all at once."""
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        lock = open(note.with_suffix(".lock"), "a")  # noqa: SIM115 - closed below
    except OSError:
        yield
        return
    with lock:
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remembered(note: Path, key: list[int]) -> str | None:
    try:
        found = json.loads(note.read_text())
        value = found["found"]
        return value if found["key"] == key and isinstance(value, str) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(note: Path, key: list[int], found: str) -> None:
    temporary = note.with_suffix(f".{os.getpid()}")
    with contextlib.suppress(OSError):
        temporary.write_text(json.dumps({"key": key, "found": found}))
        temporary.replace(note)
