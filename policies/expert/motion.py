"""Follows phases of motion with relative actions.

A relative action moves an accumulated target pose, which the arm follows with some lag. The
follower steers that target in a straight line to the pose of the current phase, and waits for the
arm where the phase asks for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from vla_bench.envs.calvin.robot import POSITION_UNIT, ROTATION_UNIT
from vla_bench.envs.calvin.state import CalvinState
from vla_bench.policies.expert.rotations import angle_between, euler_of_matrix, matrix_of_euler, nearest_turn
from vla_bench.policies.expert.view import Pose

OPEN, CLOSED = 1.0, -1.0
REST_EULER = np.array((math.pi, 0.0, 1.5))
"""Orientation of the tool at the rest pose, nearly, radians."""
ARRIVED_POSITION, ARRIVED_ANGLE = 1e-4, 1e-3
"""The commanded target is at its goal when closer than this (metres, radians)."""
SLACK, WIDEST = 10, 0.012
"""A leg that is one action from its goal for more than so many steps never gets there, since noise is put on its
actions: from then on twice the distance will do at each step, up to this one (metres; the angle goes with it). A push
off the way, as demonstrations are recorded with, is over sooner."""


@dataclass(frozen=True, slots=True, eq=False)
class Phase:
    """One leg of a plan: where the tool goes, with the gripper open or closed."""

    name: str
    pose: Pose | None
    """None: stay at the commanded target."""
    gripper: float
    speed: float = 1.0
    """Share of the fastest motion that an action can command (0.6 m/s and 1.5 rad/s)."""
    tolerance: float = 0.01
    """The arm has arrived when the tool is this close to the pose, metres."""
    turn_tolerance: float = 0.06
    """And turned to within this angle of it, radians."""
    patience: int = 12
    """Steps to wait for the arm once the commanded target has arrived; then the phase ends anyway."""
    steps: int = 0
    """Least number of steps, e.g. for the fingers to close."""
    seeks: str | None = None
    """The block whose place the plan relies on during this phase."""
    carries: str | None = None
    """The block that must be held during this phase."""
    prepares: bool = False
    """Set on the last phase of a plan that only makes room: the plan after it is no new attempt."""


class Follower:
    """Executes the phases of one plan, one action at a time."""

    def __init__(self, phases: list[Phase], arrived: float = ARRIVED_POSITION) -> None:
        """``phases`` must not be empty; ``arrived``: see :data:`ARRIVED_POSITION`, the angle goes with it."""
        self._phases = phases
        self._arrived = arrived
        self._index = 0
        self._steps = 0
        self._nearly = 0
        self._waited = 0

    @property
    def prepares(self) -> bool:
        """Whether this plan only makes room for the next."""
        return self._phases[-1].prepares

    @property
    def phase(self) -> Phase | None:
        """The current phase; None when the plan is through."""
        return self._phases[self._index] if self._index < len(self._phases) else None

    def action(self, state: CalvinState) -> np.ndarray | None:
        """The next action (7,) float64 in [-1, 1]; None when the plan is through."""
        while (phase := self.phase) is not None and self._finished(phase, state):
            self._index += 1
            self._steps = self._waited = self._nearly = 0
        if phase is None:
            return None
        self._steps += 1
        self._nearly += phase.pose is not None and _is_one_action_away(phase.pose, state)
        return np.concatenate((steer(phase, state), (phase.gripper,)))

    def _finished(self, phase: Phase, state: CalvinState) -> bool:
        if self._steps < max(phase.steps, 1):
            return False
        if phase.pose is None:
            return True
        shift, turn = _remaining(phase.pose, state)
        final = phase.tolerance < POSITION_UNIT
        arrived = self._near_enough()
        near = arrived if final else phase.tolerance
        turned_enough = ARRIVED_ANGLE * arrived / ARRIVED_POSITION
        if np.abs(shift).max() > near or np.abs(turn).max() > (turned_enough if final else 0.3):
            return False
        self._waited += 1
        if self._waited > phase.patience:
            return True
        distance = float(np.linalg.norm(phase.pose.position - state.robot_obs[:3]))
        if distance > phase.tolerance:
            return False
        turned = angle_between(phase.pose.rotation, matrix_of_euler(state.robot_obs[3:6]))
        return turned <= phase.turn_tolerance or not final

    def _near_enough(self) -> float:
        late = min(self._nearly - SLACK, 30)
        return max(self._arrived, min(self._arrived * 2.0**late, WIDEST)) if late > 0 else self._arrived


def _is_one_action_away(pose: Pose, state: CalvinState) -> bool:
    shift, turn = _remaining(pose, state)
    return bool(np.abs(shift).max() <= POSITION_UNIT and np.abs(turn).max() <= ROTATION_UNIT)


def steer(phase: Phase, state: CalvinState) -> np.ndarray:
    """Arm part (6,) of the action that brings the commanded target closer to the phase's pose.

    Straight in space, and the angles in proportion, each at most ``speed``.
    """
    if phase.pose is None:
        return np.zeros(6)
    shift, turn = _remaining(phase.pose, state)
    return np.concatenate((_limited(shift / POSITION_UNIT, phase.speed), _limited(turn / ROTATION_UNIT, phase.speed)))


def _limited(vector: np.ndarray, largest: float) -> np.ndarray:
    excess = float(np.abs(vector).max()) / largest
    return vector / excess if excess > 1 else vector


def _remaining(pose: Pose, state: CalvinState) -> tuple[np.ndarray, np.ndarray]:
    """Shift (3,) metres and change of Euler angles (3,) radians from the commanded target."""
    shift = pose.position - state.target_position
    return shift, _euler_of(pose) - nearest_turn(state.target_euler, REST_EULER)


@lru_cache(maxsize=32)
def _euler_of(pose: Pose) -> np.ndarray:
    # Asked for twice a step, for the same pose during a whole phase.
    return canonical_euler(pose.rotation)


def canonical_euler(rotation: np.ndarray) -> np.ndarray:
    """The Euler angles (3,) of ``rotation`` that are nearest to the rest pose's.

    Going always through these, and never the shorter way round, keeps the last joint off its limits.
    """
    first = euler_of_matrix(rotation)
    # The same rotation with the pitch beyond a quarter turn.
    second = np.array((first[0] + math.pi, math.pi - first[1], first[2] + math.pi))
    candidates = (nearest_turn(first, REST_EULER), nearest_turn(second, REST_EULER))
    return min(candidates, key=lambda angles: float(np.abs(angles - REST_EULER).max()))
