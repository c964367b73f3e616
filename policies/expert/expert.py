"""The scripted expert: makes a plan, follows it, and plans again when the scene has turned out otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vla_bench.envs.calvin.state import CalvinState
from vla_bench.envs.observation import Observation, Sensors
from vla_bench.envs.simulation import EnvironmentSpec, SceneState
from vla_bench.policies.base import PolicySpec, SubtaskContext
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.expert.motion import ARRIVED_POSITION, Follower, Phase
from vla_bench.policies.expert.plans import PLANS, plan
from vla_bench.policies.expert.view import HELD_WITHIN, View

MOVED = 0.012
"""A block that lies this far from where the plan took it to be was pushed aside, metres."""
EMPTY = 0.01
"""The closed fingers hold nothing when the gripper is narrower than this, metres."""


@dataclass(slots=True)
class _Subtask:
    """What the expert remembers of the subtask in one slot."""

    state: CalvinState | None = None
    start: View | None = None
    planned: View | None = None
    follower: Follower | None = None
    attempt: int = 0
    prepared: bool = False
    """Whether the plan before this one only made room."""
    lapses: bool = False
    """Whether it stands still."""


class ExpertPolicy:
    """Solves all 34 tasks through relative actions, knowing the simulator's state.

    ``cameras``: rendered at each step, to see what that costs, though it needs none. ``lapse``: share of
    the subtasks in which it stands still, drawn from the subtask's seed: a policy whose success is known,
    to try comparisons with. ``tolerance``: how near the commanded target must be to the end of a leg, metres;
    with noise on every action it must be some times the noise, or no leg ever ends.
    """

    def __init__(
        self,
        environment: EnvironmentSpec,
        cameras: str | Sequence[str] = (),
        lapse: float = 0.0,
        tolerance: float = ARRIVED_POSITION,
    ) -> None:
        """PolicyError when the environment is not CALVIN, ``lapse`` no share or ``tolerance`` no such length."""
        self._spec = self.describe(environment, cameras, lapse, tolerance)
        self._lapse = lapse
        self._tolerance = tolerance
        self._slots: dict[int, _Subtask] = {}

    @classmethod
    def describe(
        cls,
        environment: EnvironmentSpec,
        cameras: str | Sequence[str] = (),
        lapse: float = 0.0,
        tolerance: float = ARRIVED_POSITION,
    ) -> PolicySpec:
        """Relative actions one at a time, the simulator's state."""
        if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not 0 < tolerance <= 0.01:
            raise PolicyError(f"the expert's tolerance is a length up to 0.01 m, got {tolerance!r}")
        if isinstance(lapse, bool) or not isinstance(lapse, int | float) or not 0 <= lapse <= 1:
            raise PolicyError(f"the expert's lapse is a share between 0 and 1, got {lapse!r}")
        if environment.family != "calvin":
            raise PolicyError(
                f"the expert knows only CALVIN's play table, not {environment.family!r}; choose policy=stub"
            )
        return PolicySpec(
            "expert",
            environment.action("relative"),
            Sensors.named(cameras),
            privileged=True,
            stochastic=lapse > 0,
        )

    @property
    def spec(self) -> PolicySpec:
        """Fixed for the life of the policy."""
        return self._spec

    def reset(self, slot: int, instruction: str, context: SubtaskContext) -> None:
        """Forgets the slot's plan. The task is taken from the state, not from the instruction."""
        lapses = self._lapse > 0 and np.random.default_rng(context.seed).random() < self._lapse
        self._slots[slot] = _Subtask(lapses=lapses)

    def see(self, slot: int, state: SceneState) -> None:
        """Takes the state that the next decision is about."""
        if not isinstance(state, CalvinState):
            raise PolicyError(f"the expert was shown a {type(state).__name__}, not a CalvinState")
        self._slots[slot].state = state

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> list[np.ndarray]:
        """One action (1, 7) float64 per slot."""
        return [self._decide(self._slots[slot])[None] for slot in slots]

    def close(self) -> None:
        """Holds nothing."""

    def phase(self, slot: int) -> Phase | None:
        """The phase that the slot is in, for those who watch."""
        follower = self._slots[slot].follower
        return follower.phase if follower else None

    def _decide(self, subtask: _Subtask) -> np.ndarray:
        state = subtask.state
        if state is None:
            raise PolicyError("the expert was asked to act before it was shown the state")
        if subtask.lapses:
            return np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
        follower = subtask.follower
        action = None
        if follower is not None and not _upset(follower.phase, subtask.planned, state):
            action = follower.action(state)
        if action is None:
            follower = self._plan(subtask, state)
            action = follower.action(state)
        return np.clip(action, -1.0, 1.0)

    def _plan(self, subtask: _Subtask, state: CalvinState) -> Follower:
        if state.subtask not in PLANS:
            raise PolicyError(f"the expert has no plan for the task {state.subtask!r}")
        now = View.of(state)
        if subtask.start is None:
            subtask.start = now
        elif not subtask.follower.prepares or subtask.prepared:
            subtask.attempt += 1
        # Making room twice in a row means that it did not work.
        subtask.prepared = subtask.follower is not None and subtask.follower.prepares
        subtask.planned = now
        subtask.follower = Follower(plan(state.subtask, now, subtask.start, subtask.attempt), self._tolerance)
        return subtask.follower


def _upset(phase: Phase | None, planned: View, state: CalvinState) -> bool:
    """Whether the phase relies on what is no longer so."""
    if phase is None:
        return False
    if phase.seeks:
        shift = state.block_positions[phase.seeks] - planned.blocks[phase.seeks].centre
        return float(np.linalg.norm(shift)) > MOVED
    if phase.carries:
        away = np.linalg.norm(state.block_positions[phase.carries] - state.robot_obs[:3])
        return bool(away > HELD_WITHIN or state.robot_obs[6] < EMPTY)
    return False
