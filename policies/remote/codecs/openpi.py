"""openpi's msgpack: an array is a map whose four keys are bytes.

Written after ``openpi_client/msgpack_numpy.py`` 0.1.2; starVLA has the same framing.
"""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np

from vla_bench.policies.remote.codecs.bounds import LARGEST_MESSAGE, array_from, check_msgpack, packable
from vla_bench.policies.remote.errors import MessageFault


def encode(value: Any) -> bytes:
    """The message of a mapping. ValueError: an array of objects, records or complex numbers."""
    return msgpack.packb(value, default=_plain)


def decode(data: bytes, largest: int = LARGEST_MESSAGE) -> Any:
    """The value of a message; arrays are read-only. MessageFault: see :mod:`.bounds`."""
    check_msgpack(data, largest)
    try:
        return msgpack.unpackb(data, object_hook=_array)
    except MessageFault:
        raise
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise MessageFault(f"bytes that are no msgpack: {error}") from None


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
