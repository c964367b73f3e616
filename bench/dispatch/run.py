"""Drives a queue of episodes and a pool of workers until every episode has a record."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from vla_bench.bench.dispatch.child_process import Failure
from vla_bench.bench.dispatch.events import (
    EpisodeFinished,
    EpisodeRetried,
    EpisodeStarted,
    Event,
    Progress,
    StopAsked,
    Waiting,
    WorkerLost,
    WorkerStarted,
)
from vla_bench.bench.dispatch.job import Job, job_to_plain
from vla_bench.bench.dispatch.pool import Answered, Gone, Homeless, Pool, PoolEvent, Ready
from vla_bench.bench.dispatch.queue import EpisodeQueue, Retry
from vla_bench.bench.errors import ConfigError, RunFailed, UserError
from vla_bench.bench.protocol import EpisodeError, EpisodeRecord, EpisodeSpec
from vla_bench.bench.stopping import StopButton

PROGRESS_SECONDS = 0.5
"""How often a running episode is reported on."""
LEASE_SECONDS = 120.0
"""How long a supervisor may be silent before its episode is given to another. The supervisor itself
judges its process; this is for machines and connections that vanish."""


def run_episodes(
    job: Job,
    episodes: Iterable[EpisodeSpec],
    pool: Pool,
    *,
    on_event: Callable[[Event], None],
    stop: StopButton | None = None,
) -> bool:
    """Runs the episodes on the pool; returns True when all of them have a record.

    ``on_event`` is called in this thread. What it raises ends the run and passes through. Ctrl-C
    once lets the running episodes finish, twice drops them; then False is returned. The pool is closed
    in any case. ``stop``: the button of a caller that has the signals already. UserError: no worker could start
    because of something the user can mend; RunFailed: no worker is left for another reason; ConfigError: the job
    is not plain data.
    """
    job = replace(
        job,
        directory=job.directory or os.getcwd(),
        policy_python=job.policy_python or sys.executable,
        run_key=job.run_key or uuid.uuid4().hex,
    )
    try:
        json.dumps(job_to_plain(job))
    except TypeError as error:
        raise ConfigError(f"options and arguments must be plain data, as in YAML: {error}") from None
    queue = EpisodeQueue(episodes, max_attempts=job.run.max_attempts, lease_seconds=LEASE_SECONDS)
    if queue.finished:
        return True
    with StopButton() if stop is None else contextlib.nullcontext(stop) as button:
        if button.asked:
            return False
        try:
            pool.start(job)
            _Driver(queue, pool, on_event, button).run()
        finally:
            pool.close()
    return queue.pending == queue.running == 0


class _Driver:
    """The loop between queue, pool and whoever listens.

    Events are told in their order, but after the workers have been given their next episodes: a listener
    that waits for a disk does not keep them waiting.
    """

    def __init__(self, queue: EpisodeQueue, pool: Pool, tell: Callable[[Event], None], stop: StopButton) -> None:
        self._queue = queue
        self._pool = pool
        self._listener = tell
        self._untold: deque[Event] = deque()
        self._stop = stop
        self._stops_told = 0
        self._lost: Gone | None = None
        self._ready = False
        self._mistakes: list[WorkerLost] = []
        self._idle: list[str] = []
        self._next_progress = time.monotonic() + PROGRESS_SECONDS

    def run(self) -> None:
        while not self._queue.finished and self._stop.asked < 2:
            for event in self._pool.wait(PROGRESS_SECONDS / 2):
                self._take(event)
            self._heed_stops()
            self._hand_out()
            if time.monotonic() >= self._next_progress:
                self._next_progress = time.monotonic() + PROGRESS_SECONDS
                self._report_progress()
            self._tell_all()
            self._check_workers()
        self._heed_stops()
        self._tell_all()

    def _heed_stops(self) -> None:
        if self._stop.asked > self._stops_told:
            self._stops_told = self._stop.asked
            self._queue.close()
            self._tell(StopAsked(self._queue.running, dropped=self._stop.asked > 1))

    def _tell(self, event: Event) -> None:
        self._untold.append(event)

    def _tell_all(self) -> None:
        while self._untold:
            self._listener(self._untold.popleft())

    def _take(self, event: PoolEvent) -> None:
        match event:
            case Ready(worker, info):
                self._queue.add_worker(worker)
                self._ready = True
                self._tell_mistakes()
                if info is not None:
                    self._tell(WorkerStarted(worker, info))
                self._idle.append(worker)
            case Answered(worker, Failure(error, lasting)):
                if self._queue.holds(worker):
                    self._tell_verdict(self._queue.fail(worker, error, lasting=lasting))
            case Answered(worker, EpisodeRecord() as record):
                if self._queue.complete(worker, record.episode):
                    self._tell(EpisodeFinished(record))
            case Homeless(reason):
                self._tell(Waiting(reason))
            case Gone(worker, error):
                self._lost = event
                self._lose(worker, error, mistake=event.lasting)

    def _lose(self, worker: str, error: EpisodeError, *, mistake: bool = False) -> None:
        if worker in self._idle:
            self._idle.remove(worker)
        verdict = self._queue.remove_worker(worker, error)
        self._mistakes.append(WorkerLost(worker, error))
        if not mistake or self._ready:
            self._tell_mistakes()
        if verdict is not None:
            self._tell_verdict(verdict)

    def _tell_mistakes(self) -> None:
        """Tells of lost workers. What no worker can start without is held back: it ends the run, and is said there."""
        self._untold += self._mistakes
        self._mistakes.clear()

    def _check_workers(self) -> None:
        """UserError or RunFailed when the last worker is lost; all else have been told of by then."""
        if self._lost is None or self._pool.alive or self._queue.finished:
            return
        error, lasting = self._lost.error, self._lost.lasting
        if lasting:
            self._mistakes = [other for other in self._mistakes if other.error.message != error.message]
            self._tell_mistakes()
            self._tell_all()
            raise UserError(error.message)
        raise RunFailed(f"no worker is left, the last because {error.message}\n{error.detail}".rstrip())

    def _tell_verdict(self, verdict: Retry | EpisodeRecord) -> None:
        if isinstance(verdict, Retry):
            self._tell(EpisodeRetried(verdict.episode, verdict.attempt, verdict.error))
        else:
            self._tell(EpisodeFinished(verdict))

    def _hand_out(self) -> None:
        for worker in list(self._idle):
            lease = self._queue.lease(worker)
            if lease is not None:
                self._idle.remove(worker)
                self._pool.assign(worker, lease.episode, lease.attempt)
                self._tell(EpisodeStarted(worker, lease.episode, lease.attempt))

    def _report_progress(self) -> None:
        for worker, place in self._pool.places().items():
            self._queue.renew(worker)
            episode = self._queue.holds(worker)
            if episode is not None:
                self._tell(Progress(worker, episode, place.steps, place.position))
        for lease in self._queue.expired():
            error = EpisodeError("crash", f"{lease.worker} was not heard from for {LEASE_SECONDS:g} s")
            self._pool.discard(lease.worker)
            self._lose(lease.worker, error)
