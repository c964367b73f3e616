"""The world behind the verbs of a simulation: what workers load. Entry point ``vla_bench.environments``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from grid_world.world import CELL, SIZE, GridWorld
from vla_bench.envs.action_spec import ActionSpec
from vla_bench.envs.observation import Observation, Sensors
from vla_bench.envs.simulation import EnvironmentSpec, EpisodeStart, Outcome, SimulationSpec

REACH = 0.5
"""Cells within which the walker is at a square."""
STEP = ActionSpec(
    name="step", size=3, control="tcp_delta", frame="world", rotation="none", position_scale=1.0, bounded=True
)
"""Two numbers for the step, and the gripper's, which every convention has and this walker ignores."""


def environment_spec(options: Mapping[str, Any]) -> EnvironmentSpec:
    """What the world offers to a policy; loads no simulator."""
    return EnvironmentSpec(
        family="grid_world",
        actions=(STEP,),
        cameras={"above": (SIZE * CELL, SIZE * CELL)},
        control_hz=10.0,
        resizable=False,
        depth=False,
        vectors={"state": (2.0, 3.0, 1.0, 1.0, 6.0, 1.0, 1.0, 6.0)},
    )


def build(spec: SimulationSpec) -> GridSimulation:
    """The simulation of a worker."""
    return GridSimulation(spec.sensors)


@dataclass(frozen=True)
class GridState:
    """The whole truth, for tests and clips."""

    place: tuple[float, ...]
    squares: Mapping[str, tuple[float, ...]]

    def digest(self) -> str:
        """Equal digests, equal states."""
        numbers = np.array([self.place, *self.squares.values()], dtype="<f8")
        return hashlib.sha256(numbers.tobytes()).hexdigest()[:16]


class GridSimulation:
    """One world. A task is ``to_<colour>`` or ``from_<colour>``."""

    def __init__(self, sensors: Sensors) -> None:
        self._looks = bool(sensors.cameras)
        self._world = GridWorld()
        self._task = ""
        self._ever = False

    def reset(self, start: EpisodeStart) -> None:
        """Places everything where the episode says."""
        self._world.reset(options=dict(start.state))

    def begin(self, subtask: str) -> None:
        """Notes what is asked for."""
        self._task, self._ever = subtask, False

    def advance(self, actions: np.ndarray) -> Outcome:
        """Walks (k, 3); stops at success."""
        success = False
        for count, action in enumerate(actions, start=1):
            self._world.step(action[:2])
            success = self._solved()
            self._ever |= success
            if success:
                return Outcome(count, success=True, stopped=True, ever=True)
        return Outcome(len(actions), success=success, stopped=False, ever=self._ever)

    def _solved(self) -> bool:
        verb, _, colour = self._task.partition("_")
        distance = float(np.abs(self._world.place - self._world.squares[colour]).max())
        return distance < REACH if verb == "to" else distance > SIZE / 2

    def observe(self) -> Observation:
        """``state`` (8,): walker and squares, in cells; the picture when it is asked for."""
        places = [self._world.place, *self._world.squares.values()]
        arrays = {"state": np.concatenate(places)}
        return Observation(arrays | ({"rgb_above": self._world.picture()} if self._looks else {}))

    def privileged(self) -> GridState:
        """Everything."""
        squares = {name: tuple(map(float, square)) for name, square in self._world.squares.items()}
        return GridState(tuple(map(float, self._world.place)), squares)

    def close(self) -> None:
        """Nothing is held."""
