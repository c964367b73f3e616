"""Pickled torch tensors, read without torch and without running anything.

``pickle.dumps(tensor)`` names a function that rebuilds the tensor and one that reads its storage from bytes, which are
a file of ``torch.save``'s old form: three small pickles, one with the storage's type and size, and the numbers.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections import OrderedDict
from typing import Any

import numpy as np

from vla_bench.envs.calvin.dataset.pickles import ForbiddenName, RestrictedUnpickler, unpickle

_TYPES = {
    "FloatStorage": np.float32,
    "DoubleStorage": np.float64,
    "HalfStorage": np.float16,
    "ByteStorage": np.uint8,
    "UntypedStorage": np.uint8,
    "CharStorage": np.int8,
    "ShortStorage": np.int16,
    "IntStorage": np.int32,
    "LongStorage": np.int64,
    "BoolStorage": np.bool_,
}
MAGIC = 0x1950A86A20F9469CFC6C
"""First number of a file of torch.save's old form (torch ``serialization.py``)."""


class _StorageType:
    """Stands for a class of storages."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: type) -> None:
        self.dtype = np.dtype(dtype)


class _Rebuild:
    """What ``torch._utils._rebuild_tensor_v2`` does, with arrays."""

    __slots__ = ()

    def __call__(self, storage: Any, offset: int, size: tuple, stride: tuple, *_: Any) -> np.ndarray:
        if not isinstance(storage, np.ndarray) or min((offset, *size, *stride), default=0) < 0:
            raise ValueError("a tensor without its numbers")
        reach = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if 0 not in size else 0
        if reach >= max(len(storage), 1):
            raise ValueError("a tensor that reaches past its numbers")
        steps = tuple(step * storage.itemsize for step in stride)
        return np.lib.stride_tricks.as_strided(storage[offset:], size, steps).copy()


class _LoadFromBytes:
    """What ``torch.storage._load_from_bytes`` does for storages of numbers."""

    __slots__ = ()

    def __call__(self, content: bytes) -> np.ndarray:
        return read_storage(bytes(content))


class _StorageUnpickler(RestrictedUnpickler):
    def persistent_load(self, pid: Any) -> Any:
        kind, storage_type, key, _location, count, *view = pid
        if kind != "storage" or not isinstance(storage_type, _StorageType) or any(view):
            raise ForbiddenName(f"a storage of {kind!r}")
        return storage_type.dtype, str(key), int(count)


_STORAGES = {("torch", name): _StorageType(dtype) for name, dtype in _TYPES.items()}
_STORAGES |= {("torch.storage", "UntypedStorage"): _STORAGES["torch", "UntypedStorage"]}
ADMITTED = {
    ("torch._utils", "_rebuild_tensor_v2"): _Rebuild(),
    ("torch.storage", "_load_from_bytes"): _LoadFromBytes(),
    ("collections", "OrderedDict"): OrderedDict,
    **_STORAGES,
}


def read_storage(content: bytes) -> np.ndarray:
    """The numbers of a storage as ``torch.save`` wrote it in its old form.

    Raises:
        pickle.UnpicklingError: it is of another form.
        ValueError: it was cut off.
    """
    file = io.BytesIO(content)
    magic, _protocol, _system = (RestrictedUnpickler(file).load() for _ in range(3))
    if magic != MAGIC:
        raise pickle.UnpicklingError("no file of torch.save's old form")
    dtype, key, count = _StorageUnpickler(file, _STORAGES).load()
    keys = RestrictedUnpickler(file).load()
    if list(keys) != [key]:
        raise pickle.UnpicklingError("more than one storage")
    (held,) = struct.unpack("<q", file.read(8))
    numbers = np.frombuffer(file.read(held * dtype.itemsize), dtype)
    if held != count or len(numbers) != count:
        raise ValueError("a storage was cut off")
    return numbers


def read_pickle(content: bytes, where: str) -> Any:
    """A pickled plain value or tensor; tensors as arrays.

    Raises:
        DatasetError: it wants to run code, or is damaged.
    """
    return unpickle(content, where, ADMITTED)
