"""A summary as tables a person reads, and as Markdown; :mod:`.screen_tables` has them for a terminal.

No number stands without its n and an interval, and no table without what it was measured with.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from vla_bench.bench.latency import quantiles
from vla_bench.bench.records.statistics import Mean, Rate
from vla_bench.bench.records.summary import Bounds, Summary, TaskRate

PARTS = {
    "physics": "physics",
    "rendering": "rendering",
    "policy": "policy",
    "reset": "resets",
    "waiting": "waiting",
}
"""Fields of Timings and how they are called."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A number and what qualifies it."""

    text: str
    interval: tuple[str, str] | None = None
    value: float | None = None
    """In [0, 1], for a colour on the screen."""
    best: bool = False
    """Whether it is the best of its column, and printed bold."""
    name: str = ""
    """Of a cell with footnotes: its text without them."""
    remarks: tuple[str, ...] = ()
    """Their texts, for formats that have none below a table."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under a title; the first column holds names, the others numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""


def counted(number: int, noun: str) -> str:
    """``1 error``, ``2 errors``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def headline(summary: Summary) -> str:
    """One line: what was evaluated, with what."""
    parts = [summary.benchmark, summary.policy, *(["blind control"] if summary.control else [])]
    if summary.split != "none":
        parts.append(f"trained on {summary.split}")
    parts += [f"seed {summary.seed}", f"{summary.assets} assets", f"renderer {summary.renderer}"]
    return " · ".join([*parts, f"protocol {summary.protocol}"])


def counts_line(summary: Summary) -> str:
    """One line: how many episodes were judged, how many could not be."""
    parts = [f"{summary.done} of {summary.planned} episodes judged", counted(summary.errors, "error")]
    if summary.missing:
        parts.append(f"{summary.missing} to run")
    return " · ".join(parts)


def key_line(summary: Summary) -> str:
    """One line: the numbers one quotes."""
    if not summary.done:
        return "no episode was judged, so there is no number"
    parts = []
    if summary.single_task:
        name = "single-task success" if summary.chain else "success over all tasks"
        name = "mean success over tasks" if summary.rows else name
        parts.append(f"{name} {in_line(rate_cell(summary.single_task))} %")
    if summary.chain:
        parts.append(f"average chain length {in_line(mean_cell(summary.chain.average))}")
    return " · ".join([*parts, f"n = {summary.done}"])


def error_lines(summary: Summary, most: int = 10) -> list[str]:
    """Which episodes could not be judged and why, one line each, at most so many."""
    lines = [f"{episode}: {kind}: {message}" for episode, kind, message in summary.error_messages]
    return lines if len(lines) <= most else [*lines[:most], f"… and {len(lines) - most} more in episodes.csv"]


def tables(summary: Summary) -> list[Table]:
    """The tables of a summary, most important first; none when nothing was judged."""
    if not summary.done:
        return []
    if summary.chain:
        made = [chain(summary), per_task(summary)]
    elif summary.rows:
        made = [means(summary)]
        if len({each.name for each in summary.variants}) > 1:
            made.append(variants(summary))
    else:
        made = [suite(summary)]
    return [*made, timing(summary)]


def chain(summary: Summary) -> Table:
    """The chain table: 1/5 … 5/5 and the average chain length."""
    assert summary.chain is not None
    longest = len(summary.chain.rates)
    names = [f"{length}/{longest}" for length in range(1, longest + 1)]
    cells = [*map(rate_cell, summary.chain.rates), mean_cell(summary.chain.average)]
    caption = f"1/{longest} is the single-task success. All with 95 % intervals."
    if summary.chain_bounds:
        *rates, average = summary.chain_bounds
        bounds = [f"{name} {_bounds(bound)}" for name, bound in zip(names, rates, strict=True)]
        bounds.append(f"average {average.low:.2f} to {average.high:.2f}")
        caption += _with_errors(summary, ", ".join(bounds))
    return Table(
        "Solved in a row, % of sequences",
        ("n", *names, "average chain length"),
        ((Cell(str(summary.done)), *cells),),
        caption,
    )


def _with_errors(summary: Summary, bounds: str) -> str:
    return f" Counting {counted(summary.errors, 'error')} as failed, then as solved: {bounds}."


def per_task(summary: Summary) -> Table:
    """Per-task success over the attempts within chains."""
    never = [each.task for each in summary.tasks if not each.rate.n]
    caption = "A task is attempted only when all before it in its sequence were solved."
    return Table(
        "Per-task success, % of attempts",
        ("task", "solved", "n", "%"),
        tuple(_task_row(each) for each in summary.tasks if each.rate.n),
        caption + (f" Never attempted: {', '.join(never)}." if never else ""),
    )


def suite(summary: Summary) -> Table:
    """The task suite: each task in each scene, and over all of them."""
    assert summary.overall is not None
    scenes = list(dict.fromkeys(each.scene for each in summary.cells))
    by_place = {(each.task, each.scene): each.rate for each in summary.cells}
    rows = [
        (
            Cell(each.task),
            *(_count_cell(by_place[each.task, scene]) for scene in scenes),
            Cell(str(each.rate.n)),
            rate_cell(each.rate),
        )
        for each in summary.tasks
    ]
    in_scene = [_sum(by_place[each.task, scene] for each in summary.tasks) for scene in scenes]
    rows.append(
        (
            Cell("all tasks"),
            *(_count_cell(each) for each in in_scene),
            Cell(str(summary.overall.n)),
            rate_cell(summary.overall),
        )
    )
    caption = "With 95 % intervals."
    if summary.overall_bounds:
        caption += _with_errors(summary, f"{_bounds(summary.overall_bounds)} %")
    return Table(
        "Task suite, solved/tried per scene, and % over all scenes",
        ("task", *(f"scene {scene}" for scene in scenes), "n", "%"),
        tuple(rows),
        caption,
    )


def means(summary: Summary) -> Table:
    """Parts that count alike and their means: success after the last step, at any step, and the partial success."""

    def share(value: float | None) -> Cell:
        return Cell("–" if value is None or math.isnan(value) else f"{100 * value:.1f}")

    caption = (
        "Means over variants and tasks, which all count alike, with 95 % intervals. Ever: at any step, "
        "which does not count."
    )
    caption += f" {summary.caption}" if summary.caption else ""
    if summary.overall_bounds:
        caption += _with_errors(summary, f"{_bounds(summary.overall_bounds)} %")
    return Table(
        "Success after the last step, % of trials",
        ("task", "n", "%", "ever %", "partial %"),
        tuple(
            (
                Cell(row.name + ("" if row.counted else " (not counted)")),
                Cell(str(row.success.n)),
                rate_cell(row.success),
                share(row.ever),
                share(row.partial),
            )
            for row in summary.rows
        ),
        caption,
    )


def variants(summary: Summary) -> Table:
    """The parts without a row of their own, beside what they are part of."""
    return Table(
        "Per variant",
        ("task", "variant", "solved", "n", "%"),
        tuple(
            (
                Cell(each.whole),
                Cell(each.name + ("" if each.counted else " (not counted)")),
                Cell(str(each.rate.successes)),
                Cell(str(each.rate.n)),
                rate_cell(each.rate),
            )
            for each in summary.variants
            if each.rate.n
        ),
    )


def timing(summary: Summary) -> Table:
    """Steps per second and where the workers' time went."""
    measured = summary.timing
    steps = max(measured.steps, 1)
    rows = [
        (
            Cell(title),
            Cell(f"{getattr(measured.parts, name):.1f}"),
            Cell(f"{100 * getattr(measured.parts, name) / measured.busy:.1f}" if measured.busy else "–"),
            Cell(f"{1000 * getattr(measured.parts, name) / steps:.3f}"),
        )
        for name, title in PARTS.items()
    ]
    speed = "" if math.isnan(measured.steps_per_second) else f", {measured.steps_per_second:.0f} steps/s"
    took = ""
    if not math.isnan(measured.wall):
        took = f" in {_duration(measured.wall)}, {_duration(measured.startup)} of it to start up"
    return Table(
        "Where the time went",
        ("part", "worker s", "%", "ms/step"),
        tuple(rows),
        f"{measured.steps} steps, {measured.decisions} decisions{took}{speed}.{_latencies(measured.latency)}",
    )


def _latencies(latency: Mapping[str, Mapping[str, int]]) -> str:
    """`` A decision took 12.1 ms (95 %: 14.0, 99 %: 20.3), the model's part of it …``."""
    said = [
        f"{name} {found['median']:.3g} ms (95 %: {found['p95']:.3g}, 99 %: {found['p99']:.3g})"
        for counts, name in ((latency.get("decision"), "A decision took"), (latency.get("model"), "its model"))
        if counts
        for found in (quantiles(counts),)
    ]
    return f" {', '.join(said)}." if said else ""


def to_markdown(summary: Summary) -> str:
    """The whole summary as a Markdown document."""
    lines = [f"# {summary.benchmark} · {summary.policy}", "", headline(summary), "", counts_line(summary)]
    lines += ["", f"**{key_line(summary)}**"]
    for note in summary.notes:
        lines += ["", f"> **{note}**"]
    if summary.error_messages:
        lines += ["", "## Errors", "", *(f"- {line}" for line in error_lines(summary))]
        lines += ["", "Their logs, and how to run one alone: [errors.md](errors.md)"]
    for table in tables(summary):
        lines += ["", f"## {table.title}", "", "| " + " | ".join(table.columns) + " |"]
        lines.append("|:--" + "|--:" * (len(table.columns) - 1) + "|")
        lines += ["| " + " | ".join(in_line(cell) for cell in row) + " |" for row in table.rows]
        if table.caption:
            lines += ["", table.caption]
    return "\n".join(lines) + "\n"


def in_line(cell: Cell) -> str:
    """A cell with its interval behind it."""
    return f"{cell.text} [{', '.join(cell.interval)}]" if cell.interval else cell.text


def percent(share: float) -> str:
    """An end of an interval in percent; 0 and 100 without a decimal, which they would only fill."""
    return f"{100 * share:.1f}" if 0 < share < 1 else f"{100 * share:.0f}"


def rate_cell(of: Rate | Mean) -> Cell:
    """A rate in percent; a dash without tries."""
    if not of.n:
        return Cell("–")
    return Cell(f"{100 * of.value:.1f}", (percent(of.low), percent(of.high)), of.value)


def mean_cell(of: Mean) -> Cell:
    """An average chain length; a dash without episodes."""
    return Cell(f"{of.value:.2f}", (f"{of.low:.2f}", f"{of.high:.2f}")) if of.n else Cell("–")


def _count_cell(of: Rate) -> Cell:
    return Cell(f"{of.successes}/{of.n}", value=of.value) if of.n else Cell("–")


def _bounds(of: Bounds) -> str:
    return f"{100 * of.low:.1f} to {100 * of.high:.1f}"


def _task_row(of: TaskRate) -> tuple[Cell, ...]:
    return (Cell(of.task), Cell(str(of.rate.successes)), Cell(str(of.rate.n)), rate_cell(of.rate))


def _sum(rates: Iterable[Rate]) -> Rate:
    listed: Sequence[Rate] = list(rates)
    successes, n = sum(each.successes for each in listed), sum(each.n for each in listed)
    return dataclasses.replace(listed[0], successes=successes, n=n)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"
