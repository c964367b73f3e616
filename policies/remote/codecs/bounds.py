"""What is refused before anything is built of a message that somebody else wrote.

A few hostile bytes can ask a decoder for gigabytes (a list said to have 2³² items, a million nested maps) or make an
array of raw pointers (dtype ``|O``). So the tokens are counted before the parser runs, and a dtype is read as text
before it becomes one.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Sequence
from typing import Any

import msgpack
import numpy as np

from vla_bench.policies.remote.errors import MessageFault

LARGEST_MESSAGE = 64 << 20
"""Bytes of one message; two CALVIN images and a state have 0.14 MB, a batch of 64 of them 9."""
MOST_VALUES = 200_000
"""Values in one message, arrays counted as one: actions sent as plain lists are some thousands."""
SMALL_MESSAGE = 16 << 10
"""Bytes of a message in which nothing can hide that costs more than a few megabytes; it is parsed first."""
LEAST_CONTENT = 16
"""Bytes; openpi's keys are binary, too, and shorter."""
DEEPEST = 32
"""Maps and lists within each other."""
LARGEST_IMAGE = 8192
"""Pixels of a side."""

_DTYPE = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f[248]|[US]\d{1,6})")

# Of msgpack's types by first byte: how many bytes follow that hold the value or its length
# (https://github.com/msgpack/msgpack/blob/master/spec.md).
_FIXED = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2}
_FIXED |= {0xD2: 4, 0xD3: 8}
_BLOBS = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I", 0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}
_DOUBLE, _LAST_BINARY = 0xCB, 0xC6
_LISTS = {0xDC: (">H", 1), 0xDD: (">I", 1), 0xDE: (">H", 2), 0xDF: (">I", 2)}


def check_size(size: int, largest: int = LARGEST_MESSAGE) -> None:
    """MessageFault: a message has more than ``largest`` bytes."""
    if size > largest:
        raise MessageFault(f"a message of {size:,} bytes; at most {largest:,} are taken")


def check_msgpack(
    data: bytes | bytearray, largest: int = LARGEST_MESSAGE, contents: list[tuple[int, int]] | None = None
) -> None:
    """Walks through the tokens of one msgpack value without building any.

    Args:
        data: the message.
        largest: bytes of a message.
        contents: gets where the bytes of each double and of each binary value of :data:`LEAST_CONTENT` bytes or more
            lie: the first, and the one behind the last.

    Raises:
        MessageFault: too large, too many values, too deep, cut short, followed by other bytes, or an extension type.
    """
    check_size(len(data), largest)
    if data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05") and data[-1:] == b".":
        raise MessageFault("a pickle, which is never unpickled: it would run whatever code the other side puts in")
    end, at, values = len(data), 0, 0
    pending = [1]  # values that are still to come, by level
    try:
        while pending:
            if not pending[-1]:
                pending.pop()
                continue
            pending[-1] -= 1
            values += 1
            if values > MOST_VALUES:
                raise MessageFault(f"a message of more than {MOST_VALUES:,} values")
            byte = data[at]
            at += 1
            children = 0
            if byte <= 0x7F or byte >= 0xE0:
                continue
            if 0xA0 <= byte <= 0xBF:
                at += byte & 0x1F
            elif byte <= 0x8F:
                children = 2 * (byte & 0x0F)
            elif byte <= 0x9F:
                children = byte & 0x0F
            elif byte in _FIXED:
                at += _FIXED[byte]
                if byte == _DOUBLE and contents is not None:
                    contents.append((at - 8, at))
            elif byte in _BLOBS:
                layout = _BLOBS[byte]
                (length,) = struct.unpack_from(layout, data, at)
                at += struct.calcsize(layout) + length
                if byte <= _LAST_BINARY and length >= LEAST_CONTENT and contents is not None:
                    contents.append((at - length, at))
            elif byte in _LISTS:
                layout, each = _LISTS[byte]
                (length,) = struct.unpack_from(layout, data, at)
                at += struct.calcsize(layout)
                children = each * length
            else:
                raise MessageFault(f"a message with a msgpack type that no protocol uses (0x{byte:02x})")
            if children:
                if children > end - at:
                    raise MessageFault("a message that promises more values than it has bytes")
                if len(pending) > DEEPEST:
                    raise MessageFault(f"a message nested deeper than {DEEPEST} levels")
                pending.append(children)
    except (IndexError, struct.error):
        raise MessageFault("a message that is cut short") from None
    if at > end:
        raise MessageFault("a message that is cut short")
    if at < end:
        raise MessageFault(f"a message with {end - at:,} bytes too many at its end")


def unpacked(
    data: bytes | bytearray, hook: Callable[[dict[Any, Any]], Any], largest: int, *, checked: bool = True
) -> Any:
    """The one msgpack value in the bytes.

    Args:
        data: the message.
        hook: makes of every map what it stands for.
        largest: bytes of a message.
        checked: whether a small message is walked through first, too; a reply is only asked for what it should hold.

    Raises:
        MessageFault: see :func:`check_msgpack`, or whatever the hook objects to.
    """
    if checked or len(data) > SMALL_MESSAGE:
        check_msgpack(data, largest)
    return built(data, hook, largest)


def built(data: bytes | bytearray, hook: Callable[[dict[Any, Any]], Any], largest: int) -> Any:
    """:func:`unpacked` of a message that is small or was walked through."""
    try:
        return msgpack.unpackb(data, object_hook=hook, ext_hook=_no_extension)
    except MessageFault:
        raise
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        check_msgpack(data, largest)  # says it better
        raise MessageFault(f"bytes that are no msgpack: {error}") from None


def _no_extension(code: int, data: bytes) -> Any:
    raise MessageFault("a message with a msgpack type that no protocol uses")


def array_from(dtype: Any, data: Any, shape: Any, *, kinds: str = "biufUS") -> np.ndarray:
    """A read-only array on the message's own bytes.

    Args:
        dtype: ``numpy.dtype.str`` as the message has it.
        data: its numbers in C order.
        shape: a list of lengths.
        kinds: kinds of numbers that the protocol has.

    Raises:
        MessageFault: another kind, or bytes that are not as many as the shape says.
    """
    if not isinstance(dtype, str) or not _DTYPE.fullmatch(dtype) or dtype.lstrip("<>|=")[0] not in kinds:
        raise MessageFault(f"an array of dtype {_short(dtype)}; numbers and text only are taken")
    if not isinstance(data, bytes | bytearray | memoryview):
        raise MessageFault(f"an array whose data are {type(data).__name__}, not bytes")
    lengths = checked_shape(shape)
    kind = np.dtype(dtype)
    if not kind.itemsize or math.prod(lengths) * kind.itemsize != len(data):
        raise MessageFault(f"an array of {len(data):,} bytes that do not make {lengths} of {dtype}")
    try:
        return np.frombuffer(data, dtype=kind).reshape(lengths) if len(data) else np.empty(lengths, kind)
    except ValueError as error:
        raise MessageFault(f"an array that cannot be: {error}") from None


def checked_shape(shape: Any) -> tuple[int, ...]:
    """The lengths of an array; MessageFault: they are none."""
    plain = isinstance(shape, Sequence) and not isinstance(shape, str | bytes)
    if not plain or len(shape) > 16 or not all(type(n) is int and 0 <= n < 1 << 40 for n in shape):
        raise MessageFault(f"an array of shape {_short(shape)}")
    return tuple(shape)


def packable(array: np.ndarray) -> Any:
    """The bytes of an array in C order, without a copy where it lies so already."""
    if array.flags.c_contiguous and array.size and array.dtype.kind in "biuf":
        return array.data
    return array.tobytes()


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
