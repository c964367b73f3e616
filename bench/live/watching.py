"""A run that goes on elsewhere, in another terminal or on another machine, as its folder shows it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from vla_bench.bench.dispatch.events import EpisodeFinished, WorkerStarted
from vla_bench.bench.live.totals import RunningTotals
from vla_bench.bench.protocol import EpisodeRecord
from vla_bench.bench.records.journal import LOCK, Entry
from vla_bench.bench.records.journal_tail import JournalTail
from vla_bench.bench.records.provenance import tries_of
from vla_bench.bench.records.result_set import JOURNAL, PROVENANCE

State = Literal["starting", "running", "complete", "ended", "lost"]
QUIET_SECONDS = 120.0
"""Time without a record after which it is said how long ago the last one came."""


class WatchedRun:
    """Follows the journal in ``folder``. ResultSetError: there is none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._tail = JournalTail(folder / JOURNAL)
        self._tries = tries_of(folder / PROVENANCE)
        self._now = time.time()
        self.totals = self._begin()

    @property
    def header(self) -> Mapping[str, Any]:
        """The journal's."""
        return self._tail.header

    def look(self) -> None:
        """Takes in what happened since the last look."""
        known, tries = len(self._tail.entries), self._tries
        another = self._tail.look()
        self._tries = tries_of(self.folder / PROVENANCE) or tries
        if another or len(self._tries) != len(tries):
            self.totals = self._begin()
            return
        self._take(self._tail.entries[known:])
        self._name_workers()
        self._now = time.time()

    @property
    def state(self) -> State:
        """What is going on there."""
        totals = self.totals
        if totals.finished >= totals.planned:
            return "complete"
        if self._tries and self._tries[-1].get("ended"):
            return "ended"
        if writer_is_gone(self.folder):
            return "lost"
        return "running" if totals.finished_now or totals.workers_started else "starting"

    def remark(self) -> str:
        """What else should be known; empty when all goes on as it should."""
        match self.state:
            case "starting":
                return "no worker is ready yet"
            case "lost":
                return (
                    f"the process that wrote here ({_holder(self.folder)}) is gone; the same command finishes the rest"
                )
            case "running" if self._tail.entries and self._now - self._tail.entries[-1].time > QUIET_SECONDS:
                minutes = (self._now - self._tail.entries[-1].time) / 60
                return f"the last episode ended {minutes:.0f} min ago"
        return ""

    def _begin(self) -> RunningTotals:
        """The totals of the last try, those before it counted as earlier ones."""
        entries = self._tail.entries
        started = _unix(self._tries[-1]["started"]) if self._tries else 0.0
        before = [entry for entry in entries if entry.time < started]
        earlier: dict[int, EpisodeRecord] = {}
        for _, record in before:
            if record.index not in earlier or earlier[record.index].status == "error":
                earlier[record.index] = record
        judged = [record for record in earlier.values() if record.status == "done"]
        self._now = started or (entries[0].time if entries else time.time())
        missing = int(self.header["episodes"]) - len(judged)
        totals = RunningTotals(self.header, list(earlier.values()), missing, lambda: self._now, watched=True)
        self.totals = totals
        self._name_workers()
        self._take(entries[len(before) :])
        self._now = time.time()
        return totals

    def _take(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._now = entry.time
            self.totals.take(EpisodeFinished(entry.record))

    def _name_workers(self) -> None:
        if not self._tries:
            return
        there = {worker.name for worker in self.totals.workers()}
        for worker in self._tries[-1].get("workers", ()):
            name = str(worker.get("worker", ""))
            if name and name not in there:
                there.add(name)
                self.totals.take(WorkerStarted(name, {}))


def writer_is_gone(folder: Path) -> bool:
    """Whether the process that last wrote here was of this machine, and is there no more."""
    words = _holder(folder).split()
    if len(words) != 4 or words[3] != socket.gethostname() or not words[1].isdecimal():
        return False
    try:
        os.kill(int(words[1]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _holder(folder: Path) -> str:
    """``process 123 on host``, as :func:`vla_bench.bench.records.journal.take_lock` writes it."""
    try:
        return (folder / LOCK).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def _unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
