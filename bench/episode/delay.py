"""The world does not wait: control steps that pass while the policy decides, and what the arm does in them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from vla_bench.bench.episode.actions import Actions
from vla_bench.envs.observation import Observation
from vla_bench.envs.stress.body import changes, held
from vla_bench.envs.stress.wrapped import Clock
from vla_bench.policies.base import PolicySpec
from vla_bench.policies.hold import holding_action

_WHOLE = 1 << 30
"""Of a chunk: all its actions."""


class Delay:
    """Puts what passes during a decision before the actions that it led to.

    While the policy thinks, what is left of the chunk before goes on (where ``clock.hold`` is not set), and after that
    the arm holds: changes of zero, or the last value again, the gripper as it was last told. At the first decision
    of an episode nothing has been told: the gripper then does what that decision tells it first. A chunk ends with
    its subtask.
    """

    def __init__(self, clock: Clock, spec: PolicySpec) -> None:
        self._clock = clock
        self._whole = Actions(dataclasses.replace(spec, execute=_WHOLE))
        self._rest: np.ndarray | None = None
        self._last: np.ndarray | None = None
        self._age = self._steps = 0
        self.late = 0
        """Control steps that passed during the last decision."""
        self._chunk_age = 0

    def begin(self) -> None:
        """A new subtask: what is left of the chunk was for the one before."""
        self._rest, self._age, self._steps = None, 0, 0

    def steps(self, seconds: float) -> int:
        """Control steps that pass during a decision of so many seconds."""
        each = self._clock.seconds_per_step
        return math.ceil(round(seconds / each, 6)) if each else self._clock.steps

    def put_before(
        self, chunk: np.ndarray, executed: np.ndarray, observation: Observation, seconds: float, remaining: int
    ) -> np.ndarray:
        """Actions (n, A), n <= remaining: those of the wait, then ``executed`` (e, A), the first of ``chunk``."""
        self.late = self.steps(seconds)
        waited = self._waited(executed[0], observation)
        self._pending = np.array(self._whole.executed(chunk, _WHOLE)), len(executed)
        return np.concatenate([waited, executed])[:remaining]

    def _waited(self, first: np.ndarray, observation: Observation) -> np.ndarray:
        rows: list[np.ndarray] = [] if self._clock.hold or self._rest is None else list(self._rest[: self.late])
        self._old = len(rows)
        last = rows[-1] if rows else self._last
        while len(rows) < self.late:
            rows.append(self._held(first, last, observation))
        return np.array(rows, dtype=first.dtype).reshape(-1, len(first))

    def _held(self, first: np.ndarray, last: np.ndarray | None, observation: Observation) -> np.ndarray:
        if last is None and not changes(self._clock.action):
            still = holding_action(self._clock.action, observation).astype(first.dtype)
            still[-1] = first[-1]
            return still
        return held(self._clock.action, first, last)

    def ran(self, actions: np.ndarray) -> None:
        """``actions`` (n, A) were executed, of those of :meth:`put_before`."""
        chunk, execute = self._pending
        self._last = np.array(actions[-1])
        for number in range(len(actions)):
            if number < self._old:  # of the chunk before
                self._age += self._chunk_age + number
                self._steps += 1
            elif number >= self.late:
                self._age += number
                self._steps += 1
        self._rest = chunk[execute:]
        self._chunk_age = self.late + execute

    def age(self) -> float:
        """Mean over the subtask's actions of a policy: control steps since the observation that led to it."""
        return self._age / self._steps if self._steps else 0.0
