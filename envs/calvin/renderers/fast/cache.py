"""Where the renderer keeps what it makes once: compiled kernels, read and simplified meshes.

``$XDG_CACHE_HOME/vla-bench`` or ``~/.cache/vla-bench``. Everything in it can be deleted at any time and
is made again. Several processes may use it at once; none needs to be able to write to it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def cache_folder(kind: str) -> Path:
    """The folder for one ``kind`` of content; it need not exist."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "vla-bench" / kind


def writable(folder: Path) -> bool:
    """Whether files can be made in ``folder``, which is made if it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def keep(path: Path, content: bytes) -> None:
    """Writes a file so that others see all of it or none; does nothing where that is not possible."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)
