"""How kernels are compiled: once per machine, to the same arithmetic everywhere."""

from __future__ import annotations

import atexit
import hashlib
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba

from vla_bench.envs.calvin.renderers.fast.cache import cache_folder, writable

# Fast-math stays off and no multiplication is fused with an addition: every operation rounds as IEEE 754
# says, so that pixels do not depend on the processor.
# Without Numba's runtime kernels make no arrays, and count no references to those that they are given,
# which would be a third of the time of a pixel.
_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": False, "error_model": "numpy", "_nrt": False}


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles ``function`` when it is first called, and keeps the machine code for other processes.

    Kernels make no arrays of their own: what they need comes as an argument.
    """
    folder = _kernel_folder()
    if folder is None:
        return numba.njit(**_OPTIONS)(function)
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(folder)  # read when a function is decorated, by no other means
    try:
        return numba.njit(cache=True, **_OPTIONS)(function)
    finally:
        numba.config.CACHE_DIR = before


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles ``function`` as a part of each kernel that calls it, for what runs per pixel."""
    return numba.njit(forceinline=True, **_OPTIONS)(function)


@cache
def _kernel_folder() -> Path | None:
    """A folder of this very code, for Numba to keep machine code in; None when nothing can be kept.

    Numba asks only whether the file of a kernel has changed, not those of what it inlines. It uses no
    folder that it cannot write to, so it gets a copy of one that only can be read.
    """
    sources = hashlib.sha256(numba.__version__.encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        sources.update(path.read_bytes())
    folder = cache_folder("kernels") / sources.hexdigest()[:16]
    if writable(folder):
        return folder
    if not folder.is_dir():
        return None
    copy = tempfile.mkdtemp(prefix="vla-bench-kernels-")
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    return Path(shutil.copytree(folder, copy, dirs_exist_ok=True))
