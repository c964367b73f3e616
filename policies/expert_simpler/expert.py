"""The policy: follows a plan, a bounded step at a time, in the robot's own action convention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vla_bench.envs.observation import Observation, Sensors
from vla_bench.envs.simpler.rotations import conjugate, product, quaternion_to_axis_angle, rotation_matrix
from vla_bench.envs.simpler.state import SimplerState
from vla_bench.envs.simulation import EnvironmentSpec
from vla_bench.policies.base import PolicySpec, SubtaskContext
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.expert_simpler.grasps import closing_direction
from vla_bench.policies.expert_simpler.plans import PLANS, Stage

CLOSE_ENOUGH = 0.004
"""Metres from a stage's place at which the stage is done."""
LOST = 0.03
"""Metres by which the source may slip in the hand before it counts as lost."""
CORRECTION = 0.4
"""Share of the remaining error that is added to the target in a step, once the place was commanded."""
STUCK = 0.002
"""Metres of a step below which a hand that should move is stuck: the pose asked for is out of reach."""
LEAN_MORE, LEAN_MOST = 0.1, 0.9
"""Radians by which a stuck hand leans outwards, each time and at most."""
PATIENCE = 8
"""Steps after which a stage whose place has been commanded is done all the same."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How a robot is led. The gripper's axes are columns of its rotation."""

    stride: float
    """Metres per step at most."""
    turn: float
    """Radians per step at most."""
    pointing: int
    """Column that points out of the hand; column 1 is the one along which the fingers close."""
    accumulates: bool
    """Whether a delta is added to the last target (else to where the hand is)."""
    near: float
    """Metres within which the hand must be of its place."""
    lean: float = 0.0
    """Radians by which the hand points outwards instead of straight down, to begin with."""


REACHES = {
    "bridge": Reach(stride=0.03, turn=0.25, pointing=0, accumulates=True, near=0.006),
    "fractal": Reach(stride=0.06, turn=0.35, pointing=2, accumulates=False, near=0.006, lean=0.2),
}


@dataclass(slots=True)
class _Slot:
    stages: list[Stage] = field(default_factory=list)
    position: np.ndarray | None = None
    """Commanded position (3,)."""
    turned: np.ndarray | None = None
    """Commanded rotation (4,)."""
    goal: np.ndarray | None = None
    """Place of the stage that is on."""
    facing: np.ndarray | None = None
    """Rotation (4,) to grasp with."""
    held: np.ndarray = field(default_factory=lambda: np.zeros(3))
    """The hand as seen from the source's centre (3,) when the stage began."""
    lean: float = 0.0
    moving: bool = False
    """Whether the last action asked for a real step."""
    resting: int = 0
    waited: int = 0
    state: SimplerState | None = None


class SimplerExpert:
    """Solves the WidowX tasks and pick coke can.

    ``cameras``: rendered at each decision, to see what that costs; by default none, as it is shown the state.
    """

    def __init__(self, environment: EnvironmentSpec, cameras: str | Sequence[str] = ()) -> None:
        self._spec = self.describe(environment, cameras)
        self._reach = REACHES[self._spec.action.name]
        self._slots: dict[int, _Slot] = {}

    @classmethod
    def describe(cls, environment: EnvironmentSpec, cameras: str | Sequence[str] = ()) -> PolicySpec:
        """What it needs: the simulator's state, and the robot's axis-angle convention."""
        return PolicySpec("expert", environment.actions[0], Sensors.named(cameras), privileged=True)

    @property
    def spec(self) -> PolicySpec:
        """Fixed for the life of the policy."""
        return self._spec

    def reset(self, slot: int, instruction: str, context: SubtaskContext) -> None:
        """Forgets the plan; the next one is made from the first state that is seen."""
        self._slots[slot] = _Slot()

    def see(self, slot: int, state: SimplerState) -> None:
        """Takes note of the state; makes the plan at first sight. PolicyError: no plan for the task."""
        known = self._slots[slot]
        if known.state is None:
            if state.task not in PLANS:
                raise PolicyError(
                    f"the expert has no plan for {state.task}; it has plans for {', '.join(PLANS)}. "
                    "Name some of those with benchmark.tasks="
                )
            known.position = state.tcp[:3].astype(np.float64)
            known.turned = state.tcp[3:].astype(np.float64)
            known.lean = self._reach.lean
            self._plan(known, state)
        elif known.stages[0].carries and np.linalg.norm(_held(state) - known.held) > LOST:
            self._plan(known, state)
        elif known.stages[0].turns:
            known.facing = self._facing(state, known.lean)
        elif known.moving and np.linalg.norm(state.tcp[:3] - known.state.tcp[:3]) < STUCK:
            self._lean_out(known, state)
        known.state = state

    def _plan(self, slot: _Slot, state: SimplerState) -> None:
        slot.stages = list(PLANS[state.task].stages(state))
        slot.facing = self._facing(state, slot.lean)
        slot.goal, slot.resting, slot.waited = None, 0, 0

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> list[np.ndarray]:
        """One action (1, 7) float64 per slot."""
        return [self._action(self._slots[slot])[None] for slot in slots]

    def close(self) -> None:
        """Holds nothing."""

    def _facing(self, state: SimplerState, lean: float) -> np.ndarray:
        """The hand's rotation for the grasp: down and ``lean`` outwards, the fingers across the source."""
        current = rotation_matrix(state.tcp[3:])
        outwards = (state.centres[state.source] - state.base[:3]) * (1, 1, 0)
        pointing = np.cos(lean) * np.array([0.0, 0.0, -1.0])
        pointing += np.sin(lean) * outwards / np.linalg.norm(outwards)
        closing = closing_direction(state, current[:, 1])
        closing -= (closing @ pointing) * pointing
        columns = np.zeros((3, 3))
        columns[:, self._reach.pointing] = pointing
        columns[:, 1] = closing / np.linalg.norm(closing)
        third = 2 - self._reach.pointing
        columns[:, third] = np.cross(columns[:, (third + 1) % 3], columns[:, (third + 2) % 3])
        return _quaternion(columns)

    def _lean_out(self, slot: _Slot, state: SimplerState) -> None:
        """Far away the arm cannot point straight down; the controller then does not move it at all."""
        if self._reach.lean and slot.lean < LEAN_MOST and not slot.stages[0].closed:
            slot.lean += LEAN_MORE
            slot.facing = self._facing(state, slot.lean)

    def _action(self, slot: _Slot) -> np.ndarray:
        state = slot.state
        assert state is not None and slot.position is not None and slot.facing is not None
        assert slot.turned is not None
        stage = self._current_stage(slot, state)
        here = slot.position if self._reach.accumulates else state.tcp[:3].astype(np.float64)
        turned = slot.turned if self._reach.accumulates else state.tcp[3:].astype(np.float64)
        goal = slot.goal if slot.goal is not None else here
        step = _bounded(goal - here, self._reach.stride)
        if self._reach.accumulates and slot.waited > 1:
            # The controller's target strays from ours while the hand turns (it is turned about the hand).
            step = _bounded(CORRECTION * (goal - state.tcp[:3]), self._reach.stride)
        turn = _bounded(_shortest(product(slot.facing, conjugate(turned))), self._reach.turn)
        slot.position = goal if self._reach.accumulates and slot.waited > 1 else here + step
        slot.moving = bool(np.linalg.norm(step) > 5 * STUCK)
        slot.turned = product(_of_axis_angle(turn), turned)
        to_base = rotation_matrix(state.base[3:]).T
        action = self._spec.action
        gripper = action.gripper_closed if stage.closed else action.gripper_open
        return np.concatenate([to_base @ step, to_base @ turn, [gripper]])

    def _current_stage(self, slot: _Slot, state: SimplerState) -> Stage:
        """Goes on to the next stage when the present one is done; the last one is kept for ever."""
        stage = slot.stages[0]
        if slot.goal is None or stage.follows:
            slot.goal = np.asarray(stage.place(state), dtype=np.float64)
        assert slot.position is not None
        commanded = np.linalg.norm(slot.goal - slot.position) < CLOSE_ENOUGH or not self._reach.accumulates
        arrived = bool(np.linalg.norm(slot.goal - state.tcp[:3]) < self._reach.near)
        slot.waited += bool(commanded)
        if stage.again and slot.waited > self._patience and not arrived:
            self._plan(slot, state)
            return self._current_stage(slot, state)
        if len(slot.stages) > 1 and commanded and (arrived or slot.waited > self._patience):
            slot.resting += 1
            if slot.resting > stage.rest:
                slot.stages.pop(0)
                slot.held = _held(state)
                slot.goal, slot.resting, slot.waited = None, 0, 0
                return self._current_stage(slot, state)
        return stage

    @property
    def _patience(self) -> int:
        return PATIENCE if self._reach.accumulates else 4 * PATIENCE


def _held(state: SimplerState) -> np.ndarray:
    return state.tcp[:3] - state.centres[state.source]


def _bounded(vector: np.ndarray, most: float) -> np.ndarray:
    length = float(np.linalg.norm(vector))
    return vector * (most / length) if length > most else vector


def _shortest(quaternion: np.ndarray) -> np.ndarray:
    """Axis times angle of a rotation, the angle at most π."""
    return quaternion_to_axis_angle(quaternion if quaternion[0] >= 0 else -quaternion)


def _of_axis_angle(vector: np.ndarray) -> np.ndarray:
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.array([1.0, 0.0, 0.0, 0.0])
    return np.concatenate([[np.cos(angle / 2)], np.sin(angle / 2) * vector / angle])


def _quaternion(matrix: np.ndarray) -> np.ndarray:
    """wxyz of a rotation matrix."""
    numbers = np.array(
        [
            1 + matrix[0, 0] + matrix[1, 1] + matrix[2, 2],
            1 + matrix[0, 0] - matrix[1, 1] - matrix[2, 2],
            1 - matrix[0, 0] + matrix[1, 1] - matrix[2, 2],
            1 - matrix[0, 0] - matrix[1, 1] + matrix[2, 2],
        ]
    )
    largest = int(np.argmax(numbers))
    skew = np.array(
        [
            [
                numbers[0],
                matrix[2, 1] - matrix[1, 2],
                matrix[0, 2] - matrix[2, 0],
                matrix[1, 0] - matrix[0, 1],
            ],
            [
                matrix[2, 1] - matrix[1, 2],
                numbers[1],
                matrix[1, 0] + matrix[0, 1],
                matrix[0, 2] + matrix[2, 0],
            ],
            [
                matrix[0, 2] - matrix[2, 0],
                matrix[1, 0] + matrix[0, 1],
                numbers[2],
                matrix[2, 1] + matrix[1, 2],
            ],
            [
                matrix[1, 0] - matrix[0, 1],
                matrix[0, 2] + matrix[2, 0],
                matrix[2, 1] + matrix[1, 2],
                numbers[3],
            ],
        ]
    )[largest]
    return skew / np.linalg.norm(skew)
