"""What is known of a run while it goes on: counts that events add to, and numbers read off them."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vla_bench.bench.dispatch.events import (
    EpisodeFinished,
    EpisodeRetried,
    EpisodeStarted,
    Event,
    Progress,
    WorkerLost,
    WorkerStarted,
)
from vla_bench.bench.protocol import EpisodeRecord, EpisodeSpec, Timings
from vla_bench.bench.records.clusters import cluster_of, clustered_rate
from vla_bench.bench.records.old_journals import score_of
from vla_bench.bench.records.scoring import rows
from vla_bench.bench.records.statistics import Mean, Rate, chain_table
from vla_bench.bench.records.tables import PARTS, percent
from vla_bench.bench.score import Score

SPEED_SECONDS = 20.0
"""Time over which steps/s are averaged."""
WATCHED_SPEED_SECONDS = 300.0
"""The same of a run that is seen by its journal alone, where steps come by whole episodes."""


@dataclass(slots=True)
class WorkerState:
    """What one worker is doing."""

    name: str
    clock: Callable[[], float]
    state: str = "starting"
    episode: str = ""
    """The episode it runs; empty when idle."""
    attempt: int = 1
    subtasks: int = 0
    """Of that episode."""
    instructions: Sequence[str] = ()
    position: int = 0
    """Of the subtask that is tried, from 0."""
    steps: int = 0
    """Control steps of that episode so far."""
    since: float = 0.0
    finished: int = 0

    @property
    def label(self) -> str:
        """The episode, and which attempt at it this is when it is not the first; its state when idle."""
        if not self.episode:
            return self.state
        return self.episode + (f" (attempt {self.attempt})" if self.attempt > 1 else "")

    @property
    def instruction(self) -> str:
        """What it is told to do; empty when idle."""
        return self.instructions[self.position] if self.position < len(self.instructions) else ""

    def give(self, episode: EpisodeSpec, attempt: int) -> None:
        """It begins an episode."""
        self.episode, self.attempt, self.subtasks = episode.episode, attempt, len(episode.subtasks)
        self.state, self.instructions, self.position, self.steps = "running", episode.instructions, 0, 0
        self.since = self.clock()

    def release(self, state: str = "ready") -> None:
        """It is through with its episode, or lost."""
        self.episode, self.instructions, self.steps, self.state = "", (), 0, state

    def seconds(self) -> float:
        """Time spent on the present episode."""
        return self.clock() - self.since


@dataclass(slots=True)
class RunningTotals:
    """The state of a run; :meth:`take` is told every event."""

    header: Mapping[str, Any]
    earlier: Sequence[EpisodeRecord]
    """Records of earlier tries."""
    missing_at_start: int
    """Episodes this try is about to run."""
    clock: Callable[[], float] = time.monotonic
    watched: bool = False
    """Whether the run goes on elsewhere and is known by its records alone."""
    finished_now: int = 0
    errors: int = 0
    retries: int = 0
    workers_started: int = 0
    _judged: dict[int, EpisodeRecord] = field(default_factory=dict)
    _workers: dict[str, WorkerState] = field(default_factory=dict)
    _timings: Timings = field(default_factory=Timings)
    _judged_before: int = 0
    _steps_done: int = 0
    _samples: deque[tuple[float, int]] = field(default_factory=deque)
    _started: float = 0.0
    _working_since: float = 0.0
    _numbers: tuple[int, list[tuple[str, str, str]]] | None = None
    _numbers_at: float = 0.0
    _numbers_took: float = 0.0

    def __post_init__(self) -> None:
        self._started = self.clock()
        self._judged = {record.index: record for record in self.earlier if record.status == "done"}
        self._judged_before = len(self._judged)

    @property
    def planned(self) -> int:
        """Episodes of the protocol."""
        return int(self.header["episodes"])

    @property
    def finished(self) -> int:
        """Episodes judged or given up, those that earlier tries judged included."""
        return self._judged_before + self.finished_now

    @property
    def elapsed(self) -> float:
        """Seconds since this try began."""
        return self.clock() - self._started

    def take(self, event: Event) -> None:
        """Counts one event."""
        match event:
            case WorkerStarted(name, _):
                self.workers_started += 1
                self._working_since = self._working_since or self.clock()
                self._worker(name).state = "ready"
            case WorkerLost(name, _):
                self._worker(name).release("lost")
            case EpisodeStarted(name, episode, attempt):
                self._worker(name).give(episode, attempt)
            case Progress(name, _, steps, position):
                self._worker(name).steps, self._worker(name).position = steps, position
                self._sample()
            case EpisodeRetried():
                self.retries += 1
                self._release(event.episode.episode)
            case EpisodeFinished(record):
                self._finish(record)

    def _worker(self, name: str) -> WorkerState:
        return self._workers.setdefault(name, WorkerState(name, self.clock))

    def _release(self, episode: str) -> WorkerState | None:
        for worker in self._workers.values():
            if worker.episode == episode:
                worker.release()
                return worker
        return None

    def _finish(self, record: EpisodeRecord) -> None:
        worker = self._release(record.episode)
        if self.watched:
            worker = self._worker(record.worker or "no worker")
            worker.state = _became(record, int(self.header["longest"]))
            self.retries += record.attempt - 1
        if worker is not None:
            worker.finished += 1
        self.finished_now += 1
        self._steps_done += sum(subtask.steps for subtask in record.subtasks)
        self._timings += record.timings
        if record.status == "error":
            self.errors += 1
        else:
            self._judged[record.index] = record
        self._sample()

    def _sample(self) -> None:
        now = self.clock()
        running = sum(worker.steps for worker in self._workers.values())
        self._samples.append((now, self._steps_done + running))
        kept = WATCHED_SPEED_SECONDS if self.watched else SPEED_SECONDS
        while len(self._samples) > 2 and self._samples[0][0] < now - kept:
            self._samples.popleft()

    def steps_per_second(self) -> float:
        """Control steps per second of late, all workers together; of the whole try once it is over."""
        if self.finished_now == self.missing_at_start:
            seconds = self.clock() - self._working_since
            return self._steps_done / seconds if self._working_since and seconds > 0 else 0.0
        if len(self._samples) < 2:
            return 0.0
        (then, before), (now, after) = self._samples[0], self._samples[-1]
        return max(0.0, (after - before) / (now - then)) if now - then > 0.1 else 0.0

    def eta_text(self) -> str:
        """Time to the end at the pace so far, or –."""
        left = self.missing_at_start - self.finished_now
        return clock_text(self.elapsed / self.finished_now * left) if self.finished_now else "–"

    def workers(self) -> list[WorkerState]:
        """The workers by name."""
        return [self._workers[name] for name in sorted(self._workers)]

    def shares(self) -> list[tuple[str, float]]:
        """Where the time of the workers went, as shares; empty before anything finished."""
        seconds = {title: getattr(self._timings, name) for name, title in PARTS.items()}
        total = sum(seconds.values())
        return [(title, value / total) for title, value in seconds.items()] if total else []

    def numbers(self) -> list[tuple[str, str, str]]:
        """The numbers so far as (name, value, 95 % interval), the one that is quoted and its n first."""
        judged = len(self._judged)
        # They cost milliseconds, of many records more: no more than a tenth of the time goes into them.
        stale = self._numbers is None or self._numbers[0] != judged
        if stale and (self.finished_now >= self.missing_at_start or self._rested()):
            began = time.perf_counter()
            self._numbers = (judged, self._compute_numbers())
            self._numbers_at = time.perf_counter()
            self._numbers_took = self._numbers_at - began
        assert self._numbers is not None
        return self._numbers[1]

    def _rested(self) -> bool:
        return self._numbers is None or time.perf_counter() - self._numbers_at >= 10 * self._numbers_took

    def _compute_numbers(self) -> list[tuple[str, str, str]]:
        records = list(self._judged.values())
        score = score_of(self.header, records)
        longest = int(self.header["longest"])
        names = score.counted()
        counted = [record for record in records if record.episode in names]
        named: list[tuple[str, Rate | Mean]] = []
        if score.how == "chain":
            table = chain_table(Counter(record.chain_length for record in counted), longest)
            quoted, mean = "average", table.average
            value, ends = f"{mean.value:.2f}", f"{mean.low:.2f}–{mean.high:.2f}"
            named = [(f"{length}/{longest}", each) for length, each in enumerate(table.rates, start=1)]
        else:
            overall = self._success(score, records, counted)
            quoted, value, ends = "success", f"{100 * overall.value:.1f}", _ends(overall)
        if not counted:
            return [(name, "–", "") for name in (quoted, "n", *(name for name, _ in named))]
        cells = [(quoted, value, ends), ("n", str(len(records)), "")]
        return cells + [(name, f"{100 * each.value:.1f}", _ends(each)) for name, each in named]

    def _success(self, score: Score, records: list[EpisodeRecord], counted: list[EpisodeRecord]) -> Rate | Mean:
        means = rows(score, records) if score.how == "alike" else []
        if means:
            return means[-1].success
        facts = self.header["protocol"]["facts"]
        return clustered_rate((cluster_of(record, facts), record.chain_length > 0) for record in counted)

    def line(self) -> str:
        """All of it in one line."""
        numbers = "  ".join(
            f"{name} {value}" + (f" [{interval}]" if interval and name in ("average", "success") else "")
            for name, value, interval in self.numbers()
        )
        speed = f"{self.steps_per_second():.0f} steps/s"
        left = f"  ETA {self.eta_text()}" if self.finished_now < self.missing_at_start else ""
        return (
            f"{clock_text(self.elapsed)}  {self.finished}/{self.planned} episodes  {numbers}  "
            f"errors {self.errors}  retries {self.retries}  {speed}{left}"
        )


def _ends(of: Rate | Mean) -> str:
    return f"{percent(of.low)}–{percent(of.high)}"


def _became(record: EpisodeRecord, longest: int) -> str:
    """What became of a worker's last episode, in words."""
    if record.error is not None:
        return f"{record.episode}: {record.error.kind}"
    if longest > 1:
        return f"{record.episode}: {record.chain_length} of {longest}"
    return f"{record.episode}: {'solved' if record.chain_length else 'not solved'}"


def clock_text(seconds: float) -> str:
    """``03:07``, or ``2:03:07`` from an hour on."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"
