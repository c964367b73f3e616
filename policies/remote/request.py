"""Observations into requests, by a mapping."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vla_bench.envs.observation import Observation
from vla_bench.envs.simulation import EnvironmentSpec
from vla_bench.policies.base import SubtaskContext
from vla_bench.policies.remote.features import Features
from vla_bench.policies.remote.images import prepared
from vla_bench.policies.remote.mapping import WireMapping, kind_of


@dataclass(slots=True)
class Moment:
    """What a request is made of, beside the observation."""

    instruction: str
    context: SubtaskContext
    followed: np.ndarray | None = None
    """The row of the server's last answer that was executed last; takes the place of the first numbers of a state that
    says ``follow`` (X-VLA's proprioception is its own last action)."""
    past: dict[int, deque[np.ndarray]] = field(default_factory=dict)
    """What placeholders with a history have sent since the subtask began; kept from request to request."""


Maker = Callable[[Observation, Moment], Any]
"""A part of a request."""


class Requests:
    """Builds the requests of a mapping; what can be decided once is decided here, not at each decision."""

    def __init__(self, mapping: WireMapping, environment: EnvironmentSpec) -> None:
        self._features = Features(environment)
        self._histories = 0
        self._parts = [(name, self._maker(value)) for name, value in mapping.request.items()]
        self.follows = any(content.get("follow") for _, content in mapping.placeholders())
        """Whether some state follows what was executed."""

    def __call__(self, observation: Observation, moment: Moment) -> dict[str, Any]:
        """The request of one observation, keys in the mapping's order."""
        return {name: make(observation, moment) for name, make in self._parts}

    def _maker(self, value: Any) -> Maker:
        match kind_of(value):
            case "image":
                camera = f"rgb_{value['image']}"
                if set(value) == {"image"}:
                    return lambda seen, _: np.ascontiguousarray(seen[camera])
                return self._with_history(lambda seen, _: prepared(seen[camera], value), value)
            case "state":
                return self._state_maker(value)
            case "text":
                return lambda _, moment: _wrapped(_text(value, moment.instruction), value)
            case "about":
                return lambda _, moment: getattr(moment.context, value["about"])
        if isinstance(value, Mapping):
            parts = {name: self._maker(item) for name, item in value.items()}
            return lambda *given: {name: make(*given) for name, make in parts.items()}
        if isinstance(value, list | tuple):
            makers = [self._maker(item) for item in value]
            return lambda *given: [make(*given) for make in makers]
        return lambda *_: value

    def _state_maker(self, value: Mapping[str, Any]) -> Maker:
        terms, dtype, follow = value["state"], np.dtype(value.get("dtype", "float32")), value.get("follow", 0)
        if len(terms) == 1 and terms[0] in self._features.vectors and not set(value) - {"state", "dtype"}:
            return lambda seen, _: np.asarray(seen[terms[0]], dtype=dtype)
        features = self._features

        def make(seen: Observation, moment: Moment) -> np.ndarray:
            numbers = features.vector(terms, seen)
            if moment.followed is not None and follow:
                numbers = numbers.copy()
                numbers[:follow] = moment.followed[:follow]
            return numbers.astype(dtype)

        whole = self._with_history(make, value)
        return (lambda *given: whole(*given).tolist()) if value.get("list") else whole

    def _with_history(self, make: Callable[[Observation, Moment], np.ndarray], how: Mapping[str, Any]) -> Maker:
        """The last arrays on an axis of their own, the oldest first; the first stands for what was before it."""
        if not (length := how.get("history", 0)):
            return lambda *given: _wrapped(make(*given), how)
        number = self._histories = self._histories + 1

        def several(seen: Observation, moment: Moment) -> Any:
            now = make(seen, moment)
            past = moment.past.setdefault(number, deque([now] * length, maxlen=length))
            past.append(now)
            return _wrapped(np.stack(past), how)

        return several


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
