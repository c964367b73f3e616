"""The state of a living object, digested: its weights, and whatever else it holds.

Numbers, texts, arrays, tensors, containers and the attributes of objects are taken by value, in their order.
"""

from __future__ import annotations

import copy
import hashlib
import pickle
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

_PLAIN = (bool, int, float, complex, str, bytes, bytearray, type(None))
MOST_VALUES = 1_000_000
"""Values after which an object is taken for too large to be compared (a data set, a trainer)."""


def state_digest(instance: object) -> tuple[str, tuple[str, ...]]:
    """The digest of what an object holds, and what of it could not be compared (``act.lock (lock)``)."""
    reader = _Reader()
    reader.take(instance, "")
    return reader.seen.hexdigest(), tuple(reader.uncompared)


def copied(instance: Any) -> Any:
    """A copy that shares nothing with the instance but the parameters of PyTorch modules, which deciding does not
    change. What copying raises passes through."""
    shared: dict[int, Any] = {}
    for module in _modules(instance):
        shared |= {id(each): each for each in module.parameters()}
    return copy.deepcopy(instance, shared)


def _modules(instance: object) -> Iterator[Any]:
    """PyTorch modules that an object holds, in containers and in objects, too."""
    torch = sys.modules.get("torch")
    if torch is None:
        return
    waiting: list[Any] = [instance]
    seen: set[int] = set()
    while waiting and len(seen) < MOST_VALUES:
        value = waiting.pop()
        if id(value) in seen or isinstance(value, (*_PLAIN, np.ndarray, type, types.ModuleType)):
            continue
        seen.add(id(value))
        if isinstance(value, torch.nn.Module):
            yield value
        elif isinstance(value, Mapping):
            waiting += value.values()
        elif isinstance(value, list | tuple | set | frozenset):
            waiting += value
        elif not isinstance(value, torch.Tensor):
            waiting += list(getattr(value, "__dict__", {}).values())


class _Reader:
    def __init__(self) -> None:
        self.seen = hashlib.sha256()
        self.uncompared: list[str] = []
        self._places: dict[int, int] = {}
        self._held: list[object] = []  # an id is one object's only as long as that lives
        self._count = 0

    def take(self, value: Any, where: str) -> None:
        """Digests one value; ``where`` names it in what is said of it."""
        self._count += 1
        if self._count > MOST_VALUES:
            if self._count == MOST_VALUES + 1:
                self.uncompared.append(f"{where} and what comes after the first {MOST_VALUES:,} values")
            return
        if isinstance(value, _PLAIN):
            self._word(f"{type(value).__name__} {value!r}")
            return
        if id(value) in self._places:
            self._word(f"again {self._places[id(value)]}")
            return
        self._places[id(value)] = len(self._places)
        self._held.append(value)
        if isinstance(value, np.ndarray | np.generic):
            self._array(np.asarray(value), where)
        elif _is_tensor(value):
            self._tensor(value, where)
        elif isinstance(value, Mapping):
            self._word(f"mapping {len(value)}")
            for key, item in value.items():
                self.take(key, where)
                self.take(item, f"{where}[{key!r}]")
        elif isinstance(value, list | tuple):
            self._word(f"{type(value).__name__} {len(value)}")
            for index, item in enumerate(value):
                self.take(item, f"{where}[{index}]")
        elif isinstance(value, set | frozenset):
            self._word(f"set {sorted(map(repr, value))}")
        elif isinstance(value, Path):
            self._word(f"path {value}")
        elif isinstance(value, types.ModuleType | type | types.FunctionType | types.BuiltinFunctionType):
            self._word(f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', value.__name__)}")
        elif isinstance(value, types.MethodType):
            self._word(value.__func__.__qualname__)
            self.take(value.__self__, where)
        elif isinstance(value, np.random.Generator):
            self.take(value.bit_generator.state, where)
        else:
            self._object(value, where)

    def _word(self, text: str) -> None:
        self.seen.update(text.encode(errors="surrogatepass") + b"\0")

    def _array(self, array: np.ndarray, where: str) -> None:
        if array.dtype.hasobject:
            self.take(array.tolist(), where)
            return
        self._word(f"array {array.dtype.str} {array.shape}")
        self.seen.update(np.ascontiguousarray(array).tobytes())

    def _tensor(self, tensor: Any, where: str) -> None:
        import torch

        self._word(f"tensor {tensor.dtype} {tuple(tensor.shape)}")
        try:
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            self.seen.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
        except (RuntimeError, TypeError):  # sparse, quantised, on the device "meta"
            self._pickled(tensor, where)

    def _object(self, value: Any, where: str) -> None:
        kind = type(value)
        self._word(f"object {kind.__module__}.{kind.__qualname__}")
        slots = [name for base in kind.__mro__ for name in _names(getattr(base, "__slots__", ()))]
        held = {name: getattr(value, name) for name in slots if hasattr(value, name) and name[:2] != "__"}
        held |= getattr(value, "__dict__", {})
        if held:
            for name, item in held.items():
                self._word(name)
                self.take(item, f"{where}.{name}".lstrip("."))
        elif not hasattr(value, "__dict__"):  # one of C; an object of a Python class without attributes holds nothing
            self._pickled(value, where)

    def _pickled(self, value: object, where: str) -> None:
        try:
            self.seen.update(pickle.dumps(value, protocol=4))
        except Exception:  # a lock, a file, a connection: anything may be raised
            self.uncompared.append(f"{where or 'it'} ({type(value).__name__})")


def _names(slots: str | tuple[str, ...]) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _is_tensor(value: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)
