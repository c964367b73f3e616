"""Who waits for a decision, and who is decided for together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from vla_bench.bench.episode.actions import Actions, chunks_of
from vla_bench.envs.errors import UserError
from vla_bench.envs.observation import Observation
from vla_bench.policies.answers import as_chunk
from vla_bench.policies.base import EndingPolicy, Policy
from vla_bench.policies.errors import TransientFault, contained


class Decision(NamedTuple):
    """What a worker is told."""

    chunk: np.ndarray
    """(k, A)."""
    ended: bool
    """Whether the policy is through with the subtask (:class:`vla_bench.policies.base.EndingPolicy`)."""


Answer = Decision | Exception

FAILURES = 2
"""In a row after which a policy is taken for broken, whatever it is shown."""
_DEVICE_LOST = "CUDA error"  # so PyTorch's message begins; from then on every call of that process fails


@dataclass(slots=True)
class Decisions:
    """The slots that wait, in the order in which they asked.

    A policy whose ``spec.batched`` says so is asked for all that wait at once; any other for one after
    the other, so that the first is answered while the next is decided. After a decision for several has
    failed, each is asked for alone: what one observation does to the policy is nobody else's error.
    """

    policy: Policy
    together: bool = True
    broken: bool = False
    """Whether the policy should be built anew, in another process."""
    _failures: int = 0
    _waiting: dict[int, Observation] = field(default_factory=dict)
    _actions: Actions = field(init=False)

    def __post_init__(self) -> None:
        self.together = self.together and self.policy.spec.batched
        self._actions = Actions(self.policy.spec)

    def __len__(self) -> int:
        return len(self._waiting)

    def ask(self, slot: int, observation: Observation) -> None:
        """Puts ``slot`` among those that wait."""
        self._waiting[slot] = observation

    def forget(self, slot: int) -> None:
        """The slot's worker has gone."""
        self._waiting.pop(slot, None)

    def decide(self, answer: Callable[[int, Answer], None]) -> None:
        """Decides for one slot, or for all that wait; each is told its decision or what went wrong."""
        slots = list(self._waiting) if self.together else list(self._waiting)[:1]
        observations = [self._waiting.pop(slot) for slot in slots]
        try:
            chunks = chunks_of(self.policy.act(slots, observations), len(slots), self.policy.spec.name)
        except BaseException as raised:
            error = contained(raised)
            self.note(error)
            if len(slots) > 1:
                self.together = False
                if isinstance(error, UserError):  # which nobody would try again
                    error = RuntimeError(str(error))
            for slot in slots:
                answer(slot, error)
            return
        self._failures = 0
        for slot, chunk in zip(slots, chunks, strict=True):
            answer(slot, self._checked(slot, chunk))

    def note(self, error: Exception) -> None:
        """The policy has failed: perhaps for what it was shown, perhaps since it has lost its device."""
        if not isinstance(error, UserError | TransientFault):
            self._failures += 1
            self.broken = self._failures >= FAILURES or _DEVICE_LOST in str(error)

    def _checked(self, slot: int, chunk: np.ndarray) -> Answer:
        if isinstance(chunk, Exception):
            self.note(chunk)
            return chunk
        try:
            chunk = as_chunk(chunk, self.policy.spec.name)
            self._actions.executed(chunk, len(chunk))
            policy = self.policy
            return Decision(chunk, isinstance(policy, EndingPolicy) and policy.spec.ends and bool(policy.ended(slot)))
        except BaseException as raised:
            return contained(raised)
