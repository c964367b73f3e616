"""Memory that was needed once, given back."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache


def give_back_free_memory() -> None:
    """Hands the C library's free memory to the system, where the C library is glibc; else nothing.

    PyBullet reads meshes into tens of megabytes that it frees at once and glibc keeps: 30 MB of a
    worker with the TinyRenderer, 90 MB with the fast renderer. Takes a few milliseconds.
    """
    _trim()(0)


@cache
def _trim() -> Callable[[int], object]:
    try:
        return ctypes.CDLL("libc.so.6").malloc_trim
    except (OSError, AttributeError):
        return lambda pad: None
