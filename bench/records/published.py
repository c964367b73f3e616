"""Published reference numbers (``results/published``): read, checked, given the intervals they left out."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from vla_bench.bench.records.statistics import ChainTable, chain_table

FOLDER = Path(__file__).resolve().parent.parent.parent / "results" / "published"
SEQUENCES = 1000
"""Sequences of every published CALVIN evaluation (the official protocol)."""
SPLITS = {"ABC": "ABC_D", "ABCD": "ABCD_D"}
"""Our names of the training splits, and the files'."""
ROBOTS = {"bridge": "widowx_bridge", "visual_matching": "google_robot"}
"""Our names of SimplerEnv's sets, and the file's."""


@dataclass(frozen=True, slots=True)
class PublishedChain:
    """One row of a published CALVIN table."""

    method: str
    split: str
    """``ABC`` or ``ABCD``."""
    chain: ChainTable
    """Its rates with the intervals that 1000 sequences have. Its average is the sum of the rates."""
    average: float
    """As published."""
    source: str

    @property
    def consistent(self) -> bool:
        """Whether the published average is the sum of the published rates, to its two decimals."""
        return abs(self.average - self.chain.average.value) <= 0.005 + 1e-9


@dataclass(frozen=True, slots=True)
class PublishedSuccess:
    """One bar of a published SimplerEnv chart; how many trials it is over was not said."""

    method: str
    robot: str
    success: float
    source: str


def published_chains(split: str) -> list[PublishedChain]:
    """The published CALVIN rows of a training split, best first; none for a split without any."""
    found = []
    for row in _rows("calvin.csv"):
        if row["split"] != SPLITS.get(split):
            continue
        reached = [SEQUENCES, *(round(SEQUENCES * float(row[f"sr{k}"])) for k in range(1, 6)), 0]
        lengths = {length: reached[length] - reached[length + 1] for length in range(6)}
        chain = chain_table(lengths, 5)
        found.append(PublishedChain(row["method"], split, chain, float(row["avg_len"]), row["source"]))
    return sorted(found, key=lambda each: -each.average)


def published_success(simpler_set: str) -> list[PublishedSuccess]:
    """The published SimplerEnv bars for one of its sets, best first; none for a set without any."""
    found = [
        PublishedSuccess(row["method"], row["robot"], float(row["average_success"]), row["source"])
        for row in _rows("simpler.csv")
        if row["robot"] == ROBOTS.get(simpler_set)
    ]
    return sorted(found, key=lambda each: -each.success)


def _rows(name: str) -> list[dict[str, str]]:
    path = FOLDER / name
    if not path.is_file():  # installed without the repository
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
