"""What the driver of a run is told while it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vla_bench.bench.protocol import EpisodeError, EpisodeRecord, EpisodeSpec


@dataclass(frozen=True, slots=True)
class WorkerStarted:
    """A worker's process has built its simulation and policy (again, when it was replaced)."""

    worker: str
    info: Mapping[str, Any]
    """``pid``, ``host``, ``policy``, ``start_seconds``, what the simulation says of itself, and a ``remark``
    where the trial showed something suspicious."""


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """A worker cannot be started, or its machine is gone; the others go on."""

    worker: str
    error: EpisodeError


@dataclass(frozen=True, slots=True)
class EpisodeStarted:
    """A worker has been given an episode."""

    worker: str
    episode: EpisodeSpec
    attempt: int


@dataclass(frozen=True, slots=True)
class EpisodeFinished:
    """An episode has its record: done, or an error after the last attempt."""

    record: EpisodeRecord


@dataclass(frozen=True, slots=True)
class EpisodeRetried:
    """An attempt came to nothing; the episode will be tried again."""

    episode: EpisodeSpec
    attempt: int
    error: EpisodeError


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running episode is; about twice a second per worker."""

    worker: str
    episode: str
    steps: int
    """Control steps of this attempt so far."""
    position: int = 0
    """Of the subtask that is tried, from 0."""


@dataclass(frozen=True, slots=True)
class StopAsked:
    """Ctrl-C or a batch system's signal: no episode is handed out any more."""

    running: int
    dropped: bool
    """Whether the running ones are not waited for: asked twice, or by a signal that leaves no time."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """No worker has a place yet; told again and again for as long as that is so."""

    reason: str


Event = WorkerStarted | WorkerLost | EpisodeStarted | EpisodeFinished | EpisodeRetried | Progress | StopAsked | Waiting
