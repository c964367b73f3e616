"""Runs policies in environments and keeps the results.

From Python: :func:`evaluate` runs what :func:`vla_bench.bench.setup.presets.load_config` describes,
:func:`load` reads the
result set of any run, :func:`compare` says which of two is better.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if __name__ == "bench":  # in a checkout's folder, by the name it had before 0.2
    # Of this name only ``python -m bench`` is left: a second copy of our modules would share no class with the first.
    __path__ = [f"{__path__[0]}/old_name"]
    warnings.warn("`import bench` is `import vla_bench` now", DeprecationWarning, stacklevel=2)

if TYPE_CHECKING:
    from pathlib import Path

    from vla_bench.bench.live.screen import Screen
    from vla_bench.bench.records.comparison import Comparison
    from vla_bench.bench.records.result_set import ResultSet
    from vla_bench.bench.setup.config import Config

__all__ = ["compare", "evaluate", "load"]


def load(folder: str | Path) -> ResultSet:
    """Reads a run's folder; see :meth:`vla_bench.bench.records.result_set.ResultSet.load`."""
    from vla_bench.bench.records.result_set import ResultSet

    return ResultSet.load(folder)


def evaluate(config: Config, screen: Screen | None = None) -> ResultSet:
    """Runs what is missing of a run and returns its results; see :func:`vla_bench.bench.runner.evaluate`."""
    from vla_bench.bench import runner

    return runner.evaluate(config, screen)


def compare(first: ResultSet, second: ResultSet, *, anyway: bool = False) -> Comparison:
    """Compares two result sets on shared episodes; see :func:`vla_bench.bench.records.comparison.compare`."""
    from vla_bench.bench.records import comparison

    return comparison.compare(first, second, anyway=anyway)
