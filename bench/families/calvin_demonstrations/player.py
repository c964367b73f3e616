"""Plays the executed actions of a result set again, for its data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vla_bench.bench.video.trace import Trace, file_name
from vla_bench.envs.observation import Observation
from vla_bench.envs.simulation import EnvironmentSpec
from vla_bench.policies.base import PolicySpec, SubtaskContext
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.registry import action_named


class TracePlayer:
    """Gives one action after the other of the traces in ``folder``; ``action`` is their convention."""

    def __init__(self, environment: EnvironmentSpec, folder: str, action: str) -> None:
        self._spec = self.describe(environment, folder, action)
        self._folder = Path(folder)
        self._playing: dict[int, tuple[np.ndarray, int]] = {}

    @classmethod
    def describe(cls, environment: EnvironmentSpec, folder: str, action: str) -> PolicySpec:
        """No camera."""
        return PolicySpec("replay", action_named(environment, action))

    @property
    def spec(self) -> PolicySpec:
        """Fixed for the life of the policy."""
        return self._spec

    def reset(self, slot: int, instruction: str, context: SubtaskContext) -> None:
        """Winds to the subtask's actions; PolicyError: it was not tried in the run."""
        trace = Trace.read(self._folder / f"{file_name(context.episode)}.npz")
        if context.position >= len(trace.actions):
            raise PolicyError(f"{context.episode} has no recorded actions of its subtask {context.position}")
        self._playing[slot] = (trace.actions[context.position], 0)

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> list[np.ndarray]:
        """The next action of each slot, (1, A); PolicyError when there is none: the replay went another way."""
        return [self._next(slot) for slot in slots]

    def close(self) -> None:
        """Holds nothing."""

    def _next(self, slot: int) -> np.ndarray:
        actions, place = self._playing[slot]
        if place >= len(actions):
            raise PolicyError("the replay of a subtask did not end where the run's did")
        self._playing[slot] = (actions, place + 1)
        return actions[place : place + 1]
