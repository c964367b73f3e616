"""Comparisons as a person reads them: the verdict in a sentence, then tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vla_bench.bench.records.formats import markdown
from vla_bench.bench.records.paired import POWER, PairedRates, difference_shown, pairs_needed
from vla_bench.bench.records.screen_tables import screen_table
from vla_bench.bench.records.statistics import CONFIDENCE, Mean
from vla_bench.bench.records.tables import Cell, Table, counted

if TYPE_CHECKING:
    from rich.console import RenderableType

    from vla_bench.bench.records.comparison import Comparison

WANTED = {"chains": 0.1, "tasks": 0.05}
"""Difference that a sample size is named for: subtasks per sequence, or share of trials."""
_LOW_P = 1 - CONFIDENCE


def verdict(of: Comparison, wanted: float | None = None) -> str:
    """Who is better and by how much; or how many episodes would show a difference of ``wanted``."""
    episodes, average = _episodes(of.kind), of.average
    interval = f"[{_signed(average.difference.low, of)}, {_signed(average.difference.high, of)}]"
    if average.sign:
        more = "more" if average.sign > 0 else "fewer"
        size = _size(abs(average.difference.value), of.kind)
        low, high = sorted(abs(end) for end in (average.difference.low, average.difference.high))
        what = f"{size} {more} subtasks per sequence" if of.kind == "chains" else f"{size} {more} of the trials"
        sentence = f"{of.second} solves {what} than {of.first} [{_size(low, of.kind)}, {_size(high, of.kind)}]"
        sentence += f", n = {of.pairs} {episodes}."
    else:
        sentence = (
            f"Cannot tell {of.second} from {of.first}: difference {_signed(average.difference.value, of)} "
            f"{interval}, n = {of.pairs} {episodes}.{_how_many(of, wanted or WANTED[of.kind])}"
        )
    if of.bounds is None:
        return sentence
    return (
        f"{sentence} With {counted(of.unjudged, 'unjudged episode')} decided either way: "
        f"{_signed(of.bounds.low, of)} to {_signed(of.bounds.high, of)}."
    )


def _how_many(of: Comparison, wanted: float) -> str:
    deviation = of.average.deviation
    if not deviation or math.isnan(deviation):
        return " They did not differ on any of them." if not of.average.difference.value else ""
    needed = rounded(pairs_needed(wanted, deviation))
    shown = _size(difference_shown(of.pairs, deviation), of.kind)
    return (
        f" About {needed:,} {_episodes(of.kind)} would show a difference of {_size(wanted, of.kind)} "
        f"({POWER:.0%} power); {of.pairs} show one of {shown}."
    )


def comparison_tables(of: Sequence[Comparison]) -> list[Table]:
    """The overview of all comparisons with the same baseline, then each one's details."""
    made = [_overview(of)]
    for each in of:
        made += [_positions(each)] if each.longest > 1 else []
        made += [_per_task(each)] if each.tasks else []
    return made


def warnings(of: Sequence[Comparison]) -> list[str]:
    """What a reader has to know before the numbers."""
    lines = [
        f"NOT MEASURED IN THE SAME WAY: {each.first} / {each.second} differ in {'; '.join(map(str, each.fields))}"
        for each in of
        if each.fields
    ]
    for each in of:
        if each.unshared:
            lines.append(
                f"{each.first} and {each.second} share {each.pairs + each.unjudged} episodes; "
                f"{each.unshared} that only one of them has are left out"
            )
    return list(dict.fromkeys([*lines, *(note for each in of for note in each.notes)]))


def to_markdown(of: Sequence[Comparison], wanted: float | None = None) -> str:
    """A whole Markdown document."""
    lines = [f"# {of[0].benchmark}: {', '.join(each.second for each in of)} against {of[0].first}", ""]
    lines += [f"**{verdict(each, wanted)}**\n" for each in of]
    lines += [f"> **{warning}**\n" for warning in warnings(of)]
    return "\n".join([*lines, *(markdown(table) for table in comparison_tables(of))])


def to_screen(of: Sequence[Comparison], wanted: float | None = None) -> RenderableType:
    """All of it for a terminal (a rich renderable); the verdicts come last, where one looks first."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(warning, style="yellow") for warning in warnings(of)]
    for table in comparison_tables(of):
        parts += [Text(f"\n{table.title}", style="bold"), screen_table(table)]
        parts += [Text(table.caption, style="dim")] if table.caption else []
    return Group(*parts, Text(""), *(Text(verdict(each, wanted), style="bold") for each in of))


def _overview(of: Sequence[Comparison]) -> Table:
    chains = of[0].kind == "chains"
    average = "average chain length" if chains else "success %"
    rows = []
    for each in of:
        a, b = each.averages
        low_p = each.average.p < _LOW_P
        rows.append(
            (
                Cell(f"{each.second} − {each.first}{' †' if each.fields else ''}"),
                Cell(str(each.pairs)),
                Cell(f"{a:.2f}" if chains else f"{100 * a:.1f}"),
                Cell(f"{b:.2f}" if chains else f"{100 * b:.1f}"),
                difference_cell(each.average.difference, chains=chains),
                Cell(p_value(each.average.p), best=low_p),
            )
        )
    caption = "Paired over the episodes that both judged; 95 % BCa bootstrap interval, p of the exact sign-flip test."
    if any(each.weighted for each in of):
        caption = (
            "Paired over the episodes that both judged, their parts weighted as the score has them; 95 % stratified "
            "interval, p of the sign-flip test."
        )
    if any(each.fields for each in of):
        caption += " † not measured in the same way."
    columns = ("pair", "n", f"{average}, first", "second", "difference", "p")
    if len(of) == 1:
        columns = ("pair", "n", of[0].first, of[0].second, "difference", "p")
    title = "Difference of average chain length" if chains else "Difference of success, percentage points"
    return Table(title, columns, tuple(rows), caption)


def _positions(of: Comparison) -> Table:
    rows = tuple(
        (
            Cell(f"{each.length}/{of.longest}"),
            Cell(f"{100 * each.first.value:.1f}"),
            Cell(f"{100 * each.second.value:.1f}"),
            *_pair_cells(each.pairs),
            Cell(p_value(each.pairs.p), best=each.pairs.p < _LOW_P),
        )
        for each in of.positions
    )
    caption = (
        f"n = {of.pairs} sequences. Differences in percentage points, with Bonett and Price's 95 % interval "
        f"for pairs; p of McNemar's exact test. “Only first” counts sequences where {of.first} got that "
        f"far and {of.second} did not."
    )
    columns = ("at least", of.first, of.second, "difference", "only first", "only second", "p")
    return Table(f"Solved in a row, % of sequences: {of.second} − {of.first}", columns, rows, caption)


def _per_task(of: Comparison) -> Table:
    ordered = sorted(of.tasks, key=lambda each: (each.corrected_p, each.pairs.p, each.task))
    rows = tuple(
        (
            Cell(each.task),
            Cell(str(each.pairs.n)),
            Cell(f"{100 * each.first.value:.1f}"),
            Cell(f"{100 * each.second.value:.1f}"),
            difference_cell(each.pairs.difference, chains=False),
            Cell(p_value(each.pairs.p)),
            Cell(p_value(each.corrected_p), best=each.corrected_p < _LOW_P),
        )
        for each in ordered
    )
    over = "attempts that both made at the same place of a sequence" if of.longest > 1 else "trials"
    found = sum(each.corrected_p < _LOW_P for each in of.tasks)
    caption = (
        f"Over the {over}; the likeliest differences first. p of McNemar's exact test, then after Holm's "
        f"correction for {len(of.tasks)} tasks: {found or 'none'} below {_LOW_P:.2f}."
    )
    columns = ("task", "n", of.first, of.second, "difference", "p", "Holm p")
    return Table(f"Per-task success, %: {of.second} − {of.first}", columns, rows, caption)


def _pair_cells(pairs: PairedRates) -> tuple[Cell, ...]:
    return difference_cell(pairs.difference, chains=False), Cell(str(pairs.first)), Cell(str(pairs.second))


def difference_cell(of: Mean, *, chains: bool) -> Cell:
    """A difference of average chain length, or of rates in percentage points, with its interval."""
    scale, digits = (1, 2) if chains else (100, 1)
    text, low, high = (_plus(scale * number, digits) for number in (of.value, of.low, of.high))
    return Cell(text, (low, high))


def p_value(p: float) -> str:
    """A p value with what digits it deserves."""
    return "<0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _plus(number: float, digits: int) -> str:
    """With its sign, a true minus; zero without one."""
    text = f"{number:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def _signed(number: float, of: Comparison) -> str:
    return _plus(number, 2) if of.kind == "chains" else f"{_plus(100 * number, 1)} pp"


def _size(number: float, kind: str) -> str:
    return f"{number:.2f}" if kind == "chains" else f"{100 * number:.1f} pp"


def _episodes(kind: str) -> str:
    return "sequences" if kind == "chains" else "trials"


def rounded(number: int) -> int:
    """Upwards to two digits: a plan is no more exact than that."""
    step = int(10 ** max(0, len(str(number)) - 2))
    return -(-number // step) * step
