"""Batches in their order, read ahead by other processes or in between."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TypeVar

from torch.utils.data import DataLoader, Dataset

from vla_bench.policies.vla.training.items import WindowItems
from vla_bench.policies.vla.training.sampling import Order
from vla_bench.policies.vla.training.step import TrainingBatch

T = TypeVar("T")


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


class Reader:
    """Batches ``first`` to ``last`` of an order, this process's part of each."""

    def __init__(
        self, items: WindowItems, order: Order, *, first: int, last: int, workers: int, place: tuple[int, int]
    ):
        more = {"prefetch_factor": 2, "multiprocessing_context": "spawn"} if workers else {}
        self._loader = DataLoader(
            _Numbered(items, order, first, last, place), batch_size=None, num_workers=workers, **more
        )
        self._stream: Iterator[TrainingBatch] | None = None

    def __iter__(self) -> Iterator[TrainingBatch]:
        self._stream = iter(self._loader)
        return self._stream

    def close(self) -> None:
        """Ends the readers."""
        self._stream = None
