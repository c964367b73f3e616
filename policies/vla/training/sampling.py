"""Which windows make which batch: a function of the seed and the batch's number alone.

So a run that goes on after a crash needs nothing but the number of its next batch, and any number of processes
and readers share the same batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

ORDER, ITEM, STEP, VALIDATION, LOOKS = range(5)
"""Streams of random numbers that must not meet."""


def stream_seed(seed: int, stream: int, *numbers: int) -> int:
    """A seed below 2**63 for one stream at one place (e.g. epoch, window)."""
    return int(np.random.SeedSequence([seed, stream, *numbers]).generate_state(1, np.uint64)[0] >> np.uint64(1))


class Order(Protocol):
    """Batches by their number, counted over the whole run."""

    @property
    def per_epoch(self) -> int:
        """Batches in a pass over the data."""
        ...

    def batch(self, number: int) -> tuple[list[int], list[int]]:
        """Items of a batch, and a seed for each one's augmentation."""
        ...


@dataclass(frozen=True)
class ShuffledOrder:
    """A new permutation in each epoch; items that do not fill a batch are left out of that epoch."""

    items: int
    size: int
    seed: int

    @property
    def per_epoch(self) -> int:
        """Full batches in a permutation."""
        return self.items // self.size

    def batch(self, number: int) -> tuple[list[int], list[int]]:
        """See :class:`Order`."""
        epoch, place = divmod(number, self.per_epoch)
        chosen = self._permutation(epoch)[place * self.size : (place + 1) * self.size].tolist()
        return chosen, [stream_seed(self.seed, ITEM, epoch, item) for item in chosen]

    def _permutation(self, epoch: int) -> np.ndarray:
        held = getattr(self, "_held", None)
        if held is None or held[0] != epoch:
            held = epoch, np.random.default_rng([self.seed, ORDER, epoch]).permutation(self.items)
            object.__setattr__(self, "_held", held)
        return held[1]


@dataclass(frozen=True)
class FixedOrder:
    """Batches that are given; they begin anew when they are through."""

    batches: tuple[tuple[int, ...], ...]
    seed: int = 0

    @property
    def per_epoch(self) -> int:
        """All that are given."""
        return len(self.batches)

    def batch(self, number: int) -> tuple[list[int], list[int]]:
        """See :class:`Order`."""
        epoch, place = divmod(number, self.per_epoch)
        chosen = list(self.batches[place])
        return chosen, [stream_seed(self.seed, ITEM, epoch, item) for item in chosen]


def spread(items: int, most: int) -> list[int]:
    """At most so many of the items, evenly spaced, for validation."""
    return np.unique(np.linspace(0, items - 1, min(items, most)).astype(np.int64)).tolist() if items else []
