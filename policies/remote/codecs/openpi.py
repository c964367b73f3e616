"""openpi's msgpack: an array is a map whose four keys are bytes.

Written after ``openpi_client/msgpack_numpy.py`` 0.1.2; starVLA has the same framing.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import msgpack
import numpy as np

from vla_bench.policies.remote.codecs.bounds import (
    LARGEST_MESSAGE,
    LEAST_CONTENT,
    SMALL_MESSAGE,
    array_from,
    built,
    check_msgpack,
    packable,
    unpacked,
)
from vla_bench.policies.remote.errors import MessageFault

_DOUBLE = struct.Struct(">d")


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


class Decoder:
    """Decodes message after message. One that differs from the last in nothing but the contents of its arrays and its
    doubles, as the requests of one subtask do, is not looked through and built again: its arrays are views of it."""

    def __init__(self, largest: int = LARGEST_MESSAGE) -> None:
        self._largest = largest
        self._form: _Form | None = None
        self.alike = False
        """Whether the last message differed from the one before in nothing but numbers."""

    def __call__(self, data: bytes | bytearray) -> Any:
        """The value; arrays are read-only, or share a byte array's memory. MessageFault: as :func:`decode`."""
        form = self._form
        self.alike = form is not None and form.fits(data)
        if form is not None and self.alike:
            return form.value(data, form.template)
        self._form = None
        contents: list[tuple[int, int]] = []
        check_msgpack(data, self._largest, contents)
        value = built(data, _array, self._largest)
        self._form = _Form.of(data, value, contents)
        return value


class _Hole(NamedTuple):
    """Where the contents of a message's array or double lie."""

    start: int
    dtype: np.dtype[Any] | None
    """None: a double."""
    shape: tuple[int, ...]
    numbers: int


class _Form(NamedTuple):
    """What two messages have in common that differ in nothing but numbers."""

    size: int
    between: tuple[tuple[int, int, bytes], ...]
    """Bytes that are the same, and where."""
    template: Any
    """The value, with :class:`_Hole` for numbers."""

    @staticmethod
    def of(data: bytes | bytearray, value: Any, contents: list[tuple[int, int]]) -> _Form | None:
        """None: there is more to the message than arrays, doubles and what is between."""
        holes = iter(contents)

        def template(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: template(item) for key, item in value.items()}
            if isinstance(value, list):
                return [template(item) for item in value]
            if isinstance(value, np.ndarray) and value.nbytes < LEAST_CONTENT:
                return value
            if isinstance(value, np.ndarray) and value.dtype.kind not in "US":
                start, end = next(holes)
                if end - start != value.nbytes:
                    raise LookupError
                return _Hole(start, value.dtype, value.shape, value.size)
            if type(value) is float:
                start, end = next(holes)
                if _DOUBLE.unpack_from(data, start)[0] != value or end - start != _DOUBLE.size:
                    raise LookupError
                return _Hole(start, None, (), 1)
            if isinstance(value, bytes | np.generic | np.ndarray):
                raise LookupError  # it may have contents, too
            return value

        try:
            made = template(value)
            if next(holes, None) is not None:
                return None
        except (LookupError, StopIteration):
            return None
        edges = [0, *(edge for hole in contents for edge in hole), len(data)]
        pairs = list(zip(edges[::2], edges[1::2], strict=True))
        if sum(end - start for start, end in pairs) > SMALL_MESSAGE:
            return None
        return _Form(len(data), tuple((start, end, bytes(data[start:end])) for start, end in pairs), made)

    def fits(self, data: bytes | bytearray) -> bool:
        """Whether the bytes are such a message."""
        return len(data) == self.size and all(data[start:end] == same for start, end, same in self.between)

    def value(self, data: bytes | bytearray, template: Any) -> Any:
        """The template with the numbers of the bytes."""
        kind = type(template)
        if kind is _Hole:
            start, dtype, shape, numbers = template
            if dtype is None:
                return _DOUBLE.unpack_from(data, start)[0]
            array = np.frombuffer(data, dtype, numbers, start).reshape(shape)
            return array if dtype.itemsize == 1 else array.copy()  # where in memory it lies is chance
        if kind is dict:
            return {key: self.value(data, item) for key, item in template.items()}
        if kind is list:
            return [self.value(data, item) for item in template]
        return template


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        dtype = value.dtype
        if dtype.kind in "VOc":
            raise ValueError(f"an array of {dtype} cannot be sent")
        return {b"__ndarray__": True, b"data": packable(value), b"dtype": dtype.str, b"shape": value.shape}
    if isinstance(value, np.generic) and value.dtype.kind not in "VOc":
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
