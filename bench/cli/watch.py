"""A run that goes on elsewhere: in another terminal, in a batch system, on another machine with the same disk.

vla-bench watch results/mine-1a2b3c4d
vla-bench watch results                              the run in it that goes on now
vla-bench watch results/ablation-smoke               an ablation, row after row
vla-bench watch results/mine-1a2b3c4d --once         says how far it is, and ends

It reads the run's journal and touches nothing. Numbers are over the episodes that have ended; the run is no
slower for it, and goes on when you stop watching (Ctrl-C).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vla_bench.bench.stopping import INTERRUPTED, INTERRUPTION

if TYPE_CHECKING:
    from rich.console import Console

    from vla_bench.bench.live.watching import WatchedRun

LOOK_SECONDS = 1.0
NEXT_SECONDS = 30.0
"""How long the next row of an ablation is waited for: its workers are begun before its journal."""
LINE_SECONDS = 10.0
"""How often a line is printed where there is no terminal."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the folder."""
    parser.add_argument("folder", type=Path, metavar="RESULT_SET")
    parser.add_argument("--once", action="store_true", help="print the state of things, do not wait")


def run(arguments: argparse.Namespace) -> int:
    """Shows the run until it ends, then its tables; 130 when it ended without being complete."""
    from vla_bench.bench.records.rows import is_ablation

    try:
        if is_ablation(arguments.folder):
            return _watch_ablation(arguments.folder, once=arguments.once)
        return _watch(choose(arguments.folder), once=arguments.once)
    except KeyboardInterrupt:
        print("not watching any more; the run goes on", file=sys.stderr)
        return 0


def _watch(folder: Path, *, once: bool) -> int:
    from rich.console import Console

    from vla_bench.bench.live.display import standard_error
    from vla_bench.bench.live.watching import WatchedRun

    watched = WatchedRun(folder)
    console = standard_error()
    if once:
        _print_state(Console(highlight=False, width=None if sys.stdout.isatty() else 110), watched)
        return 0
    (_draw if console.is_terminal else _print_lines)(console, watched)
    return _end(watched)


def _watch_ablation(folder: Path, *, once: bool) -> int:
    """Shows the row that goes on, then the next one; at the end, or when none does, what became of all."""
    from vla_bench.bench.cli.describe import print_rows, sets_of_rows
    from vla_bench.bench.cli.run import DONE
    from vla_bench.bench.records.rows import read_rows

    looked = time.monotonic() - NEXT_SECONDS  # nobody waits for a run that may never begin
    while True:
        if going := _going_in(folder):
            _watch(going[0], once=once)
            looked = time.monotonic()
        rows = read_rows(folder)
        sets = sets_of_rows(folder, rows)
        complete = all(row in sets and sets[row].summary.complete for row in rows)
        if once or complete or time.monotonic() - looked > NEXT_SECONDS:
            break
        time.sleep(LOOK_SECONDS)
    print_rows(folder, rows, sets)
    if complete or once:
        return DONE
    print(INTERRUPTION, file=sys.stderr)
    return INTERRUPTED


def _going_in(folder: Path) -> list[Path]:
    from vla_bench.bench.live.watching import WatchedRun
    from vla_bench.bench.records.lineup import find_sets

    return [each for each in find_sets(folder) if WatchedRun(each).state in ("starting", "running")]


def choose(folder: Path) -> Path:
    """The result set in ``folder``: itself, or the one below it that is being written.

    Raises:
        ResultSetError: there is none, or there are several.
    """
    from vla_bench.bench.errors import ResultSetError
    from vla_bench.bench.records.lineup import find_sets
    from vla_bench.bench.records.result_set import JOURNAL

    if (folder / JOURNAL).exists():
        return folder
    going = _going_in(folder)
    if len(going) == 1:
        return going[0]
    if not going:
        found = find_sets(folder)
        raise ResultSetError(f"no run in {folder} goes on now; it has {', '.join(each.name for each in found[:8])}")
    raise ResultSetError(f"{len(going)} runs in {folder} go on now; type one of them: {', '.join(map(str, going[:8]))}")


def _going(watched: WatchedRun) -> bool:
    return watched.state in ("starting", "running")


def _draw(console: Console, watched: WatchedRun) -> None:
    from rich.text import Text

    from vla_bench.bench.live.display import full_screen
    from vla_bench.bench.live.screen import title, title_texts
    from vla_bench.bench.live.table import draw

    def opening() -> list[Text]:
        about = Text(f"{watched.folder}: watching; Ctrl-C stops that, not the run", style="dim")
        return [*title_texts(title(watched.header), console.width), about]

    def drawn(width: int, height: int) -> list[Text]:
        remark = watched.remark()
        lines = draw(watched.totals, width, height - bool(remark))
        return [*lines, Text(remark, style="yellow")] if remark else lines

    if _going(watched):
        with full_screen(console, opening, drawn) as live:
            _follow(watched, live.refresh)


def _print_lines(console: Console, watched: WatchedRun) -> None:
    due = 0.0

    def tell() -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + LINE_SECONDS
            console.print(watched.totals.line(), markup=False, soft_wrap=True)

    console.print(f"{watched.folder}: watching; Ctrl-C stops that, not the run", markup=False, soft_wrap=True)
    tell()
    _follow(watched, tell)


def _follow(watched: WatchedRun, tell: Callable[[], None]) -> None:
    while _going(watched):
        time.sleep(LOOK_SECONDS)
        watched.look()
        tell()


def _print_state(console: Console, watched: WatchedRun) -> None:
    from vla_bench.bench.live.screen import title, title_texts
    from vla_bench.bench.live.table import draw

    for line in title_texts(title(watched.header), console.width):
        console.print(line)
    console.print(f"{watched.folder}: {watched.state}\n", markup=False, soft_wrap=True)
    for line in draw(watched.totals, console.width):
        console.print(line)
    if remark := watched.remark():
        console.print(remark, style="yellow", markup=False)


def _end(watched: WatchedRun) -> int:
    from vla_bench.bench.cli.run import DONE, print_tables
    from vla_bench.bench.records.result_set import ResultSet

    result_set = ResultSet.load(watched.folder)
    print_tables(result_set)
    if result_set.summary.complete:
        return DONE
    print(watched.remark() or INTERRUPTION, file=sys.stderr)
    return INTERRUPTED
