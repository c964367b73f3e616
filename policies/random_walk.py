"""Moves about smoothly at random: what chance alone achieves, and exercise for an environment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vla_bench.envs.action_spec import ActionSpec
from vla_bench.envs.observation import Observation
from vla_bench.envs.simulation import EnvironmentSpec
from vla_bench.policies.base import PolicySpec, SubtaskContext
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.hold import holding_action, needs_pose
from vla_bench.policies.registry import action_named

PERSISTENCE = 0.9
"""Share of an arm number that carries over to the next step; about ten steps are remembered."""
NOISE = 0.25
"""Standard deviation of what is added per step; with PERSISTENCE, numbers spread with 0.57."""
GRIPPER_PERIOD = 30
"""Control steps between changes of the gripper, on average."""
POSE_STEP = 0.01
"""Metres or radians per unit and step, in conventions that command values."""


@dataclass(slots=True)
class _Walk:
    generator: np.random.Generator
    arm: np.ndarray
    """Arm numbers now, before clipping to [-1, 1]."""
    open: bool = True
    pose: np.ndarray | None = None
    """Last commanded action, in conventions that command values."""


class RandomWalkPolicy:
    """An independent walk for every subtask, drawn from its seed alone.

    ``action``: convention, by default the environment's. ``chunk``: actions per decision, all of
    them executed. ``scale``: factor on the arm numbers.
    """

    def __init__(self, environment: EnvironmentSpec, action: str = "", chunk: int = 1, scale: float = 1.0) -> None:
        self._spec = self.describe(environment, action, chunk, scale)
        self._scale = scale
        self._walks: dict[int, _Walk] = {}

    @classmethod
    def describe(cls, environment: EnvironmentSpec, action: str = "", chunk: int = 1, scale: float = 1.0) -> PolicySpec:
        """What a walk with these arguments needs: no camera."""
        if isinstance(scale, bool) or not isinstance(scale, int | float):
            raise PolicyError(f"policy.scale={scale}: a number is wanted")
        convention = action_named(environment, action)
        return PolicySpec("random", convention, chunk=chunk, execute=chunk, stochastic=True)

    @property
    def spec(self) -> PolicySpec:
        """Fixed for the life of the policy."""
        return self._spec

    def reset(self, slot: int, instruction: str, context: SubtaskContext) -> None:
        """Starts another walk."""
        generator = np.random.default_rng(context.seed)
        self._walks[slot] = _Walk(generator, np.zeros(self._spec.action.size - 1))

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> list[np.ndarray]:
        """The next ``chunk`` steps of each walk, (k, A) float64."""
        return [
            np.stack([self._step(self._walks[slot], observation) for _ in range(self._spec.chunk)])
            for slot, observation in zip(slots, observations, strict=True)
        ]

    def close(self) -> None:
        """Holds nothing."""

    def _step(self, walk: _Walk, observation: Observation) -> np.ndarray:
        action = self._spec.action
        walk.arm = PERSISTENCE * walk.arm + NOISE * walk.generator.standard_normal(walk.arm.size)
        if walk.generator.random() < 1 / GRIPPER_PERIOD:
            walk.open = not walk.open
        arm = np.clip(walk.arm * self._scale, -1.0, 1.0)
        gripper = action.gripper_open if walk.open else action.gripper_closed
        if not needs_pose(action):
            return np.append(arm, gripper)
        if walk.pose is None:
            walk.pose = holding_action(action, observation)
        walk.pose = walk.pose + POSE_STEP * np.append(_without_rotation(arm, action), 0.0)
        walk.pose[-1] = gripper
        return walk.pose


def _without_rotation(arm: np.ndarray, action: ActionSpec) -> np.ndarray:
    """Leaves the orientation of a commanded pose alone: a sum of quaternions would be none."""
    if action.control == "tcp_pose":
        arm[3:] = 0.0
    return arm
