"""Object arrays of CALVIN's data sets: pickles, read by a reader that can run nothing.

``np.save`` of a dictionary is a zero-dimensional object array, which is a pickle, and a pickle can call any
function of any module while it is read. The annotations of CALVIN need five names, all of numpy's own arrays.
"""

from __future__ import annotations

import codecs
import io
import os
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from vla_bench.envs.errors import DatasetError

_OLD, _NEW = "numpy.core.multiarray", "numpy._core.multiarray"
MAX_BYTES = 4 << 30
"""Bytes beyond which a file of annotations is not one; all of ABCD's take 40 MB."""


class _Latin1:
    """What ``_codecs.encode`` does in pickles of Python 2's protocols, and nothing else it could do."""

    __slots__ = ()

    def __call__(self, text: str, encoding: str = "latin1") -> bytes:
        if encoding.lower().replace("-", "").replace("_", "") not in ("latin1", "iso88591"):
            raise pickle.UnpicklingError(f"an encoding of bytes as {encoding!r}")
        return codecs.latin_1_encode(text)[0]


class _Dtype:
    """A dtype of numbers, texts or objects, without numpy's own ``__setstate__``, which believes what it is told."""

    __slots__ = ("dtype",)

    def __init__(self, spec: str, *_: Any) -> None:
        if not re.fullmatch(r"[<>=|]?[?biufcSUO]\d{0,6}", spec):
            raise pickle.UnpicklingError(f"a dtype {spec!r}")
        self.dtype = np.dtype(spec)

    def __setstate__(self, state: tuple) -> None:
        _, order, *structure = state[:5]
        if any(part is not None for part in structure):
            raise pickle.UnpicklingError("a structured dtype")
        if order in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """An array on its way: it is made when its numbers have been read."""

    __slots__ = ("value",)

    def __init__(self, *_: Any) -> None:
        self.value = np.empty(0)

    def __setstate__(self, state: tuple) -> None:
        _, shape, kind, fortran, content = state
        if kind.dtype.hasobject:
            flat = np.empty(len(content), object)
            for place, each in enumerate(content):
                flat[place] = each
        else:
            content = content.encode("latin1") if isinstance(content, str) else content
            flat = np.frombuffer(bytearray(content), kind.dtype)
        self.value = flat.reshape(shape, order="F" if fortran else "C")


class _FromBuffer:
    """What numpy's ``_frombuffer`` does in pickles of protocol 5."""

    __slots__ = ()

    def __call__(self, buffer: Any, kind: _Dtype, shape: tuple[int, ...], order: Any) -> np.ndarray:
        if kind.dtype.hasobject:
            raise pickle.UnpicklingError("objects in a buffer")
        return np.frombuffer(bytearray(buffer), dtype=kind.dtype).reshape(shape, order=order)


class _Scalar:
    """What numpy's ``scalar`` does: one number."""

    __slots__ = ()

    def __call__(self, kind: _Dtype, content: bytes | str) -> Any:
        content = content.encode("latin1") if isinstance(content, str) else content
        if kind.dtype.hasobject:
            raise pickle.UnpicklingError("an object as a number")
        (value,) = np.frombuffer(content, kind.dtype)
        return value


class _Name:
    """Stands for the class of arrays, which is only ever named."""

    __slots__ = ()


def _finished(value: Any) -> Any:
    """``value`` with its arrays made, however deep they lie."""
    if isinstance(value, _Array):
        value = value.value
    if isinstance(value, _Dtype):
        return value.dtype
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        for place in np.ndindex(value.shape):
            value[place] = _finished(value[place])
        return value
    if type(value) in (dict, OrderedDict):
        return type(value)((_finished(key), _finished(each)) for key, each in value.items())
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(_finished(each) for each in value)
    return value


def _numpy_names() -> dict[tuple[str, str], Any]:
    names: dict[tuple[str, str], Any] = {("numpy", "ndarray"): _Name(), ("numpy", "dtype"): _Dtype}
    for module in (_OLD, _NEW):
        names[module, "_reconstruct"] = _Array
        names[module, "scalar"] = _Scalar()
    for module in ("numpy.core.numeric", "numpy._core.numeric"):
        names[module, "_frombuffer"] = _FromBuffer()
    names["_codecs", "encode"] = _Latin1()
    return names


_ADMITTED = _numpy_names()


class ForbiddenName(pickle.UnpicklingError):
    """A pickle asks for a name that no data needs."""


_Unpickler: Any = pickle._Unpickler  # type: ignore[attr-defined]
"""The one written in Python: a damaged file makes the other one allocate as many gigabytes as it names."""


class RestrictedUnpickler(_Unpickler):
    """Reads what numpy arrays, their numbers, and plain Python values are made of."""

    def __init__(self, file: BinaryIO, admitted: dict[tuple[str, str], Any] | None = None) -> None:
        super().__init__(file)
        self._admitted = {**_ADMITTED, **(admitted or {})}

    def find_class(self, module: str, name: str) -> Any:
        """The admitted object of that name.

        Raises:
            ForbiddenName: any other name.
        """
        try:
            return self._admitted[module, name]
        except KeyError:
            raise ForbiddenName(f"{module}.{name}") from None


def unpickle(content: bytes, where: str, admitted: dict[tuple[str, str], Any] | None = None) -> Any:
    """What a pickle holds.

    Args:
        content: The pickle.
        where: What it is, for messages.
        admitted: (module, name) to the object that stands for it, beside numpy's.

    Raises:
        DatasetError: it wants to run code, or is damaged.
    """
    try:
        return _finished(RestrictedUnpickler(io.BytesIO(content), admitted).load())
    except ForbiddenName as error:
        raise DatasetError(
            f"{where} is a pickle that wants to call {error}, which data has no need of; nothing of it was run. "
            "Take the file from its publisher again, and do not open this one with numpy's allow_pickle"
        ) from None
    except Exception as error:  # a damaged pickle may raise anything at all
        raise DatasetError(f"{where} cannot be read: {_said(error)}; take it from its source again") from error


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__


def load_object(path: Path) -> Any:
    """The one object of an ``.npy`` file that numpy wrote as a pickle, or its array.

    Raises:
        DatasetError: the file is missing, damaged, or wants to run code.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DatasetError(f"{path} has more than {MAX_BYTES >> 30} GB: these are no annotations")
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read_header: Callable = (
                np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            )
            _, _, dtype = read_header(file)
            if dtype.hasobject:
                found = unpickle(file.read(), str(path))
                return found.item() if isinstance(found, np.ndarray) and found.shape == () else found
            file.seek(0)
            return np.lib.format.read_array(file)
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise DatasetError(f"{path} is truncated or no .npy file ({error}); take it from its source again") from error


_Pickler: Any = pickle._Pickler  # type: ignore[attr-defined]
"""The one written in Python, whose methods can be replaced."""


class _OldNames(_Pickler):
    """Writes numpy's functions under the names that every numpy since 1.0 knows."""

    def save_global(self, obj: Any, name: str | None = None) -> None:
        """As the base does, but for numpy's own module."""
        if getattr(obj, "__module__", None) == _NEW:
            self.write(pickle.GLOBAL + f"{_OLD}\n{name or obj.__name__}\n".encode())
            self.memoize(obj)
        else:
            super().save_global(obj, name)


def save_object(path: Path, value: Any) -> None:
    """Writes ``value`` as ``np.save`` would, readable by numpy 1 and 2 on Python 3.8 and later.

    The file appears whole or not at all.
    """
    array = np.empty((), dtype=object)
    array[()] = value
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, np.lib.format.header_data_from_array_1_0(array))
    pickler = _OldNames(buffer, protocol=4, fix_imports=False)
    pickler.fast = True  # no memo: equal values give equal bytes, whichever of them are one object
    pickler.dump(array)
    replace_file(path, buffer.getvalue())


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file so that a reader, and a machine that stops, sees the old content or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def save_array(path: Path, array: np.ndarray) -> None:
    """Writes a plain array as ``np.save`` does, whole or not at all."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array))
    replace_file(path, buffer.getvalue())
