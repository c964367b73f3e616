"""The 1000 official evaluation sequences: what each starts from and its five subtasks.

They are read, not drawn: drawing them takes over a minute of rejection sampling, and the result
depends on nothing (``get_sequences`` of calvin fa03f01 seeds itself with 0).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

BlockPlace = Literal["table", "slider_left", "slider_right"]


@dataclass(frozen=True, slots=True)
class Condition:
    """Symbolic initial state of a sequence; the field order is the official one and is hashed."""

    led: int
    lightbulb: int
    slider: Literal["left", "right"]
    drawer: Literal["open", "closed"]
    red_block: BlockPlace
    blue_block: BlockPlace
    pink_block: BlockPlace
    grasped: int = 0


@dataclass(frozen=True, slots=True)
class Sequence:
    """One official sequence."""

    condition: Condition
    subtasks: tuple[str, ...]


@cache
def official_sequences() -> tuple[Sequence, ...]:
    """All 1000, in the order in which every published number was made."""
    text = resources.files("vla_bench.envs.calvin").joinpath("data/sequences.txt").read_text(encoding="ascii")
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return tuple(_parse(line) for line in lines)


def _parse(line: str) -> Sequence:
    condition, subtasks = line.split(" | ")
    led, lightbulb, *places = condition.split()
    return Sequence(Condition(int(led), int(lightbulb), *places), tuple(subtasks.split()))
