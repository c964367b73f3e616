"""Several learning rates and weight decays: a run for each, and which was best."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from vla_bench.bench.errors import ConfigError

GRID = ("learning_rate", "weight_decay")
"""Fields of ``train`` that take several values; the paper's grid is 1e-4, 2e-5, 1e-5 and 0, 0.1."""


@dataclass(frozen=True, slots=True)
class GridRow:
    """One run of a grid."""

    choice: str
    """What was typed for it."""
    words: tuple[str, ...]


def expand(words: Sequence[str]) -> list[GridRow]:
    """One row for each combination of the values given; a single one, with no choice, where there is no grid.

    Raises:
        ConfigError: a run's name or another field is given for several rows.
    """
    options: list[list[tuple[str, str]]] = []
    for word in words:
        name, _, values = word.partition("=")
        field = name.removeprefix("train.")
        several = name.startswith("train.") and field in GRID and "," in values
        listed = values.strip("[]").split(",") if several else [values]
        options.append(
            [(f"{name}={value.strip()}" if "=" in word else word, name if several else "") for value in listed]
        )
    rows = [
        GridRow(" ".join(word for word, several in chosen if several), tuple(word for word, _ in chosen))
        for chosen in itertools.product(*options)
    ]
    if len(rows) > 1 and any(word.startswith("run.name=") for word in words):
        raise ConfigError("run.name is one folder, and these are several runs; drop it, they name themselves")
    return rows
