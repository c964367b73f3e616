"""A simulation under changes that need not know what is simulated."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_bench.envs import simulation
from vla_bench.envs.action_spec import ActionSpec
from vla_bench.envs.observation import Observation, Sensors
from vla_bench.envs.simulation import STRESS, EpisodeStart, Outcome, SceneState, Simulation, SimulationSpec
from vla_bench.envs.stress.body import Body
from vla_bench.envs.stress.image import Pictures
from vla_bench.envs.stress.levels import AXES, PICTURE, WORLD, Stress, may_show_nothing


@dataclass(frozen=True, slots=True)
class Clock:
    """The world does not wait for decisions."""

    steps: int
    """Control steps that pass during each."""
    seconds_per_step: float
    """Above 0: as many control steps pass as each decision takes."""
    hold: bool
    """Whether the arm holds meanwhile; else the chunk before goes on."""
    action: ActionSpec


def to_option(stress: Stress, action: ActionSpec, control_hz: float) -> dict[str, Any]:
    """The levels as plain data among a simulation's options, with what a wrapper has to know of the environment."""
    plain = {f.name: getattr(stress, f.name) for f in dataclasses.fields(stress)}
    levels = {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}
    return {"levels": levels, "action": dataclasses.asdict(action), "control_hz": control_hz}


def from_option(option: Mapping[str, Any]) -> tuple[Stress, ActionSpec, float]:
    """The inverse of :func:`to_option`."""
    plain: Mapping[str, Any] = option["levels"]
    levels: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in plain.items()}
    return Stress(**levels), ActionSpec(**option["action"]), float(option["control_hz"])


def steps_of(stress: Stress, control_hz: float) -> int:
    """Control steps of the stated latency: whole ones, rounded up."""
    return stress.latency_steps or math.ceil(round(stress.latency_seconds * control_hz, 6))


def needs_world(option: Mapping[str, Any]) -> bool:
    """Whether the simulation itself has to know of the levels."""
    stress, zero = from_option(option)[0], Stress()
    return any(getattr(stress, name) != getattr(zero, name) for name in WORLD)


def make_simulation(spec: SimulationSpec) -> Simulation:
    """As :func:`vla_bench.envs.simulation.make_simulation`, under the levels of stress among the options.

    They are laid around what the family builds, which is told of them where they change its world.
    """
    option = spec.options.get(STRESS)
    if option is None:
        return simulation.make_simulation(spec)
    if not needs_world(option):
        plain = {name: value for name, value in spec.options.items() if name != STRESS}
        spec = dataclasses.replace(spec, options=plain)
    return StressedSimulation(simulation.make_simulation(spec), option, spec.sensors)


class StressedSimulation:
    """Another simulation whose pictures and actions are changed on their way. All else is the other's."""

    def __init__(self, inner: Simulation, option: Mapping[str, Any], sensors: Sensors) -> None:
        """Takes over ``inner``; ``option`` is :func:`to_option`'s."""
        levels, action, hertz = from_option(option)
        zero = Stress()
        self._inner = inner
        self._strict = not needs_world(option)
        cameras = [camera.name for camera in sensors.cameras]
        pictured = any(getattr(levels, name) != getattr(zero, name) for name in PICTURE)
        bodily = any(getattr(levels, name) != getattr(zero, name) for name in AXES["body"])
        self._pictures = Pictures(levels, cameras) if pictured else None
        self._body = Body(levels, action) if bodily else None
        self._step = 0
        self.black = tuple(cameras) if may_show_nothing(levels) else levels.black
        """Cameras that show nothing on purpose, or that may."""
        steps = steps_of(levels, hertz)
        measured = levels.latency == "measured"
        self.clock: Clock | None = None
        """What passes during decisions; None: nothing."""
        if steps or measured:
            self.clock = Clock(steps, 1 / hertz if measured else 0.0, levels.meanwhile == "hold", action)

    def reset(self, start: EpisodeStart) -> None:
        """Takes the episode's seed out of ``start`` and resets the other."""
        state = dict(start.state)
        (seed,) = state.pop(STRESS, (0.0,)) if self._strict else state.get(STRESS, (0.0,))
        self._step = 0
        if self._pictures is not None:
            self._pictures.begin(int(seed))
        if self._body is not None:
            self._body.begin(int(seed))
        self._inner.reset(dataclasses.replace(start, state=state))

    def begin(self, subtask: str) -> None:
        """See :class:`vla_bench.envs.simulation.Simulation`."""
        self._inner.begin(subtask)

    def advance(self, actions: np.ndarray) -> Outcome:
        """Executes what the changed body makes of ``actions``."""
        done = actions if self._body is None else self._body.changed(actions)
        outcome = self._inner.advance(done)
        if self._body is not None:
            self._body.executed(actions[: outcome.steps], done[: outcome.steps])
        self._step += outcome.steps
        return outcome

    def observe(self) -> Observation:
        """The other's observation, its pictures changed."""
        observation = self._inner.observe()
        return observation if self._pictures is None else self._pictures.changed(observation, self._step)

    def privileged(self) -> SceneState:
        """The other's: the truth stays the truth."""
        return self._inner.privileged()

    def close(self) -> None:
        """Closes the other."""
        self._inner.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
