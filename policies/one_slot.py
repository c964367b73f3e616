"""Gives a plain one-episode class the batched face of a policy.

The plain class needs two methods and may say three things about itself, on the class or on the
instance::

    class MyPolicy:
        sensors = ("static", "gripper")   # cameras; default: none, so that nothing is rendered.
                                          # {"static": (224, 224)}: height, width in pixels
        action = "relative"               # convention of its actions; default: the environment's
        execute = 1                       # actions of a chunk to run before it looks again

        def reset(self, instruction):     # and any of seed, observation (the subtask's first), task (its name),
            ...                           # position (in its chain, from 0), new_episode

        def act(self, observation):       # -> (A,) or (k, A), floating point
            ...

        def ended(self):                  # optional: whether it is through (SimplerEnv only)
            ...

        def finished(self, outcome):      # optional: told when an episode has ended (EpisodeOutcome)
            ...
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vla_bench.envs.action_spec import ActionSpec
from vla_bench.envs.errors import suggestion
from vla_bench.envs.observation import Camera, Observation, Sensors
from vla_bench.envs.simulation import EnvironmentSpec
from vla_bench.policies.answers import as_chunk
from vla_bench.policies.base import EpisodeOutcome, PolicySpec, SubtaskContext
from vla_bench.policies.errors import PolicyError

TOLD = ("task", "position", "new_episode")
"""What ``reset`` may be told of where in an episode it is."""


class OneSlotPolicy:
    """A plain object as a :class:`vla_bench.policies.base.Policy` with the single slot 0."""

    def __init__(self, plain: Any, environment: EnvironmentSpec) -> None:
        self._plain = plain
        self._name = type(plain).__name__
        if not callable(getattr(plain, "act", None)) and callable(getattr(plain, "step", None)):
            raise PolicyError(
                f"{self._name} has no method 'act'; it has step(), as CALVIN's own models. Wrap it in a class with "
                "reset(self, instruction), which keeps the instruction, and act(self, observation), which returns "
                "self.model.step(...)"
            )
        for method, shown, named in (
            ("reset", "instruction", (*TOLD, "seed", "observation")),
            ("act", "observation", ()),
        ):
            if not callable(getattr(plain, method, None)):
                raise PolicyError(
                    f"{self._name} has no method {method!r}; a policy needs reset(instruction) and act(observation)"
                )
            if not _accepts(getattr(plain, method), *named):
                raise PolicyError(
                    f"{self._name}.{method}() cannot be called as {method}({shown}); it takes "
                    f"{inspect.signature(getattr(plain, method))}"
                )
        self._reset: Callable[..., Any] = plain.reset
        self._act: Callable[[Observation], Any] = plain.act
        self._wants_seed = _takes(plain.reset, "seed")
        self._told = [name for name in TOLD if _takes(plain.reset, name)]
        self._wants_observation = "observation" in _named(plain.reset)
        self._pending: dict[str, Any] | None = None
        finished = own(plain, "finished")
        told = callable(finished) and _accepts(finished)  # one that takes nothing is the class's own affair
        self._finished: Callable[[EpisodeOutcome], Any] | None = finished if told else None
        execute = _count(plain, "execute", 1)
        self._spec = PolicySpec(
            name=_own_name(plain),
            action=_action(plain, environment),
            sensors=_sensors(plain, environment),
            chunk=_count(plain, "chunk", execute),
            execute=execute,
            stochastic=self._wants_seed,
            ends=callable(own(plain, "ended")),
        )

    @property
    def spec(self) -> PolicySpec:
        """Made from the attributes of the plain object."""
        return self._spec

    def reset(self, slot: int, instruction: str, context: SubtaskContext) -> None:
        """Calls ``reset(instruction)``, with whatever of ``seed=``, ``task=``, ``position=``, ``new_episode=`` and
        ``observation=`` it takes; the observation is there at the first decision only, so it is called then."""
        given: dict[str, Any] = {"instruction": instruction, **({"seed": context.seed} if self._wants_seed else {})}
        offered = {"task": context.task, "position": context.position, "new_episode": context.new_episode}
        given |= {name: offered[name] for name in self._told}
        if self._wants_observation:
            self._pending = given
        else:
            self._reset(given.pop("instruction"), **given)

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> list[np.ndarray]:
        """Calls ``act(observation)``; a single action (A,) becomes a chunk (1, A)."""
        if self._pending is not None:
            given, self._pending = self._pending, None
            self._reset(given.pop("instruction"), **given, observation=observations[0])
        return [as_chunk(self._act(observations[0]), self._spec.name)]

    def ended(self, slot: int) -> bool:
        """Calls ``ended()``."""
        return bool(self._plain.ended())

    def finished(self, slot: int, outcome: EpisodeOutcome) -> None:
        """Calls ``finished(outcome)`` when there is such a method."""
        if self._finished is not None:
            self._finished(outcome)

    def close(self) -> None:
        """Calls ``close()`` when there is one."""
        close = own(self._plain, "close")
        if callable(close):
            close()


def _named(function: Callable[..., Any]) -> list[str]:
    """What may be told by name; the first parameter, whatever it is called, is the instruction."""
    return list(inspect.signature(function).parameters)[1:]


def _accepts(function: Callable[..., Any], *named: str) -> bool:
    """Whether it can be called with one thing, and with those of the names that it has."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # compiled code that does not say
        return True
    try:
        first = next(iter(signature.parameters), "")  # an instruction may be called a task, but not a seed
        told = (name for name in named if name in signature.parameters and not (name == first and name in TOLD))
        signature.bind(None, **dict.fromkeys(told))
    except TypeError:
        return False
    return True


def _takes(function: Callable[..., Any], name: str) -> bool:
    parameters = inspect.signature(function).parameters
    rest = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    return name in _named(function) or (rest and name not in parameters)


def own(plain: Any, name: str, default: Any = None) -> Any:
    """An attribute that may be there; one that cannot be had yet (a property, a ``__getattr__`` that raises) is not."""
    try:
        return getattr(plain, name, default)
    except Exception:  # whatever the class raises there
        return default


def _own_name(plain: Any) -> str:
    """Its ``name`` where that is a text, as many classes have for other ends, too."""
    name = own(plain, "name")
    return name if isinstance(name, str) and name.strip() else type(plain).__name__


def _count(plain: Any, name: str, default: int) -> int:
    value = own(plain, name, default)
    if value is None or callable(value) or isinstance(value, list | tuple | dict) or hasattr(value, "shape"):
        return default  # a method or a buffer of that name is the class's own affair
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise PolicyError(f"{type(plain).__name__}.{name} is {value!r}; it must be a whole number from 1")
    return value


def _action(plain: Any, environment: EnvironmentSpec) -> ActionSpec:
    action = own(plain, "action")
    if isinstance(action, ActionSpec):
        return action
    if not isinstance(action, str) or not action:  # e.g. the last action, kept under that name
        return environment.actions[0]
    offered = [spec.name for spec in environment.actions]
    if action not in offered:
        raise PolicyError(
            f"{type(plain).__name__}.action is {action!r}, but {environment.family} offers "
            f"{', '.join(offered)}.{suggestion(str(action), offered)}"
        )
    return environment.action(action)


def _sensors(plain: Any, environment: EnvironmentSpec) -> Sensors:
    """From names, ``Camera`` objects, or a mapping of names to sizes."""
    wanted = own(plain, "sensors")
    if isinstance(wanted, Sensors):
        return wanted
    if isinstance(wanted, str | Camera):
        wanted = (wanted,)
    try:
        if isinstance(wanted, Mapping):
            return Sensors(tuple(_sized(name, size) for name, size in wanted.items()))
        return Sensors(tuple(_sized(item, None) for item in (() if wanted is None else wanted)))
    except (TypeError, ValueError):
        raise PolicyError(
            f"{type(plain).__name__}.sensors is {wanted!r}; it must be camera names, e.g. "
            f"{tuple(environment.cameras)!r}, names with sizes, e.g. {{{next(iter(environment.cameras), 'static')!r}: "
            "(224, 224)} (height, width), or an envs.Sensors"
        ) from None


def _sized(item: Any, size: Any) -> Camera:
    """TypeError, ValueError: that is no camera, or no size."""
    if isinstance(item, Camera):
        return item
    if not isinstance(item, str):
        raise TypeError(item)
    if size is None or size is True:
        return Camera(item)
    if isinstance(size, Camera):
        if size.name != item:
            raise ValueError(size)
        return size
    if isinstance(size, Mapping):
        return Camera(item, **size)
    height, width = (size, size) if isinstance(size, int) else size
    return Camera(item, height=operator.index(height), width=operator.index(width))
