"""Holds still: what the benchmark costs without a policy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vla_bench.envs.observation import Observation, Sensors
from vla_bench.envs.simulation import EnvironmentSpec
from vla_bench.policies.base import PolicySpec, SubtaskContext
from vla_bench.policies.hold import holding_action, needs_pose
from vla_bench.policies.registry import action_named


class StubPolicy:
    """Commands no motion and an open gripper, whatever the instruction.

    ``action``: convention, by default the environment's. ``chunk``: actions per decision, all of
    them executed. ``cameras``: rendered at each decision, to see what that
    costs; none by default. In a convention of poses it stays where each subtask began.
    """

    def __init__(
        self,
        environment: EnvironmentSpec,
        action: str = "",
        chunk: int = 1,
        cameras: str | Sequence[str] = (),
    ) -> None:
        self._spec = self.describe(environment, action, chunk, cameras)
        self._follows_pose = needs_pose(self._spec.action)
        self._chunks: dict[int, np.ndarray] = {}
        self._still = None if self._follows_pose else self._repeat(holding_action(self._spec.action))

    @classmethod
    def describe(
        cls, environment: EnvironmentSpec, action: str = "", chunk: int = 1, cameras: str | Sequence[str] = ()
    ) -> PolicySpec:
        """What a stub built with these arguments needs."""
        convention = action_named(environment, action)
        return PolicySpec("stub", convention, Sensors.named(cameras), chunk=chunk, execute=chunk)

    @property
    def spec(self) -> PolicySpec:
        """Fixed for the life of the policy."""
        return self._spec

    def reset(self, slot: int, instruction: str, context: SubtaskContext) -> None:
        """Forgets where the slot stood."""
        self._chunks.pop(slot, None)

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> list[np.ndarray]:
        """The same chunk (k, A) float64 each time."""
        if self._still is not None:
            return [self._still] * len(slots)
        for slot, observation in zip(slots, observations, strict=True):
            if slot not in self._chunks:
                self._chunks[slot] = self._repeat(holding_action(self._spec.action, observation))
        return [self._chunks[slot] for slot in slots]

    def close(self) -> None:
        """Holds nothing."""

    def _repeat(self, action: np.ndarray) -> np.ndarray:
        return np.tile(action, (self._spec.chunk, 1))
