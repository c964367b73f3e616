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
from vla_bench.bench.live.totals import RunningTotals, clock_text
from vla_bench.bench.records.tables import counted

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from vla_bench.bench.records.journal import JournalContents

LINE_SECONDS = 10.0
"""How often a plain line says how far the run is."""
WORKERS_SHOWN = 12
"""Workers that get a line of their own in the live table."""


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
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
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
        """Prints the last state, unless it has been printed."""
        if self._totals is not None and self._totals.finished_now != self._shown and self._totals.missing_at_start:
            self._line()

    def _line(self) -> None:
        assert self._totals is not None
        self._next_line = time.monotonic() + LINE_SECONDS
        self._shown = self._totals.finished_now
        self._say(self._totals.line())

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, soft_wrap=True)


class LiveScreen:
    """A table that is redrawn in place; mishaps scroll by above it."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live

        self._console = console
        self._totals: RunningTotals | None = None
        self._lock = threading.Lock()  # rich redraws from a thread of its own
        self._stopping = ""
        self._live = Live(
            console=console, get_renderable=self._draw, refresh_per_second=4, transient=True, screen=False
        )

    def begin(self, folder: Path, header: Mapping[str, Any], contents: JournalContents, missing: int) -> None:
        """Prints the title and starts to draw."""
        first, *others = opening_lines(folder, header, contents, missing)
        self._console.print(first, style="bold", markup=False)
        for line in others:
            self._console.print(line, style="dim", markup=False)
        self._totals = RunningTotals(header, contents.records, missing)
        if missing:
            self._live.start()

    def take(self, event: Event) -> None:
        """Counts the event; the next redrawing shows it."""
        assert self._totals is not None
        with self._lock:
            self._totals.take(event)
        if isinstance(event, StopAsked):
            self._stopping = mishap(event)
        elif isinstance(event, WorkerStarted) and "remark" in event.info:
            if self._totals.workers_started == 1:  # all workers' first decisions are alike
                self._console.print(f"note: {event.info['remark']}", style="yellow", markup=False)
        elif text := mishap(event):
            self._console.print(text, style="yellow", markup=False)

    def end(self) -> None:
        """Takes the table away; the final one is printed by whoever asked for the run."""
        if self._live.is_started:
            self._live.stop()
            assert self._totals is not None
            self._console.print(self._totals.line(), style="dim", markup=False)

    def _draw(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        if self._totals is None:
            return Text("")
        with self._lock:
            parts = draw(self._totals)
        if self._stopping:
            parts.append(Text(self._stopping, style="bold yellow"))
        return Group(Text(""), *parts)


def draw(totals: RunningTotals) -> list[RenderableType]:
    """The live table: progress, the numbers so far, where the time goes, one line per worker."""
    from rich import box
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    bar = Table.grid(padding=(0, 2))
    bar.add_row(
        ProgressBar(total=max(totals.planned, 1), completed=totals.finished, width=30, complete_style="green"),
        Text(f"{totals.finished}/{totals.planned}", style="bold"),
        Text(f"ETA {totals.eta_text()}"),
        Text(f"{totals.steps_per_second():.0f} steps/s"),
        Text(f"errors {totals.errors}", style="red" if totals.errors else ""),
        Text(f"retries {totals.retries}", style="yellow" if totals.retries else ""),
    )
    numbers = Table(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    cells = totals.numbers()
    for name, _, _ in cells:
        numbers.add_column(name, justify="right", min_width=9)
    numbers.add_row(*(Text(value, style="bold") for _, value, _ in cells))
    numbers.add_row(*(Text(interval, style="dim") for _, _, interval in cells))
    workers = Table.grid(padding=(0, 2))
    listed = totals.workers()
    for worker in listed[:WORKERS_SHOWN]:
        workers.add_row(
            Text(worker.name, style="dim"),
            Text(worker.episode or worker.state),
            Text(f"step {worker.steps}" if worker.episode else "", justify="right"),
            Text(clock_text(worker.seconds()) if worker.episode else "", style="dim"),
            Text(f"{worker.finished} done", style="dim"),
        )
    parts: list[RenderableType] = [bar, numbers]
    if shares := totals.shares():
        parts += [_share_bar(shares), Text("")]
    if len(listed) > WORKERS_SHOWN:
        workers.add_row(Text(f"and {len(listed) - WORKERS_SHOWN} more", style="dim"))
    return [*parts, workers]


def _share_bar(shares: list[tuple[str, float]]) -> RenderableType:
    """One coloured bar of where the workers' time went, with its legend."""
    from rich.text import Text

    colours = ("cyan", "magenta", "green", "yellow", "blue")
    bar, legend = Text(), Text()
    for (name, share), colour in zip(shares, colours, strict=True):
        if share < 0.005:
            continue
        bar.append("█" * round(20 * share), style=colour)
        legend.append("  ■ ", style=colour).append(f"{name} {100 * share:.0f} %")
    return Text.assemble(bar, legend)


def opening_lines(folder: Path, header: Mapping[str, Any], contents: JournalContents, missing: int) -> list[str]:
    """What is run, where to, what is there already, and what must be known about the numbers."""
    facts, identity = header["protocol"]["facts"], header["identity"]
    title = [header["benchmark"], header["policy"]]
    title += [f"trained on {identity['split']}"] if identity["split"] != "none" else []
    title += [f"seed {identity['seed']}", f"{facts['assets']} assets", f"renderer {facts['renderer']}"]
    there = sum(record.status == "done" for record in contents.records)
    state = (
        f"{counted(missing, 'episode')} to run"
        if not there
        else f"{counted(there, 'episode')} judged already, {missing} to run"
    )
    if not missing and there == header["episodes"]:
        state = f"complete, all {there} episodes are judged; nothing to run"
    lines = [" · ".join([*title, f"protocol {header['protocol']['hash']}"]), f"{folder}: {state}"]
    if contents.damaged:
        numbers = ", ".join(map(str, contents.damaged))
        lines.append(f"{folder}: the journal is damaged in line {numbers}; those episodes are run again")
    return lines + [f"note: {note}" for note in header["notes"]]


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
