"""Executes a trace again and looks on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from bench.video.trace import Trace
from envs.observation import Camera, Sensors
from envs.simulation import Simulation, SimulationSpec, environment_spec, make_simulation

STRIDE = 3
"""Control steps between two frames: ten frames for each second of CALVIN."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What is seen at some step of a subtask."""

    position: int
    step: int
    images: Mapping[str, np.ndarray]
    """(H, W, 3) uint8 by camera."""
    outcome: bool | None = None
    """Whether the subtask was solved, at its last moment."""
    faithful: bool = True
    """False when the state at the end of a subtask was not the recorded one."""


def open_simulation(trace: Trace) -> Simulation:
    """The trace's simulation, with all cameras."""
    environment = environment_spec(trace.family, trace.options)
    sensors = Sensors(tuple(Camera(name) for name in environment.cameras))
    return make_simulation(SimulationSpec(trace.family, trace.options, sensors, trace.action))


def replay(simulation: Simulation, trace: Trace, stride: int = STRIDE) -> Iterator[Moment]:
    """The moments of an episode, every ``stride`` steps and at the end of each subtask."""
    episode = trace.episode
    simulation.reset(episode.start)
    for position, (actions, result) in enumerate(zip(trace.actions, trace.results, strict=True)):
        simulation.begin(episode.subtasks[position])
        for step, action in enumerate(actions):
            if step % stride == 0:
                yield Moment(position, step, _images(simulation))
            simulation.advance(action[None])
        faithful = simulation.privileged().digest() == result["digest"]
        yield Moment(position, len(actions), _images(simulation), bool(result["success"]), faithful)


def _images(simulation: Simulation) -> dict[str, np.ndarray]:
    return {
        name.removeprefix("rgb_"): array
        for name, array in simulation.observe().items()
        if name.startswith("rgb_")
    }
