"""Runs policies in environments and keeps the results.

From Python: :func:`evaluate` runs what :func:`bench.presets.load_config` describes, :func:`load` reads the
result set of any run, :func:`compare` says which of two is better.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from bench.config import Config
    from bench.records.comparison import Comparison
    from bench.records.result_set import ResultSet
    from bench.screen import Screen

__all__ = ["compare", "evaluate", "load"]


def load(folder: str | Path) -> ResultSet:
    """Reads a run's folder; see :meth:`bench.records.result_set.ResultSet.load`."""
    from bench.records.result_set import ResultSet

    return ResultSet.load(folder)


def evaluate(config: Config, screen: Screen | None = None) -> ResultSet:
    """Runs what is missing of a run and returns its results; see :func:`bench.runner.evaluate`."""
    from bench import runner

    return runner.evaluate(config, screen)


def compare(first: ResultSet, second: ResultSet, *, anyway: bool = False) -> Comparison:
    """Compares two result sets on shared episodes; see :func:`bench.records.comparison.compare`."""
    from bench.records import comparison

    return comparison.compare(first, second, anyway=anyway)
