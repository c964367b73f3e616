"""A plain policy, which remembers one episode, for several workers: an instance for each of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from vla_bench.envs.observation import Observation
from vla_bench.policies.base import EpisodeOutcome, PolicySpec, SubtaskContext
from vla_bench.policies.one_slot import OneSlotPolicy


class PolicyPerSlot:
    """A :class:`vla_bench.policies.base.Policy` made of one-slot ones.

    ``make`` builds another when a worker more than before is there, so memory grows with the workers: a large
    model should rather implement :class:`vla_bench.policies.base.Policy`, which shares its weights.
    """

    def __init__(self, first: OneSlotPolicy, make: Callable[[], OneSlotPolicy]) -> None:
        self._made = [first]
        self._make = make
        self._spec = dataclasses.replace(first.spec, batched=False)

    @property
    def spec(self) -> PolicySpec:
        """Of each of them; ``batched`` is false."""
        return self._spec

    def reset(self, slot: int, instruction: str, context: SubtaskContext) -> None:
        """Starts a subtask in the slot's own instance, built now if need be."""
        while slot >= len(self._made):
            self._made.append(self._make())
        self._made[slot].reset(0, instruction, context)

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> list[np.ndarray]:
        """Asks one instance after the other."""
        return [self._made[slot].act((0,), (seen,))[0] for slot, seen in zip(slots, observations, strict=True)]

    def ended(self, slot: int) -> bool:
        """What the slot's instance says."""
        return self._made[slot].ended(0)

    def finished(self, slot: int, outcome: EpisodeOutcome) -> None:
        """Told to the slot's instance."""
        if slot < len(self._made):
            self._made[slot].finished(0, outcome)

    def close(self) -> None:
        """Closes all."""
        for each in self._made:
            each.close()
