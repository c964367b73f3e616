"""Bounds of the arm's numbers, from the data they are learnt from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vla_bench.envs.calvin.dataset.annotations import Annotation
from vla_bench.envs.calvin.dataset.source import Dataset

SAMPLE = 20_000
"""Frames that are looked at, evenly spaced over the annotations."""
NARROWEST = 0.1
"""Least distance of two bounds, in units of the action, so that a number that hardly changes is not blown up."""


def quantile_bounds(dataset: Dataset, annotations: Sequence[Annotation]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """q01 and q99 of each of the arm's six numbers over annotated frames."""
    frames = np.unique(np.concatenate([np.arange(each.start, each.end) for each in annotations]))
    chosen = frames[np.unique(np.linspace(0, len(frames) - 1, min(SAMPLE, len(frames))).astype(np.int64))]
    arm = dataset.frames(chosen, ("rel_actions",))["rel_actions"][:, :6].astype(np.float64)
    low, high = np.quantile(arm, [0.01, 0.99], axis=0)
    short = np.maximum(NARROWEST - (high - low), 0) / 2
    return tuple((low - short).round(6).tolist()), tuple((high + short).round(6).tolist())
