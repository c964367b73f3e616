"""Runs episodes in a child process: starts it, hands it episodes, kills and replaces it.

A supervisor never runs simulator or policy code itself.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from vla_bench.bench.dispatch.child_process import ChildProcess, Failure
from vla_bench.bench.dispatch.deadlines import Deadlines
from vla_bench.bench.dispatch.job import Job
from vla_bench.bench.dispatch.page import Place
from vla_bench.bench.episode.rollout import Phase
from vla_bench.bench.protocol import EpisodeError, EpisodeRecord, EpisodeSpec, record_from_plain, to_plain

START_ATTEMPTS = 2
"""How often a child that fails to start is tried, unless the user has something to mend."""


class Supervisor:
    """One worker: at most one child at a time, at most one episode at a time."""

    def __init__(self, job: Job, worker: str) -> None:
        self.worker = worker
        self._job = job
        self._deadlines = Deadlines(job.run)
        self._child: ChildProcess | None = None
        self._ready = False
        self._stopped = False

    def start(self) -> dict[str, Any] | Failure:
        """Starts the child and waits until simulation and policy are built.

        Returns what the child says of itself (``pid``, ``host``, ...), or why it cannot start; what a
        new attempt may mend has then been attempted :data:`START_ATTEMPTS` times.
        """
        for attempt in range(1, START_ATTEMPTS + 1):
            result = self._start_once()
            if not isinstance(result, Failure) or result.lasting or self._stopped or attempt == START_ATTEMPTS:
                return result
        raise AssertionError("unreachable")

    def _start_once(self) -> dict[str, Any] | Failure:
        try:
            self._child = ChildProcess(self._job, self.worker)
        except OSError as error:
            message = f"cannot start {self._job.python or sys.executable}: {error}"
            return Failure(EpisodeError("crash", message))
        if self._stopped:
            self._child.kill()
        reply = self._child.wait(self._deadlines.seconds())
        if isinstance(reply, Failure):
            self.close()
            return reply
        if "start_error" in reply:
            self.close()
            return Failure(EpisodeError("exception", **reply["start_error"]), lasting=reply["lasting"])
        self._ready = True
        self._job = replace(self._job, trial=None)  # what has worked once need not be tried again
        info: dict[str, Any] = reply["ready"]
        return info

    @property
    def ready(self) -> bool:
        """Whether an episode can be run at once."""
        return self._ready

    def run(self, episode: EpisodeSpec, attempt: int) -> EpisodeRecord | Failure:
        """Runs one episode to its end. After a failure in it the child is gone; see :attr:`ready`."""
        assert self._child is not None and self._ready
        self._child.idle = False
        if self._stopped:  # stop() may have come while the child was idle, and spared it
            self._child.kill()
        reply = self._child.ask({"episode": to_plain(episode)}, self._deadlines.seconds())
        if isinstance(reply, Failure):
            self.close()
            return reply
        if "error" in reply:
            failure = Failure(EpisodeError(**reply["error"]), lasting=reply["lasting"])
            if not failure.lasting:  # who knows what state the exception left behind
                self.close()
            return failure
        for phase in (Phase.SIMULATE, Phase.DECIDE):
            self._deadlines.learn(phase, self._child.slowest(phase))
        if 0 < self._job.run.recycle_mb * 2**20 < self._child.resident_bytes():
            self.close()
        return replace(record_from_plain(reply["record"]), worker=self.worker, attempt=attempt)

    def place(self) -> Place:
        """How far the episode is that is running; from any thread."""
        child = self._child
        try:
            return Place(0, 0) if child is None else child.place()
        except ValueError:  # the page was unmapped meanwhile
            return Place(0, 0)

    def close(self) -> None:
        """Ends the child, politely if it is idle, else at once. May be called twice."""
        child, self._child, self._ready = self._child, None, False
        if child is not None:
            child.close()

    def stop(self) -> None:
        """Ends the worker for good, from any thread: kills a child that is busy, starts no other."""
        self._stopped = True
        child = self._child
        if child is not None and not child.idle:
            child.kill()
