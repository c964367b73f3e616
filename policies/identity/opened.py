"""Which files a process opens while it imports and builds a policy, whatever names them.

Python tells an audit hook of every file that it opens; what native code maps into memory (safetensors) shows in the
process's map. Files that are also written to (logs, caches) are not what a policy is made of.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_MAPS = Path("/proc/self/maps")

_read: dict[str, None] = {}
_written: set[str] = set()
_mapped_before: set[str] = set()
_watching = False
_installed = False


def watch() -> None:
    """Begins to note what this process opens; what is noted so far is forgotten."""
    global _watching, _installed, _mapped_before
    _read.clear()
    _written.clear()
    _mapped_before = set(_mapped())
    _watching = True
    if not _installed:
        _installed = True
        sys.addaudithook(_hear)


def go_on() -> None:
    """Notes again what this process opens, beside what was noted until :func:`files_opened`."""
    global _watching, _mapped_before
    _mapped_before = set(_mapped())
    _watching = True


def files_opened() -> list[Path]:
    """Files read and not written since :func:`watch`, in their order; ends the watching."""
    global _watching
    _watching = False
    _read.update(dict.fromkeys(name for name in _mapped() if name not in _mapped_before))
    return [Path(name) for name in _read if name not in _written and os.path.isfile(name)]


def files_written() -> list[Path]:
    """Files opened to be written since :func:`watch`: a log that an argument names, for one."""
    return [Path(name) for name in sorted(_written)]


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching or event != "open":
        return
    try:
        place, mode, flags = arguments
        if not isinstance(place, str | bytes | os.PathLike):
            return  # a descriptor
        name = os.path.abspath(os.fsdecode(place))
        writes = any(letter in mode for letter in "wax+") if isinstance(mode, str) else bool((flags or 0) & _WRITES)
        if writes:
            _written.add(name)
        else:
            _read[name] = None
    except Exception:  # an error here would be one of the policy's own line
        return


def _mapped() -> list[str]:
    try:
        lines = _MAPS.read_text().splitlines()
    except OSError:
        return []
    names = (line.split(maxsplit=5)[5] for line in lines if line.count(" ") >= 5 and "/" in line)
    return [name for name in dict.fromkeys(names) if name.startswith("/")]
