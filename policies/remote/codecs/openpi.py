"""openpi's msgpack: an array is a map whose four keys are bytes.

Written after ``openpi_client/msgpack_numpy.py`` 0.1.2; starVLA has the same framing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np

from vla_bench.policies.remote.codecs.bounds import LARGEST_MESSAGE, array_from, packable, unpacked
from vla_bench.policies.remote.errors import MessageFault


def encode(value: Any) -> bytes:
    """The message of a mapping. ValueError: an array of objects, records or complex numbers."""
    return msgpack.packb(value, default=_plain)


class Encoder:
    """Encodes into memory of its own, message after message: fresh memory for two images costs as much as all the
    rest of a request. For one thread."""

    def __init__(self, plain: Callable[[Any], Any] | None = None) -> None:
        self._packer = msgpack.Packer(default=plain or _plain, autoreset=False)
        self._view: memoryview | None = None

    def __call__(self, value: Any) -> memoryview:
        """The bytes, until the next call. ValueError: as :func:`encode`."""
        if self._view is not None:
            self._view.release()
            self._view = None
        self._packer.reset()
        self._packer.pack(value)
        self._view = self._packer.getbuffer()
        return self._view


def decode(data: bytes | bytearray, largest: int = LARGEST_MESSAGE, *, checked: bool = True) -> Any:
    """The value of a message; arrays are read-only. MessageFault: see :func:`.bounds.unpacked`."""
    return unpacked(data, _array, largest, checked=checked)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "VOc":
        raise ValueError(f"an array of {value.dtype} cannot be sent")
    if isinstance(value, np.ndarray):
        return {
            b"__ndarray__": True,
            b"data": packable(value),
            b"dtype": value.dtype.str,
            b"shape": value.shape,
        }
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise ValueError(f"a {type(value).__name__} cannot be sent")


def _array(value: dict[Any, Any]) -> Any:
    if b"__ndarray__" in value:
        return array_from(value.get(b"dtype"), value.get(b"data"), value.get(b"shape"))
    if b"__npgeneric__" in value:
        return _scalar(value.get(b"dtype"), value.get(b"data"))
    return value


def _scalar(dtype: Any, data: Any) -> Any:
    empty = array_from(dtype, b"", [0])  # judges the dtype
    if not isinstance(data, bool | int | float | str):
        raise MessageFault(f"a number that is a {type(data).__name__}")
    try:
        return empty.dtype.type(data)
    except (ValueError, OverflowError) as error:
        raise MessageFault(f"a number that its dtype cannot hold: {error}") from None
