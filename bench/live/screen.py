"""What is shown while a run goes on: a live table on a terminal, plain lines anywhere else.

Everything goes to standard error, so that standard output holds the final tables alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from vla_bench.bench.dispatch.events import (
    EpisodeFinished,
    EpisodeRetried,
    Event,
    StopAsked,
    Waiting,
    WorkerLost,
    WorkerStarted,
)
from vla_bench.bench.live.display import full_screen, standard_error
from vla_bench.bench.live.table import draw, flow
from vla_bench.bench.live.totals import RunningTotals
from vla_bench.bench.records.rows import row_of
from vla_bench.bench.records.tables import counted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from vla_bench.bench.records.journal import JournalContents

SEPARATOR = " · "
LINE_SECONDS = 10.0
"""How often a plain line says how far the run is."""


class Screen(Protocol):
    """Shows a run. Called in the driver's thread."""

    def begin(self, folder: Path, header: Mapping[str, Any], contents: JournalContents, missing: int) -> None:
        """A run is about to start or to go on; ``missing`` episodes are to be run."""
        ...

    def take(self, event: Event) -> None:
        """Something happened."""
        ...

    def end(self) -> None:
        """The run is over or given up. Called once after :meth:`begin`, whatever happened."""
        ...


class SilentScreen:
    """Shows nothing; for use from Python."""

    def begin(self, folder: Path, header: Mapping[str, Any], contents: JournalContents, missing: int) -> None:
        """Shows nothing."""

    def take(self, event: Event) -> None:
        """Shows nothing."""

    def end(self) -> None:
        """Shows nothing."""


def make_screen(*, plain: bool = False) -> Screen:
    """A live table when standard error is a terminal and nobody wants it for a debugger, plain lines otherwise."""
    console = standard_error()
    return LiveScreen(console) if console.is_terminal and not plain else PlainScreen(console)


class PlainScreen:
    """One line at the start, one every :data:`LINE_SECONDS`, one per mishap, one at the end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._totals: RunningTotals | None = None
        self._next_line = 0.0
        self._shown = -1

    def begin(self, folder: Path, header: Mapping[str, Any], contents: JournalContents, missing: int) -> None:
        """Says what is run, where to, and what is there already."""
        for line in opening_lines(folder, header, contents, missing):
            self._say(line)
        self._totals = RunningTotals(header, contents.records, missing)
        self._next_line = time.monotonic() + LINE_SECONDS

    def take(self, event: Event) -> None:
        """Prints mishaps at once, and the state of things now and then."""
        assert self._totals is not None
        self._totals.take(event)
        if text := mishap(event):
            self._say(text)
        if isinstance(event, WorkerStarted) and self._totals.workers_started == 1:
            if "remark" in event.info:
                self._say(f"note: {event.info['remark']}")
            self._say(f"first worker ready after {self._totals.elapsed:.1f} s")
        if time.monotonic() >= self._next_line:
            self._line()

    def end(self) -> None:
        """Prints the last state, unless it has been printed or no worker ever started."""
        if self._totals is not None and self._totals.finished_now != self._shown and self._totals.workers_started:
            self._line()

    def _line(self) -> None:
        assert self._totals is not None
        self._next_line = time.monotonic() + LINE_SECONDS
        self._shown = self._totals.finished_now
        self._say(self._totals.line())

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, soft_wrap=True)


class LiveScreen:
    """A table on a screen of its own; mishaps stand below it, and are printed when it goes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._totals: RunningTotals | None = None
        self._lock = threading.Lock()  # rich redraws from a thread of its own
        self._stopping = ""
        self._opening: list[Text] = []
        self._live = full_screen(console, lambda: self._opening, self._draw)

    def begin(self, folder: Path, header: Mapping[str, Any], contents: JournalContents, missing: int) -> None:
        """Prints the title and starts to draw."""
        from rich.text import Text

        first, *others = opening_lines(folder, header, contents, missing)
        self._opening = [*title_texts(first, self._console.width), *(Text(line, style="dim") for line in others)]
        for text in self._opening:
            self._console.print(text)
        self._totals = RunningTotals(header, contents.records, missing)
        if missing:
            self._live.start(refresh=True)

    def take(self, event: Event) -> None:
        """Counts the event; the next redrawing shows it."""
        assert self._totals is not None
        with self._lock:
            self._totals.take(event)
        if isinstance(event, StopAsked):
            self._stopping = mishap(event)
        elif isinstance(event, WorkerStarted) and "remark" in event.info:
            if self._totals.workers_started == 1:  # all workers' first decisions are alike
                self._say(f"note: {event.info['remark']}")
        elif text := mishap(event):
            self._say(text)

    def end(self) -> None:
        """Takes the table away; the final one is printed by whoever asked for the run."""
        if self._live.is_started:
            self._live.stop()
            assert self._totals is not None
        if self._totals is not None and self._totals.workers_started:
            self._console.print(self._totals.line(), style="dim", markup=False)

    def _say(self, line: str) -> None:
        from rich.text import Text

        self._console.print(Text(line, style="yellow"))

    def _draw(self, width: int, height: int) -> list[Text]:
        from rich.text import Text

        if self._totals is None:
            return []
        with self._lock:
            lines = draw(self._totals, width, height - bool(self._stopping))
        return [*lines, Text(self._stopping, style="bold yellow")] if self._stopping else lines


def opening_lines(folder: Path, header: Mapping[str, Any], contents: JournalContents, missing: int) -> list[str]:
    """What is run, where to, what is there already, and what must be known about the numbers."""
    there = sum(record.status == "done" for record in contents.records)
    state = (
        f"{counted(missing, 'episode')} to run"
        if not there
        else f"{counted(there, 'episode')} judged already, {missing} to run"
    )
    if not missing and there == header["episodes"]:
        state = f"complete, all {there} episodes are judged; nothing to run"
    lines = [title(header), f"{folder}: {state}"]
    if contents.damaged:
        numbers = ", ".join(map(str, contents.damaged))
        lines.append(f"{folder}: the journal is damaged in line {numbers}; those episodes are run again")
    return lines + [f"note: {note}" for note in header["notes"]]


def title(header: Mapping[str, Any]) -> str:
    """What is run, in a line."""
    facts, identity = header["protocol"]["facts"], header["identity"]
    row = row_of(header)
    parts = [*([f"row {row}"] if row else []), header["benchmark"], header["policy"]]
    parts += [f"trained on {identity['split']}"] if identity["split"] != "none" else []
    parts += [f"seed {identity['seed']}", f"{facts['assets']} assets", f"renderer {facts['renderer']}"]
    return SEPARATOR.join([*parts, f"protocol {header['protocol']['hash']}"])


def title_texts(line: str, width: int) -> list[Text]:
    """A title for a terminal; where it is too wide, it is parted between its parts."""
    from rich.text import Text

    first, *others = line.split(SEPARATOR)
    return flow([Text(first, style="bold"), *(Text(f"· {part}", style="bold") for part in others)], width, gap=1)


def mishap(event: Event) -> str:
    """One line about something that went wrong or was asked for; empty for anything else."""
    match event:
        case EpisodeRetried(episode, attempt, error):
            return f"{episode.episode}: {error.kind} in attempt {attempt}, will be tried again: {error.message}"
        case EpisodeFinished(record) if record.error is not None:
            return f"{record.episode}: {record.error.kind}, given up: {record.error.message}"
        case WorkerLost(worker, error):
            return f"{worker} is lost: {error.message}"
        case StopAsked(running, dropped):
            what = f"stopping: {counted(running, 'running episode')}"
            return f"{what} dropped" if dropped else f"{what} to finish; Ctrl-C again drops them"
        case Waiting(reason):
            return f"waiting: {reason}"
    return ""
