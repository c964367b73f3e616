"""Tables for a terminal."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vla_bench.bench.records.summary import Summary
from vla_bench.bench.records.tables import Table, counts_line, error_lines, headline, key_line, tables

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.table import Table as RichTable
    from rich.text import Text

HEADER_WIDTH = 16
"""Characters of a column's heading on a screen."""
NAME_WIDTH = 30
"""Characters of what a row is called, likewise."""
CELL_WIDTH = 24
"""Characters of words in a cell, likewise."""
WIDEST = 10_000
"""More characters than a table has."""


def to_screen(summary: Summary) -> RenderableType:
    """The summary for a terminal (a rich renderable)."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(headline(summary), style="bold"), Text(counts_line(summary))]
    parts += [Text(note, style="yellow") for note in summary.notes]
    parts += [Text(line, style="red") for line in error_lines(summary)]
    if summary.error_messages:
        parts.append(Text("their logs, and how to run one alone: errors.md", style="red"))
    for table in tables(summary):
        parts += [Text(f"\n{table.title}", style="bold"), screen_table(table)]
        parts += [Text(table.caption, style="dim")] if table.caption else []
    return Group(*parts, Text(f"\n{key_line(summary)}", style="bold"))


def screen_table(table: Table) -> RenderableType:
    """One table for a terminal, without its title and caption. Columns that find no room stand below, behind the names
    of the rows once more."""
    from rich.text import Text

    # A number over its interval, so that a chain table fits 80 columns.
    stacked = len(table.rows) == 1 or any(sum(bool(cell.interval) for cell in row) > 2 for row in table.rows)
    lines: list[list[Text]] = []
    for row in table.rows:
        cells: list[Text] = []
        for cell in row:
            shown = folded(cell.text, CELL_WIDTH if cells else NAME_WIDTH)
            text = Text(shown, style="bold" if cell.best else _colour(cell.value))
            if cell.interval and stacked:
                text.append(f"\n{_between(cell.interval)}", style="dim not bold")
            elif cell.interval and cell.value is None:
                text.append(f" [{', '.join(cell.interval)}]", style="dim not bold")
            elif cell.interval:
                text.append(f" {_bar(cell.value or 0.0)} ").append(f"{'–'.join(cell.interval):>11}", style="dim")
            cells.append(text)
        lines.append(cells)
    first, *rest = table.columns
    names = [column.replace("average chain length", "average\nchain\nlength") for column in rest]
    return _Blocks([first, *(folded(name, HEADER_WIDTH) for name in names)], lines)


@dataclass(frozen=True, slots=True)
class _Blocks:
    """A table that is drawn in as many parts, one below the other, as its width asks for."""

    headers: list[str]
    lines: list[list[Text]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        left = list(range(1, len(self.headers)))
        yield self._part(fitting := self._fitting(left, console, options))
        while left := left[len(fitting) :]:
            yield ""
            yield self._part(fitting := self._fitting(left, console, options))

    def _fitting(self, columns: list[int], console: Console, options: ConsoleOptions) -> list[int]:
        """As many of the columns, from the first on, as there is room for; at least one."""
        anywhere = options.update(max_width=WIDEST)
        for count in range(len(columns), 1, -1):
            if self._part(columns[:count]).__rich_measure__(console, anywhere).maximum <= options.max_width:
                return columns[:count]
        return columns[:1]

    def _part(self, columns: Sequence[int]) -> RichTable:
        from rich import box
        from rich.table import Table as RichTable

        drawn = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for column in (0, *columns):
            drawn.add_column(self.headers[column], justify="right" if column else "left", no_wrap=True)
        for line in self.lines:
            drawn.add_row(*(line[column] for column in (0, *columns)))
        return drawn


def folded(text: str, width: int) -> str:
    """Text in lines of at most ``width`` characters, parted at spaces and after hyphens and underscores.

    Names of policies are long, and a table that is too wide loses its last columns.
    """
    lines = [""]
    for word in re.findall(r"\n|[^\s_-]*[ _-]|[^\s_-]+", text):
        if word == "\n" or len(lines[-1] + word.rstrip()) > width:
            lines.append("")
        lines[-1] += word.strip("\n")
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _between(interval: tuple[str, str]) -> str:
    """An interval's ends; a dash between numbers with signs would be read as one more."""
    return f"[{', '.join(interval)}]" if interval[0][0] in "+−" else "–".join(interval)


def _bar(value: float) -> str:
    """A share as ten characters."""
    return "█" * round(10 * value) + "░" * (10 - round(10 * value))


def _colour(value: float | None) -> str:
    if value is None or math.isnan(value):
        return ""
    return "green" if value >= 0.9 else "yellow" if value >= 0.5 else "red"
