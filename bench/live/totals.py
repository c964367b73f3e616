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
from vla_bench.bench.protocol import EpisodeRecord, Timings
from vla_bench.bench.records.statistics import chain_table, rate
from vla_bench.bench.records.tables import PARTS, percent

SPEED_SECONDS = 20.0
"""Time over which steps/s are averaged."""


@dataclass(slots=True)
class WorkerState:
    """What one worker is doing."""

    name: str
    clock: Callable[[], float]
    state: str = "starting"
    episode: str = ""
    """The episode it runs; empty when idle."""
    steps: int = 0
    """Control steps of that episode so far."""
    since: float = 0.0
    finished: int = 0

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
    finished_now: int = 0
    errors: int = 0
    retries: int = 0
    workers_started: int = 0
    _lengths: Counter[int] = field(default_factory=Counter)
    _workers: dict[str, WorkerState] = field(default_factory=dict)
    _timings: Timings = field(default_factory=Timings)
    _judged_before: int = 0
    _steps_done: int = 0
    _samples: deque[tuple[float, int]] = field(default_factory=deque)
    _started: float = 0.0
    _working_since: float = 0.0
    _numbers: tuple[int, list[tuple[str, str, str]]] | None = None

    def __post_init__(self) -> None:
        self._started = self.clock()
        self._judged_before = sum(record.status == "done" for record in self.earlier)
        self._lengths.update(record.chain_length for record in self.earlier if record.status == "done")

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
                self._worker(name).state = "lost"
                self._worker(name).episode = ""
            case EpisodeStarted(name, episode, attempt):
                worker = self._worker(name)
                worker.episode = episode.episode + (f" (attempt {attempt})" if attempt > 1 else "")
                worker.state, worker.steps, worker.since = "running", 0, self.clock()
            case Progress(name, _, steps):
                self._worker(name).steps = steps
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
            if worker.episode.partition(" ")[0] == episode:
                worker.episode, worker.steps, worker.state = "", 0, "ready"
                return worker
        return None

    def _finish(self, record: EpisodeRecord) -> None:
        worker = self._release(record.episode)
        if worker is not None:
            worker.finished += 1
        self.finished_now += 1
        self._steps_done += sum(subtask.steps for subtask in record.subtasks)
        self._timings += record.timings
        if record.status == "error":
            self.errors += 1
        else:
            self._lengths[record.chain_length] += 1
        self._sample()

    def _sample(self) -> None:
        now = self.clock()
        running = sum(worker.steps for worker in self._workers.values())
        self._samples.append((now, self._steps_done + running))
        while len(self._samples) > 2 and self._samples[0][0] < now - SPEED_SECONDS:
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
        """The numbers so far as (name, value, 95 % interval)."""
        judged = self._lengths.total()
        if self._numbers is None or self._numbers[0] != judged:  # the bootstrap costs milliseconds
            self._numbers = (judged, self._compute_numbers(judged))
        return self._numbers[1]

    def _compute_numbers(self, judged: int) -> list[tuple[str, str, str]]:
        longest = int(self.header["longest"])
        if self.header["protocol"]["facts"]["kind"] == "tasks":
            overall = rate(self._lengths[1], judged)
            named = [("success", overall)]
            average = None
        else:
            table = chain_table(self._lengths, longest)
            named = [(f"{length}/{longest}", each) for length, each in enumerate(table.rates, start=1)]
            average = table.average
        if not judged:
            names = [name for name, _ in named] + (["average"] if average else [])
            return [(name, "–", "") for name in names] + [("n", "0", "")]
        cells = [(name, f"{100 * each.value:.1f}", f"{percent(each.low)}–{percent(each.high)}") for name, each in named]
        if average:
            cells.append(("average", f"{average.value:.2f}", f"{average.low:.2f}–{average.high:.2f}"))
        return [*cells, ("n", str(judged), "")]

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


def clock_text(seconds: float) -> str:
    """``03:07``, or ``2:03:07`` from an hour on."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"
