"""A client's request as an observation of ours, and a chunk as the client wants it: a mapping, read backwards."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_bench.envs.action_spec import ActionSpec
from vla_bench.envs.observation import Observation
from vla_bench.envs.simulation import EnvironmentSpec
from vla_bench.policies.base import PolicySpec
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.remote.errors import MessageFault
from vla_bench.policies.remote.fitting import check_environment
from vla_bench.policies.remote.mapping import WireMapping, kind_of

_PART = re.compile(r"([a-z_0-9]+)\[(\d+)(?::(\d+))?\]")
_Taker = Callable[[Any, dict[str, np.ndarray]], str | None]
"""Takes one thing from a request: an array into the dictionary, or why not; or the instruction."""
ABOUT = ("episode", "position", "seed")
LONGEST_PROMPT = 10_000
"""Characters."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    observation: Observation
    instruction: str
    restart: bool
    """Whether the client says that a subtask begins."""
    about: Mapping[str, Any]
    """``episode``, ``position`` and ``seed``, where the client sends them."""
    left_out: tuple[str, ...] = ()
    """State vectors that are not what the environment has, and so are not in the observation."""


class Translation:
    """Between a protocol's messages and a policy."""

    def __init__(self, mapping: WireMapping, spec: PolicySpec, environment: EnvironmentSpec) -> None:
        """PolicyError: the mapping does not carry what the policy needs, or speaks of other actions."""
        check_environment(mapping, environment)
        missing = [camera.name for camera in spec.sensors.cameras if camera.name not in mapping.cameras()]
        if missing:
            raise PolicyError(
                f"policy {spec.name!r} looks through {', '.join(missing)}, which the mapping {mapping.name} does not "
                "send; choose another with --mapping"
            )
        self.mapping = mapping
        self._scale = _scale(spec.action, environment.action(mapping.answer.convention or environment.actions[0].name))
        places = list(_places(mapping.request))
        self._arrays = [_taker(*place, environment) for place in places if place[1] in ("image", "state")]
        self._texts = [_taker(*place, environment) for place in places if place[1] == "text"]

    def asked(self, request: Any, like: Asked | None = None) -> Asked:
        """The observation in a request. MessageFault: says what is missing or wrong.

        ``like``: of a request from which this one differs in the contents of arrays alone.
        """
        if like is not None:
            numbers: dict[str, np.ndarray] = {}
            left_out = tuple(filter(None, [take(request, numbers) for take in self._arrays]))
            return Asked(Observation(numbers), like.instruction, like.restart, like.about, left_out)
        if not isinstance(request, Mapping):
            raise MessageFault(f"a request that is a {type(request).__name__}, not a map")
        arrays: dict[str, np.ndarray] = {}
        left_out = tuple(filter(None, [take(request, arrays) for take in self._arrays]))
        instruction = ""
        for text in self._texts:
            instruction = text(request, arrays) or instruction
        about = {name: request[name] for name in ABOUT if name in request}
        restart = request.get("episode_restart") is True or request.get("reset") is True
        return Asked(Observation(arrays), instruction, restart, _checked_about(about) if about else {}, left_out)

    def chunk(self, chunk: np.ndarray) -> np.ndarray:
        """The chunk in the mapping's units, in its own dtype where those are the policy's."""
        if self._scale is None:
            return chunk
        return chunk * self._scale


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str, Mapping[str, Any]]]:
    if kind := kind_of(value):
        yield path, kind, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _places(item, (*path, name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _places(item, (*path, number))


def _taker(path: tuple[Any, ...], kind: str, content: Mapping[str, Any], environment: EnvironmentSpec) -> _Taker:
    """What takes one place of a request; what can be decided once is decided here, not at each request."""
    name, first, more = "/".join(map(str, path)), path[0], path[1:]
    series = bool(content.get("history"))  # the newest is last; a policy keeps its own
    optional = path[-1] in ABOUT or first == "states" or "state" in str(path[-1])

    def found(request: Any) -> Any:
        try:
            value = request[first]
            for step in more:
                value = value[step]
        except (KeyError, IndexError, TypeError):
            if optional:
                return None
            raise MessageFault(f"a request without {name!r}") from None
        return value

    if kind == "image":
        array = f"rgb_{content['image']}"

        def image(request: Any, arrays: dict[str, np.ndarray]) -> None:
            value = found(request)
            if series and isinstance(value, np.ndarray) and value.ndim == 4 and len(value):
                value = value[-1]
            if not isinstance(value, np.ndarray) or value.dtype != np.uint8 or value.ndim != 3 or value.shape[2] != 3:
                said = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
                raise MessageFault(f"a request whose {name!r} is {said}; an image (H, W, 3) of uint8 is wanted")
            arrays[array] = value

        return image
    if kind == "state":
        terms = content["state"]
        if len(terms) != 1 or not isinstance(terms[0], str) or _PART.fullmatch(terms[0]):
            return lambda *_: None  # a part of a vector is no use to a policy

        wanted = (len(environment.vectors[terms[0]]),) if terms[0] in environment.vectors else None

        def state(request: Any, arrays: dict[str, np.ndarray]) -> str | None:
            value = found(request)
            if value is None:
                return None
            try:
                numbers = np.asarray(value)
            except ValueError:  # lists of different lengths
                return f"{name!r} is no array"
            if series and numbers.ndim == 2 and len(numbers):
                numbers = numbers[-1]
            if numbers.dtype.kind not in "fiub" or numbers.ndim != 1 or (wanted and numbers.shape != wanted):
                return f"{name!r} is {numbers.dtype} {numbers.shape}, and {terms[0]} is {wanted}"
            numbers = numbers.astype(np.float64)
            if not all(map(math.isfinite, numbers.tolist())):
                return f"{name!r} has numbers that are not finite"
            arrays[terms[0]] = numbers
            return None

        return state
    if kind == "text":

        def text(request: Any, _: dict[str, np.ndarray]) -> str:
            value = found(request)
            value = value[0] if isinstance(value, list) and value else value
            if not isinstance(value, str) or len(value) > LONGEST_PROMPT:
                raise MessageFault(f"a request whose {name!r} is no text of at most {LONGEST_PROMPT} characters")
            return value

        return text
    return lambda *_: None


def _checked_about(about: Mapping[str, Any]) -> Mapping[str, Any]:
    for name, value in about.items():
        sound = isinstance(value, str) if name == "episode" else type(value) is int and value >= 0
        if not sound:
            raise MessageFault(f"a request whose {name!r} is {str(value)[:40]!r}")
    return about


def _scale(policy: ActionSpec, wanted: ActionSpec) -> np.ndarray | None:
    """What turns the policy's numbers into those of the mapping's convention; None for no change."""
    units = ("position_scale", "rotation_scale", "bounded", "restarts")
    differences = [each for each in wanted.differences(policy) if not each.startswith(units)]
    if differences:
        raise PolicyError(
            f"the policy's actions are {policy.name!r}, and the mapping's {wanted.name!r}: they differ in "
            f"{'; '.join(differences)}. Choose another with --mapping"
        )
    if (policy.position_scale, policy.rotation_scale) == (wanted.position_scale, wanted.rotation_scale):
        return None
    scale = np.ones(policy.size)
    scale[:3] = policy.position_scale / wanted.position_scale
    scale[3:-1] = policy.rotation_scale / wanted.rotation_scale
    return scale
