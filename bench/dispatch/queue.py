"""Which worker runs which episode next, what is tried again, and what is given up. No I/O, no Ray.

Workers pull: an idle worker leases the next episode. A lease ends by completion, by failure, by the loss of
its worker, or by its deadline when nobody renews it. A failed episode goes back to the front of the queue,
for another worker if there is one that has not failed on it yet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from vla_bench.bench.protocol import EpisodeError, EpisodeRecord, EpisodeSpec


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one worker to run one episode."""

    worker: str
    episode: EpisodeSpec
    attempt: int
    """1 at the first try."""


@dataclass(frozen=True, slots=True)
class Retry:
    """The episode will be tried again."""

    episode: EpisodeSpec
    attempt: int
    """The attempt that failed."""
    error: EpisodeError


@dataclass(slots=True)
class _Item:
    episode: EpisodeSpec
    attempts: int = 0
    failed_on: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Running:
    lease: Lease
    item: _Item
    deadline: float


class EpisodeQueue:
    """Hands out each episode until it has a record.

    ``max_attempts``: tries before an episode is recorded as an error. ``lease_seconds``: how long a
    lease lasts without :meth:`renew`. ValueError: two episodes of the same identifier.
    """

    def __init__(
        self,
        episodes: Iterable[EpisodeSpec],
        *,
        max_attempts: int = 3,
        lease_seconds: float = float("inf"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_attempts < 1:
            raise ValueError(f"max_attempts is {max_attempts}; it must be at least 1")
        self._max_attempts = max_attempts
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._pending = [_Item(episode) for episode in episodes]
        self._running: dict[str, _Running] = {}
        self._workers: set[str] = set()
        self._closed = False
        names = [item.episode.episode for item in self._pending]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"the episode {twice!r} occurs more than once")

    @property
    def pending(self) -> int:
        """Episodes that wait for a worker."""
        return len(self._pending)

    @property
    def running(self) -> int:
        """Episodes under lease."""
        return len(self._running)

    @property
    def finished(self) -> bool:
        """True when nothing runs and nothing is going to be handed out."""
        return not self._running and (self._closed or not self._pending)

    @property
    def workers(self) -> frozenset[str]:
        """The workers there are."""
        return frozenset(self._workers)

    def add_worker(self, worker: str) -> None:
        """Says that a worker is there; needed before it may lease."""
        self._workers.add(worker)

    def remove_worker(self, worker: str, error: EpisodeError) -> Retry | EpisodeRecord | None:
        """Says that a worker is gone; ``error`` becomes that of the episode it was running, if any."""
        self._workers.discard(worker)
        return self.fail(worker, error) if worker in self._running else None

    def lease(self, worker: str) -> Lease | None:
        """The next episode for an idle worker; None when there is none for it (now)."""
        if worker not in self._workers:
            raise ValueError(f"unknown worker {worker!r}")
        if worker in self._running:
            raise ValueError(f"{worker!r} runs {self._running[worker].lease.episode.episode!r} already")
        if self._closed:
            return None
        for place, item in enumerate(self._pending):
            if worker not in item.failed_on or self._workers <= item.failed_on:
                del self._pending[place]
                item.attempts += 1
                lease = Lease(worker, item.episode, item.attempts)
                self._running[worker] = _Running(lease, item, self._clock() + self._lease_seconds)
                return lease
        return None

    def holds(self, worker: str) -> str | None:
        """Identifier of the episode that the worker runs, if any."""
        running = self._running.get(worker)
        return None if running is None else running.lease.episode.episode

    def renew(self, worker: str) -> None:
        """Says that the worker was heard from; does nothing when it holds no lease."""
        if worker in self._running:
            self._running[worker].deadline = self._clock() + self._lease_seconds

    def expired(self) -> list[Lease]:
        """Leases past their deadline; they stay until their worker is removed."""
        now = self._clock()
        return [running.lease for running in self._running.values() if now > running.deadline]

    def complete(self, worker: str, episode: str) -> bool:
        """Ends a lease with success; False when the worker does not hold that lease (any more)."""
        running = self._running.get(worker)
        if running is None or running.lease.episode.episode != episode:
            return False
        del self._running[worker]
        return True

    def fail(self, worker: str, error: EpisodeError, *, lasting: bool = False) -> Retry | EpisodeRecord:
        """Ends a lease with an error: the episode is tried again, or given up with an error record.

        ``lasting``: no attempt can help. KeyError: the worker holds no lease.
        """
        running = self._running.pop(worker)
        item, episode = running.item, running.lease.episode
        item.failed_on.add(worker)
        if not lasting and item.attempts < self._max_attempts:
            self._pending.insert(0, item)
            return Retry(episode, item.attempts, error)
        return EpisodeRecord(
            index=episode.index,
            episode=episode.episode,
            scene=episode.start.scene,
            cluster=episode.cluster,
            status="error",
            chain_length=0,
            subtasks=(),
            error=error,
            worker=worker,
            attempt=item.attempts,
        )

    def close(self) -> None:
        """Hands out nothing any more; what runs may finish."""
        self._closed = True
