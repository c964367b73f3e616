"""What can be read off vectors by a linear map, on episodes that it was not fitted to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_bench.bench.vectors.intervals import Episodes, Estimate

FOLDS = 5
CLASSES = ("task", "gripper", "success")
NUMBERS = ("x", "y", "z", "position")


@dataclass(frozen=True)
class Probe:
    """How well something is read off."""

    what: str
    measure: str
    score: Estimate
    chance: float
    n: int
    drawn: np.ndarray
    """(repeats,) scores of draws of episodes; the same draws for every extraction of the same frames."""


def probes(values: np.ndarray, rows: Any, folds: int = FOLDS, seed: int = 0) -> list[Probe]:
    """Ridge probes of a table's columns, cross-validated by episode.

    Classes are scored by balanced accuracy (chance: 1 over their number), numbers by R² (chance: 0). Intervals draw
    episodes of what was predicted again; the maps are not fitted again.

    Args:
        values: (n, d).
        rows: n rows of an extraction.
    """
    found = []
    for name in (*CLASSES, *NUMBERS):
        if name not in rows or rows[name].isna().all():
            continue
        classes = name in CLASSES
        there = rows[name].notna().to_numpy()
        target = rows[name][there].to_numpy()
        target = (target > 0) if name == "gripper" else target
        target = target.astype(str) if classes else target.astype(float)
        probe = _probe(name, values[there], target, rows["episode"][there].to_numpy(), folds, seed)
        found += [probe] if probe is not None else []
    return found


def better(first: Probe, second: Probe, episodes: Episodes) -> Estimate:
    """How much more the second reads off than the first, of the same frames."""
    return episodes.estimate(second.score.value - first.score.value, second.drawn - first.drawn)


def _probe(
    name: str, values: np.ndarray, target: np.ndarray, episodes: np.ndarray, folds: int, seed: int
) -> Probe | None:
    from sklearn.linear_model import RidgeClassifierCV, RidgeCV
    from sklearn.model_selection import GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classes = name in CLASSES
    kinds = np.unique(target)
    if len(np.unique(episodes)) < folds or len(kinds) < 2:
        return None
    strengths = 10.0 ** np.arange(-1, 5)
    said = np.empty(len(target), target.dtype)
    for fit, held in GroupKFold(folds).split(values, target, episodes):
        if len(np.unique(target[fit])) < 2:
            return None
        map_ = RidgeClassifierCV(strengths, class_weight="balanced") if classes else RidgeCV(strengths)
        said[held] = make_pipeline(StandardScaler(), map_).fit(values[fit], target[fit]).predict(values[held])
    over = Episodes(episodes, seed)
    if classes:
        of_kind = target[:, None] == kinds[None]
        per_row = np.concatenate([of_kind & (said == target)[:, None], of_kind], axis=1).astype(float)
        score, measure, chance = _balanced, "balanced accuracy", 1 / len(kinds)
    else:
        # Numbers near 0 lose no digits in the sums of squares.
        target, said = target - target.mean(), said - target.mean()
        per_row = np.stack([(target - said) ** 2, target**2, target, np.ones(len(target))], axis=1)
        score, measure, chance = _r2, "R²", 0.0
    sums = over.sums(per_row)
    drawn = score(over.draws @ sums)
    point = float(score(sums.sum(0)[None])[0])
    within = (0.0, 1.0) if classes else (-math.inf, 1.0)
    return Probe(name, measure, over.estimate(point, drawn, within), chance, len(target), drawn)


def _balanced(sums: np.ndarray) -> np.ndarray:
    """(r, 2 C) hits and rows by class to (r,): mean recall of the classes that are there."""
    hits, there = np.split(sums, 2, axis=1)
    with np.errstate(invalid="ignore"):
        return np.nanmean(np.where(there > 0, hits / np.where(there > 0, there, 1), np.nan), axis=1)


def _r2(sums: np.ndarray) -> np.ndarray:
    """(r, 4) squared errors, squares, numbers and rows to (r,)."""
    errors, squares, numbers, n = sums.T
    spread = squares - numbers**2 / n
    return 1 - errors / np.where(spread > 0, spread, np.nan)
