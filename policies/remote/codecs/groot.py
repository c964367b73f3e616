"""GR00T's msgpack: arrays as the bytes of a ``.npy`` file.

Written after ``gr00t/policy/server_client.py`` of Isaac-GR00T N1.6. Its first line sent ``torch.save`` files, which are
pickles: told apart by the first byte and refused.
"""

from __future__ import annotations

import ast
import io
import struct
from typing import Any

import msgpack
import numpy as np

from vla_bench.policies.remote.codecs.bounds import LARGEST_MESSAGE, array_from, unpacked
from vla_bench.policies.remote.errors import MessageFault

PICKLED = (
    "a pickle (torch.save): GR00T's first line of servers exchanges nothing else, and unpickling would run whatever "
    "code the other side puts in. Serve the checkpoint with a server of Isaac-GR00T N1.5 or later (msgpack)"
)
_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 1024


def encode(value: Any) -> bytes:
    """The message of a value. ValueError: an array of objects, or a NumPy scalar, which the other side refuses too."""
    return msgpack.packb(value, default=_plain)


def decode(data: bytes, largest: int = LARGEST_MESSAGE) -> Any:
    """The value of a message; arrays are writable.

    Modality configurations (``__ModalityConfig_class__``) become the plain map in them, of either line.
    MessageFault: a pickle, or see :mod:`.bounds`.
    """
    if data[:2] == b"PK" or data[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        raise MessageFault(PICKLED)
    return unpacked(data, _built, largest)


def modality_config(plain: dict[str, Any]) -> dict[str, Any]:
    """What stands for a ``ModalityConfig`` on the wire; keys in the order of its own fields."""
    names = ("delta_indices", "modality_keys", "sin_cos_embedding_keys", "mean_std_embedding_keys", "action_configs")
    return {"__ModalityConfig_class__": True, "as_json": {name: plain.get(name) for name in names}}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biufUS":
            raise ValueError(f"an array of {value.dtype} cannot be sent")
        buffer = io.BytesIO()
        np.save(buffer, value)  # never a pickle: arrays of objects are refused above
        return {"__ndarray_class__": True, "as_npy": buffer.getvalue()}
    raise ValueError(f"can not serialize {type(value).__name__!r} object")


def _built(value: dict[Any, Any]) -> Any:
    if "__ndarray_class__" in value:
        return _from_npy(value.get("as_npy"))
    if "__ModalityConfig_class__" in value:
        plain = value.get("as_json")
        if isinstance(plain, str):  # N1.5
            import json

            try:
                plain = json.loads(plain)
            except (ValueError, RecursionError):
                raise MessageFault("a modality configuration that is no JSON") from None
        if not isinstance(plain, dict):
            raise MessageFault("a modality configuration that is no map")
        return plain
    return value


def _from_npy(data: Any) -> np.ndarray:
    """An array of a ``.npy`` file (NEP 1); read here, so that its header is judged before it makes anything."""
    if not isinstance(data, bytes) or data[:6] != _MAGIC or len(data) < 12:
        raise MessageFault("an array that is no .npy file")
    layout = "<H" if data[6] == 1 else "<I"
    (length,) = struct.unpack_from(layout, data, 8)
    start = 8 + struct.calcsize(layout)
    if length > _LONGEST_HEADER or start + length > len(data):
        raise MessageFault("an array whose .npy header is too long")
    try:
        header = ast.literal_eval(data[start : start + length].decode("latin1").strip())
        dtype, fortran, shape = header["descr"], header["fortran_order"], header["shape"]
    except (ValueError, SyntaxError, KeyError, TypeError, RecursionError, MemoryError):
        raise MessageFault("an array whose .npy header cannot be read") from None
    if not isinstance(shape, tuple):
        raise MessageFault("an array whose .npy header cannot be read")
    body = data[start + length :]
    if fortran is True:
        return array_from(dtype, body, shape[::-1]).T.copy(order="F")
    return array_from(dtype, body, shape).copy()
