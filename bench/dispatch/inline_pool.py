"""One worker in this very process, for debugging: breakpoints stop, and what is printed is seen at once.

Nothing is supervised here: a hang hangs the command, and a crash of the simulator ends it.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import traceback
from collections.abc import Mapping
from typing import Literal

from vla_bench.bench.dispatch.child import Started, build_worker, explain
from vla_bench.bench.dispatch.child_process import Failure
from vla_bench.bench.dispatch.job import Job
from vla_bench.bench.dispatch.page import Place
from vla_bench.bench.dispatch.pool import Answered, Gone, PoolEvent, Ready
from vla_bench.bench.dispatch.tracing import run_traced
from vla_bench.bench.episode.rollout import Phase
from vla_bench.bench.errors import ConfigError
from vla_bench.bench.protocol import EpisodeError, EpisodeRecord, EpisodeSpec
from vla_bench.envs.errors import UserError
from vla_bench.policies.base import Policy
from vla_bench.policies.errors import PolicyError, TransientFault, contained, in_words
from vla_bench.policies.kept import Asked

NAME = "inline"


class _Where:
    """A :class:`vla_bench.bench.episode.rollout.Meter` that remembers who had the word last."""

    phase = Phase.IDLE
    steps = position = 0

    def enter(self, phase: Phase) -> None:
        self.phase = phase

    def begin(self, position: int) -> None:
        self.position = position

    def stepped(self, steps: int) -> None:
        self.steps += steps


class InlinePool:
    """A :class:`vla_bench.bench.dispatch.pool.Pool` of one worker, whose work is done in :meth:`wait`."""

    def __init__(self) -> None:
        self.policy: Policy | None = None
        """Asked in place of what the job names, which is not built then."""
        self.asked: Asked | None = None
        """What the job names, built already."""
        self._started: Started | None = None
        self._task: tuple[EpisodeSpec, int] | None = None
        self._gone = False
        self._where = _Where()
        self._folder = ""

    @property
    def alive(self) -> int:
        """One, until it could not be built."""
        return 0 if self._gone else 1

    def start(self, job: Job) -> None:
        """Notes the job. ConfigError: the simulator has an interpreter of its own."""
        if job.python:
            raise ConfigError(
                f"run.backend=inline runs everything in this interpreter, but this simulator has its own "
                f"({job.python}); type run.backend=local run.workers=1"
            )
        self._job = job

    def assign(self, worker: str, episode: EpisodeSpec, attempt: int) -> None:
        """Notes the episode."""
        self._task = (episode, attempt)

    def wait(self, timeout: float) -> list[PoolEvent]:
        """Builds simulation and policy the first time, then runs the episode that was assigned."""
        here = os.getcwd()
        os.chdir(self._folder or here)  # a policy may have gone elsewhere, which is no affair of the run's
        try:
            if self._started is None:
                return [self._build()]
            if self._task is None:
                return []
            (episode, attempt), self._task = self._task, None
            return [Answered(NAME, self._run(episode, attempt)), Ready(NAME, None)]
        finally:
            self._folder = os.getcwd()
            os.chdir(here)

    def _build(self) -> PoolEvent:
        try:
            self._started = build_worker(self._job, self.policy, self.asked)
        except Exception as error:
            if not isinstance(error, UserError | TransientFault):
                traceback.print_exc()
            self._gone = True
            return Gone(NAME, EpisodeError("exception", **explain(error)), lasting=isinstance(error, UserError))
        return Ready(NAME, self._started.info)

    def _run(self, episode: EpisodeSpec, attempt: int) -> EpisodeRecord | Failure:
        assert self._started is not None
        self._where.steps = self._where.position = 0
        try:
            started = self._started
            record = run_traced(started.simulation, started.policy, episode, self._job, meter=self._where)
        except Exception as error:
            if not isinstance(error, TransientFault):
                traceback.print_exc(file=sys.stderr)
            kind: Literal["policy", "exception"] = "policy" if self._where.phase is Phase.DECIDE else "exception"
            return Failure(EpisodeError(kind, **explain(error)), lasting=isinstance(error, PolicyError))
        return dataclasses.replace(record, worker=NAME, attempt=attempt)

    def places(self) -> Mapping[str, Place]:
        """Of the episode that was last run."""
        return {NAME: Place(self._where.position, self._where.steps)}

    def discard(self, worker: str) -> None:
        """There is nobody else to give its work to."""

    def close(self) -> None:
        """Closes simulation and policy."""
        started, self._started = self._started, None
        if started is None:
            return
        try:
            started.policy.close()
        except BaseException as raised:
            error = contained(raised)
            print(f"note: close() of policy {started.policy.spec.name!r} failed: {in_words(error)}", file=sys.stderr)
        finally:
            started.simulation.close()
