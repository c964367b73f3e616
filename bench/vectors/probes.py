"""What can be read off vectors by a linear map, on episodes that it was not fitted to."""

from __future__ import annotations

import math
import warnings
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
    episodes of what was predicted again; that the maps would have been others is allowed for by :func:`wider`.

    Args:
        values: (n, d).
        rows: n rows of an extraction.
    """
    found = []
    for name in (*CLASSES, *NUMBERS):
        there, target = _target(name, rows)
        if there.any() and not _refused(name, target, rows["episode"][there].to_numpy(), folds):
            found.append(_probe(name, values[there], target, rows["episode"][there].to_numpy(), folds, seed))
    return found


def wider(folds: int = FOLDS) -> float:
    """How much wider than the draws say an interval is, for other episodes would have given other maps.

    Nadeau and Bengio's correction of a score's variance, 1 + tested / fitted ("Inference for the generalization error",
    Machine Learning 52, 2003), the folds taken together as one test. ``python -m tools.vector_coverage probes``
    tries it.
    """
    return math.sqrt(1 + 1 / (folds - 1))


def not_read(rows: Any, folds: int = FOLDS) -> str:
    """A sentence on what is in the rows and cannot be read off, and why; empty where all can."""
    told = []
    for name in (*CLASSES, *NUMBERS):
        there, target = _target(name, rows)
        if there.any() and (why := _refused(name, target, rows["episode"][there].to_numpy(), folds)):
            told.append(f"{name} ({why})")
        elif name in rows and (apart := int(rows[name].notna().sum() - there.sum())):
            told.append(f"{name} of {apart} frames (their kind is in one episode alone)")
    return f"Not read off: {', '.join(told)}." if told else ""


def _target(name: str, rows: Any) -> tuple[np.ndarray, np.ndarray]:
    """(n,) whether a row says it, and what these say. A kind that one episode alone has is said by none: no map that is
    fitted to other episodes knows of it."""
    if name not in rows:
        return np.zeros(len(rows), bool), np.empty(0)
    there = rows[name].notna().to_numpy()
    if name not in CLASSES:
        return there, rows[name][there].to_numpy().astype(float)
    kinds = ((rows[name] > 0) if name == "gripper" else rows[name]).astype(str)
    episodes = rows["episode"].groupby(kinds).nunique()
    known = there & kinds.map(episodes).gt(1).to_numpy() if len(episodes) > 2 else there
    return known, kinds[known].to_numpy().astype(str)


def _refused(name: str, target: np.ndarray, episodes: np.ndarray, folds: int) -> str:
    """Why it cannot be read off; empty where it can."""
    if (there := len(np.unique(episodes))) < folds:
        return f"of {there} {'episode' if there == 1 else 'episodes'}, {folds} are wanted"
    if len(np.unique(target)) < 2:
        return "all frames have the same"
    if name in CLASSES and min(len(np.unique(episodes[target == kind])) for kind in np.unique(target)) < 2:
        return "one of two kinds is in one episode alone"
    return ""


def better(first: Probe, second: Probe, episodes: Episodes) -> Estimate:
    """How much more the second reads off than the first, of the same frames."""
    difference = second.score.value - first.score.value
    return episodes.estimate(difference, second.drawn - first.drawn, wider=wider())


def _probe(name: str, values: np.ndarray, target: np.ndarray, episodes: np.ndarray, folds: int, seed: int) -> Probe:
    from sklearn.linear_model import RidgeClassifierCV, RidgeCV
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classes = name in CLASSES
    kinds = np.unique(target)
    strengths = 10.0 ** np.arange(-1, 5)
    said = np.empty(len(target), target.dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of kinds in fewer episodes than groups, and of as many kinds as frames
        parts = StratifiedGroupKFold(folds) if classes else GroupKFold(folds)
        for fit, held in parts.split(values, target, episodes):
            if len(held) == 0:
                continue
            if len(np.unique(target[fit])) < 2:  # nothing to tell apart: the one kind that is there
                said[held] = target[fit][0]
                continue
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
    return Probe(name, measure, over.estimate(point, drawn, within, wider(folds)), chance, len(target), drawn)


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
