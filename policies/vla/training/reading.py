"""Batches in their order, read ahead by other processes or in between."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from torch.utils.data import DataLoader, Dataset

from vla_bench.policies.vla.training.items import WindowItems
from vla_bench.policies.vla.training.sampling import Order
from vla_bench.policies.vla.training.step import TrainingBatch

T = TypeVar("T")
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_SECONDS = 60
"""A reader that is told to end goes on for so long: terminals and schedulers tell all processes at once, and the step
that runs, after which the state is saved, still needs its batch."""


def share(items: Sequence[T], rank: int, processes: int) -> list[T]:
    """One process's part of a batch: a run of its items."""
    size = -(-len(items) // processes)
    return list(items[rank * size : (rank + 1) * size])


class _Numbered(Dataset):
    """Batches by number, as torch's loader wants them."""

    def __init__(self, items: WindowItems, order: Order, first: int, last: int, place: tuple[int, int]):
        self._items, self._order, self._first, self._last, self._place = items, order, first, last, place

    def __len__(self) -> int:
        return self._last - self._first

    def __getitem__(self, number: int) -> TrainingBatch:
        chosen, seeds = self._order.batch(self._first + number)
        batch = self._items.batch(share(chosen, *self._place), share(seeds, *self._place))
        return dataclasses.replace(batch, looks=self._items.looks(self._first + number, self._place))


def _outlive_signals(_: int) -> None:
    """In a reader, when it begins."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: signal.alarm(GRACE_SECONDS))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


class Reader:
    """Batches ``first`` to ``last`` of an order, this process's part of each."""

    def __init__(
        self, items: WindowItems, order: Order, *, first: int, last: int, workers: int, place: tuple[int, int]
    ):
        more: dict[str, Any] = {}
        if workers:
            more = {"prefetch_factor": 2, "multiprocessing_context": "spawn", "worker_init_fn": _outlive_signals}
        self._loader = DataLoader(
            _Numbered(items, order, first, last, place), batch_size=None, num_workers=workers, **more
        )
        self._stream: Iterator[TrainingBatch] | None = None

    def __iter__(self) -> Iterator[TrainingBatch]:
        # Readers inherit what is blocked, and keep it so while they import.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        try:
            self._stream = iter(self._loader)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self._stream

    def close(self) -> None:
        """Ends the readers."""
        self._stream = None
