"""Observations into requests, by a mapping."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vla_bench.envs.observation import Observation
from vla_bench.policies.base import SubtaskContext
from vla_bench.policies.remote.features import ARRAYS, vector
from vla_bench.policies.remote.images import prepared
from vla_bench.policies.remote.mapping import WireMapping, kind_of

Maker = Callable[[Observation, str, SubtaskContext, np.ndarray | None], Any]
"""From an observation, the instruction, what runs and the row that is followed, to a part of a request."""


class Requests:
    """Builds the requests of a mapping; what can be decided once is decided here, not at each decision."""

    def __init__(self, mapping: WireMapping) -> None:
        self._parts = [(name, _maker(value, mapping.family)) for name, value in mapping.request.items()]

    def __call__(
        self,
        observation: Observation,
        instruction: str,
        context: SubtaskContext,
        followed: np.ndarray | None = None,
    ) -> dict[str, Any]:
        """The request of one observation, keys in the mapping's order.

        ``followed``: the row of the server's last answer that was executed last; takes the place of the first numbers
        of a state that says ``follow`` (X-VLA's proprioception is its own last action).
        """
        return {name: make(observation, instruction, context, followed) for name, make in self._parts}


def _maker(value: Any, family: str) -> Maker:
    match kind_of(value):
        case "image":
            camera = f"rgb_{value['image']}"
            plain = set(value) == {"image"}
            if plain:
                return lambda seen, *_: np.ascontiguousarray(seen[camera])
            return lambda seen, *_: _wrapped(prepared(seen[camera], value), value)
        case "state":
            return _state_maker(value, family)
        case "text":
            return lambda _, instruction, *__: _wrapped(_text(value, instruction), value)
        case "about":
            return lambda _, __, context, ___: getattr(context, value["about"])
    if isinstance(value, Mapping):
        parts = {name: _maker(item, family) for name, item in value.items()}
        return lambda *given: {name: make(*given) for name, make in parts.items()}
    if isinstance(value, list | tuple):
        makers = [_maker(item, family) for item in value]
        return lambda *given: [make(*given) for make in makers]
    return lambda *_: value


def _state_maker(value: Mapping[str, Any], family: str) -> Maker:
    terms, dtype, follow = value["state"], np.dtype(value.get("dtype", "float32")), value.get("follow", 0)
    if len(terms) == 1 and terms[0] in ARRAYS.get(family, ()) and not follow and not value.get("axes"):
        return lambda seen, *_: np.asarray(seen[terms[0]], dtype=dtype)

    def make(seen: Observation, _: str, __: SubtaskContext, followed: np.ndarray | None) -> Any:
        numbers = vector(terms, seen, family)
        if followed is not None and follow:
            numbers = numbers.copy()
            numbers[:follow] = followed[:follow]
        return _wrapped(numbers.astype(dtype), value)

    return make


def _text(value: Mapping[str, Any], instruction: str) -> str:
    text = str(value["text"]).replace("{instruction}", instruction)
    return text.lower() if value.get("lower") else text


def merged(requests: Sequence[Any]) -> Any:
    """Several requests as one: lists and the first axes of arrays are put together, the rest must be the same."""
    first = requests[0]
    if len(requests) == 1:
        return first
    if isinstance(first, Mapping):
        return {name: merged([each[name] for each in requests]) for name in first}
    if isinstance(first, np.ndarray):
        return np.concatenate(requests)
    if isinstance(first, list):
        return [item for each in requests for item in each]
    return first


def _wrapped(value: Any, how: Mapping[str, Any]) -> Any:
    for _ in range(how.get("axes", 0)):
        value = value[None] if isinstance(value, np.ndarray) else [value]
    return value
