"""The live table as lines that fit: whatever the width, no number is cut and none is dropped.

Lines are cut to fit before they reach the terminal and have no blanks at their ends, so that it is known how many rows
they take after the window has been made narrower (:mod:`vla_bench.bench.live.redrawing`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from vla_bench.bench.live.totals import RunningTotals, WorkerState, clock_text

if TYPE_CHECKING:
    from rich.text import Text

WORKERS_SHOWN = 12
"""Workers that get a line of their own in the live table."""
BAR = 30
"""Characters of the progress bar, where there is room."""
_GAP = 2
_OPTIONAL = {"step": 12, "done": 24, "time": 24}
"""Columns of a worker's line, and how many characters of its instruction come before them."""
_COLOURS = ("cyan", "magenta", "green", "yellow", "blue")


def draw(totals: RunningTotals, width: int, height: int = 100) -> list[Text]:
    """The live table: progress, the numbers so far, where the time goes, one line per worker.

    Args:
        totals: what is known.
        width: characters of the terminal.
        height: its lines; as many workers are left out as it takes.
    """
    from rich.text import Text

    lines = [*_progress(totals, width), Text(""), *_numbers(totals, width), Text("")]
    if shares := totals.shares():
        lines += [*_shares(shares, width), Text("")]
    room = max(2, min(WORKERS_SHOWN + 1, height - len(lines) - 2))
    return [*lines, *_workers(totals, width, room)]


def flow(items: Iterable[Text], width: int, gap: int = _GAP) -> list[Text]:
    """Items one after the other, in as many lines as it takes; what is too wide for a line is cut."""
    from rich.text import Text

    lines: list[Text] = []
    for item in items:
        shown = item.copy()
        shown.truncate(width, overflow="ellipsis")
        if lines and lines[-1].cell_len + gap + shown.cell_len <= width:
            lines[-1].append(" " * gap).append_text(shown)
        else:
            lines.append(Text("").append_text(shown))
    return lines


def _progress(totals: RunningTotals, width: int) -> list[Text]:
    from rich.text import Text

    words = [Text(f"{totals.finished}/{totals.planned}", style="bold")]
    words += [Text(f"ETA {totals.eta_text()}"), Text(f"{totals.steps_per_second():.0f} steps/s")]
    words += [Text(f"errors {totals.errors}", style="red" if totals.errors else "")]
    words += [Text(f"retries {totals.retries}", style="yellow" if totals.retries else "")]
    rest = width - sum(word.cell_len + _GAP for word in words)
    length = min(BAR, rest if rest >= BAR // 3 else width)
    return flow([bar(totals.finished / max(totals.planned, 1), length), *words], width)


def bar(share: float, length: int) -> Text:
    """A share of a line."""
    from rich.text import Text

    filled = round(length * min(max(share, 0.0), 1.0))
    return Text.assemble(("━" * filled, "green"), ("─" * (length - filled), "bright_black"))


def _numbers(totals: RunningTotals, width: int) -> list[Text]:
    """Names, values and intervals below each other, in as many blocks as it takes to cut none of them."""
    from rich.text import Text

    lines: list[Text] = []
    block: list[tuple[str, str, str]] = []
    blocks = [block]
    used = 0
    for cell in totals.numbers():
        wide = max(map(len, cell)) + _GAP
        if block and used + wide - _GAP > width:
            blocks.append(block := [])
            used = 0
        block.append(cell)
        used += wide
    for cells in blocks:
        columns = [max(map(len, cell)) for cell in cells]
        for row, style in enumerate(("", "bold", "dim")):
            line = (" " * _GAP).join(cell[row].rjust(wide) for cell, wide in zip(cells, columns, strict=True))
            lines.append(Text(line.rstrip(), style=style))
    return [line for line in lines if line.plain]


def _shares(shares: Sequence[tuple[str, float]], width: int) -> list[Text]:
    """One coloured bar of where the workers' time went, and its legend."""
    from rich.text import Text

    shown = [(*each, colour) for each, colour in zip(shares, _COLOURS, strict=True) if each[1] >= 0.005]
    legend = [Text.assemble(("■ ", colour), f"{name} {100 * share:.0f} %") for name, share, colour in shown]
    length = min(20, width - sum(each.cell_len + _GAP for each in legend))
    stack = Text.assemble(*(("█" * round(length * share), colour) for _, share, colour in shown))
    return flow([stack, *legend] if length >= 8 else legend, width)


def _workers(totals: RunningTotals, width: int, room: int) -> list[Text]:
    from rich.text import Text

    listed = totals.workers()
    shown = listed if len(listed) <= room else listed[: room - 1]
    lines = _worker_lines(shown, width, chains=int(totals.header["longest"]) > 1)
    if len(shown) < len(listed):
        lines.append(Text(f"and {len(listed) - len(shown)} more", style="dim"))
    return lines


def _worker_lines(workers: Sequence[WorkerState], width: int, *, chains: bool) -> list[Text]:
    """Who does what: the instruction has what room the other columns leave; counts and times give way to it."""
    if not workers:
        return []
    most = max(8, width // 3)
    rows = [
        {
            "name": each.name,
            "episode": _shortened(each.label, most),
            "place": f"{each.position + 1}/{each.subtasks}" if each.episode and chains else "",
            "instruction": each.instruction,
            "step": f"step {each.steps}" if each.episode else "",
            "time": clock_text(each.seconds()) if each.episode else "",
            "done": f"{each.finished} done",
        }
        for each in workers
    ]
    wide = {column: max(len(row[column]) for row in rows) for column in rows[0]}
    instruction, wide["instruction"] = wide["instruction"], 0
    kept = [column for column in wide if column not in _OPTIONAL]

    def left(columns: Sequence[str]) -> int:
        used = [wide[column] + _GAP for column in columns if column != "instruction" and wide[column]]
        return width - sum(used)

    for column, before in _OPTIONAL.items():
        if left([*kept, column]) >= min(instruction, before):
            kept.append(column)
    wide["instruction"] = min(instruction, max(0, left(kept)))
    return [_worker_line(row, {column: wide[column] for column in wide if column in kept}, width) for row in rows]


_RIGHT, _DIM = ("step", "time", "done"), ("name", "time", "done")


def _worker_line(row: dict[str, str], wide: dict[str, int], width: int) -> Text:
    from rich.text import Text

    line = Text("")
    for column, length in wide.items():
        if not length:
            continue
        text = _shortened(row[column], length)
        text = text.rjust(length) if column in _RIGHT else text.ljust(length)
        line.append(text + " " * _GAP, style="dim" if column in _DIM else "italic" if column == "instruction" else "")
    line.rstrip()
    line.truncate(width, overflow="ellipsis")
    return line


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: max(length - 1, 0)].rstrip() + "…"
