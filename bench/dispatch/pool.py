"""The face that run_episodes sees of a set of workers, wherever they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from vla_bench.bench.dispatch.child_process import Failure
from vla_bench.bench.dispatch.job import Job
from vla_bench.bench.dispatch.page import Place
from vla_bench.bench.protocol import EpisodeError, EpisodeRecord, EpisodeSpec


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker waits for an episode."""

    worker: str
    info: Mapping[str, Any] | None
    """What its process says of itself when it has just started, else None."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of an episode."""

    worker: str
    result: EpisodeRecord | Failure


@dataclass(frozen=True, slots=True)
class Gone:
    """A worker that will not come back."""

    worker: str
    error: EpisodeError
    lasting: bool = False
    """True when the user has something to mend, which the error's message says."""


@dataclass(frozen=True, slots=True)
class Homeless:
    """No worker has a place; a pool that may still get one says so again and again."""

    reason: str


PoolEvent = Ready | Answered | Gone | Homeless


class Pool(Protocol):
    """A fixed number of workers, each with one supervisor. Used by one thread, for one job."""

    @property
    def alive(self) -> int:
        """Workers that are ready, running, or may still become ready."""
        ...

    def start(self, job: Job) -> None:
        """Begins to start the workers, without waiting for them."""
        ...

    def assign(self, worker: str, episode: EpisodeSpec, attempt: int) -> None:
        """Gives an episode to a worker that is ready."""
        ...

    def wait(self, timeout: float) -> list[PoolEvent]:
        """What has happened, waiting up to ``timeout`` seconds for the first thing."""
        ...

    def places(self) -> Mapping[str, Place]:
        """How far the running episode is, for each worker heard from since the last call."""
        ...

    def discard(self, worker: str) -> None:
        """Gives up a worker that is not heard from any more."""
        ...

    def close(self) -> None:
        """Ends all workers, running episodes included, and returns when nothing of them is left."""
        ...
