"""A table on a screen shows every number whole, however narrow the screen."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from vla_bench.bench.records.screen_tables import screen_table
from vla_bench.bench.records.tables import Cell, Table

COLUMNS = ("row", "average chain length", "chains: − one step", "parameters, million", "paper")
ROWS = [
    (
        Cell("one step"),
        Cell("1.38", ("1.20", "1.55")),
        Cell("+0.46", ("+0.32", "+0.62")),
        Cell("3.79"),
        Cell("2.19 (III)"),
    ),
    (
        Cell("blind"),
        Cell("0.92", ("0.79", "1.05")),
        Cell("–"),
        Cell("3.78"),
        Cell("4.12 (III, KosMos interleaved, ABCD_D)"),
    ),
]


def drawn(table: Table, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(screen_table(table))
    return console.file.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 110, 200])
def test_no_number_is_cut(width: int) -> None:
    text = drawn(Table("title", COLUMNS, tuple(ROWS)), width)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    for whole in ("1.38", "1.20, 1.55", "+0.32, +0.62", "3.79", "3.78", "ABCD_D)"):
        assert whole in text
    blocks = text.split("\n\n")
    assert len(blocks) == text.count("blind")
    assert (len(blocks) == 1) == (width >= 110)


def test_a_table_of_names_alone() -> None:
    assert "one step" in drawn(Table("title", COLUMNS[:1], tuple(row[:1] for row in ROWS)), 80)
