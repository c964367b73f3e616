"""One frame's npz file, read and written without ``zipfile`` where it is as numpy writes it.

A data set has hundreds of thousands of these files of a few kilobytes, and ``zipfile`` takes longer to open one of its
members than zlib to decompress it: reading a frame of 100 and 42 pixels takes a fifth of ``numpy.load``'s time, and
unlike that leaves the interpreter's lock alone for most of it. The layout is that of PKWARE's APPNOTE.TXT 6.3.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from vla_bench.envs.calvin.dataset.layout import check_present
from vla_bench.envs.errors import DatasetError

LEVEL = 1
"""Of deflate: a fifth of the time of numpy's 6 for a tenth more bytes; numpy reads either."""

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s4B4H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_ZIP64 = struct.Struct("<2H2Q")
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 0x1
_BIG = 0xFFFFFFFF
_VERSION = 45
"""That zip64 asks for; ``numpy`` asks zipfile for it always."""
_UNIX = 3
_DAY = 0x21
"""1980-01-01, so that the same arrays are the same bytes."""
_MODE = 0o600 << 16


def encode(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The content of an npz file, byte for byte what ``zipfile`` and ``numpy.lib.format`` write at that level."""
    parts: list[bytes] = []
    directory: list[bytes] = []
    place = 0
    for key, given in arrays.items():
        array = np.ascontiguousarray(given)
        head = _head(array.dtype, np.shape(given))
        content = array.data.cast("B") if array.size else b""
        total = zlib.crc32(content, zlib.crc32(head))
        deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        packed = deflate.compress(head) + deflate.compress(content) + deflate.flush()
        name, size = f"{key}.npy".encode(), len(head) + array.nbytes
        local = _LOCAL.pack(b"PK\3\4", _VERSION, 0, _DEFLATED, 0, _DAY, total, _BIG, _BIG, len(name), _ZIP64.size) + (
            name + _ZIP64.pack(1, 16, size, len(packed))
        )
        directory.append(
            _CENTRAL.pack(
                b"PK\1\2", _VERSION, _UNIX, _VERSION, 0, 0, _DEFLATED, 0, _DAY, total, len(packed), size,
                len(name), 0, 0, 0, 0, _MODE, place,
            )
            + name
        )  # fmt: skip
        parts += (local, packed)
        place += len(local) + len(packed)
    listed = b"".join(directory)
    end = _END.pack(b"PK\5\6", 0, 0, len(directory), len(directory), len(listed), place, 0)
    return b"".join((*parts, listed, end))


@lru_cache(maxsize=256)
def _head(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    """What an npy file begins with."""
    file = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(dtype)
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


def decode(path: Path, keys: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an npz file; all when ``keys`` is None.

    A file that is not as numpy writes it, damaged ones among them, is left to ``numpy.load`` and to its errors.

    Raises:
        DatasetError: a key is not there, or the file holds one array.
        FileNotFoundError: it is missing.
        *DAMAGED_ARCHIVE: it is cut off or altered.
    """
    content = path.read_bytes()
    try:
        members = _members(content)
        wanted = tuple(members) if keys is None else keys
        if all(key in members for key in wanted):
            return {key: _array(content, members[key]) for key in wanted}
    except (_Unusual, struct.error, zlib.error):
        pass
    held = np.load(io.BytesIO(content))
    if not isinstance(held, np.lib.npyio.NpzFile):
        raise DatasetError(f"{path} holds one array and no frame")
    with held:
        if keys is not None:
            check_present(tuple(keys), held.files, str(path))
        return {key: held[key] for key in (held.files if keys is None else keys)}


class _Unusual(Exception):
    """A file that may be fine, but is for ``zipfile`` to read."""


def _members(content: bytes) -> dict[str, tuple[int, int, int, int, int]]:
    """Method, sum, packed size, size and place of each, by key."""
    end = len(content) - _END.size
    if end < 0 or content[end : end + 4] != b"PK\5\6":
        raise _Unusual
    _, disk, first, here, count, size, place, _ = _END.unpack_from(content, end)
    if disk or first or here != count or place + size != end:
        raise _Unusual
    found = {}
    for _ in range(count):
        fields = _CENTRAL.unpack_from(content, place)
        flags, method, total, packed, full = fields[5], fields[6], fields[9], fields[10], fields[11]
        named, more, comment, offset = fields[12], fields[13], fields[14], fields[18]
        name = content[place + _CENTRAL.size : place + _CENTRAL.size + named]
        if (
            fields[0] != b"PK\1\2"
            or flags & _ENCRYPTED
            or method not in (_STORED, _DEFLATED)
            or _BIG in (packed, full, offset)
            or not name.endswith(b".npy")
            or not name.isascii()
        ):
            raise _Unusual
        found[name[:-4].decode()] = (method, total, packed, full, offset)
        place += _CENTRAL.size + named + more + comment
    if place != end or len(found) != count:
        raise _Unusual
    return found


def _array(content: bytes, member: tuple[int, int, int, int, int]) -> np.ndarray:
    method, total, packed, full, offset = member
    local = _LOCAL.unpack_from(content, offset)
    begin = offset + _LOCAL.size + local[9] + local[10]
    if local[0] != b"PK\3\4" or begin + packed > len(content):
        raise _Unusual
    raw = content[begin : begin + packed]
    if method == _DEFLATED:
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        raw = inflate.decompress(raw, full + 1)
        if not inflate.eof:
            raise _Unusual
    if len(raw) != full or zlib.crc32(raw) != total or raw[:8] != b"\x93NUMPY\1\0":
        raise _Unusual
    data = 10 + int.from_bytes(raw[8:10], "little")
    shape, dtype = _form(raw[:data])
    if len(raw) - data != dtype.itemsize * int(np.prod(shape, dtype=np.int64)):
        raise _Unusual
    return np.frombuffer(raw, dtype, offset=data).reshape(shape).copy() if len(raw) > data else np.empty(shape, dtype)


@lru_cache(maxsize=256)
def _form(head: bytes) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype that an npy file begins with."""
    file = io.BytesIO(head[8:])
    try:
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    except ValueError as error:
        raise _Unusual from error
    if fortran or dtype.hasobject:
        raise _Unusual
    return shape, dtype
