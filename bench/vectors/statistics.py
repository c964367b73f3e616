"""Numbers of one extraction: overall, by dimension, and what can be read off; intervals over episodes.

Definitions, for n vectors flattened to d dimensions:

dead        no value is further from 0 than 1e-6 of the deviation of all values
constant    not dead, and the dimension's range is at most 1e-6 of its largest value
saturated   neither, and at least half of its values lie within a thousandth of its range from one end
outlier     its root mean square is above three times the median over dimensions, and above that median by six
            robust deviations (1.4826 times the median absolute deviation)
effective rank   exp of the entropy of the covariance's normalised eigenvalues (Roy & Vetterli, 2007)

Frames of one episode are no independent samples: intervals resample episodes (cluster bootstrap), and reach Student's t
(G - 1 degrees of freedom for G episodes) times the bootstrap's standard error to either side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

REPEATS = 400
NEAR = 1e-6
ENOUGH = 0.05
"""Half width of an interval, in deviations, below which a mean or deviation counts as known."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def half(self) -> float:
        """Half the interval's width."""
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Dimensions:
    """By dimension: (d,) arrays, and the numbers of those that are out of order."""

    mean: np.ndarray
    deviation: np.ndarray
    low: np.ndarray
    high: np.ndarray
    tails: np.ndarray
    """Excess kurtosis; 0 for a Gaussian and for what does not vary."""
    dead: tuple[int, ...]
    constant: tuple[int, ...]
    saturated: tuple[int, ...]
    outlier: tuple[int, ...]


def flat(vectors: np.ndarray) -> np.ndarray:
    """(n, ...) to (n, d) float64."""
    return vectors.reshape(len(vectors), -1).astype(np.float64)


def dimensions(values: np.ndarray) -> Dimensions:
    """Of (n, d) finite values."""
    mean, deviation = values.mean(0), values.std(0)
    low, high = values.min(0), values.max(0)
    largest, span = np.abs(values).max(0), high - low
    dead = largest <= NEAR * values.std()
    constant = ~dead & (span <= NEAR * largest)
    varies = ~dead & ~constant
    edge = 1e-3 * span
    saturated = varies & (np.maximum((values <= low + edge).mean(0), (values >= high - edge).mean(0)) >= 0.5)
    size = np.sqrt((values**2).mean(0))
    middle = np.median(size)
    spread = 1.4826 * np.median(np.abs(size - middle))
    outlier = (size > 3 * middle) & (size > middle + 6 * spread)
    fourth = ((values - mean) ** 4).mean(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        tails = np.where(varies, fourth / deviation**4 - 3, 0.0)
    found = [tuple(int(each) for each in np.flatnonzero(which)) for which in (dead, constant, saturated, outlier)]
    return Dimensions(mean, deviation, low, high, tails, *found)


def effective_rank(values: np.ndarray) -> float:
    """Of (n, d) values; 0 when nothing varies."""
    singular = np.linalg.svd(values - values.mean(0), compute_uv=False) ** 2
    if singular.sum() <= 0:
        return 0.0
    shares = singular[singular > 0] / singular.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def overall(values: np.ndarray, episodes: Sequence[Any] | np.ndarray, seed: int = 0) -> dict[str, Estimate]:
    """Mean and deviation of all numbers and the mean length of a vector, with intervals over episodes.

    Args:
        values: (n, d).
        episodes: n names.
    """
    from scipy import stats

    _, group = np.unique(np.asarray(episodes), return_inverse=True)
    groups = int(group.max()) + 1
    per_row = np.stack(
        [np.ones(len(values)), values.mean(1), (values**2).mean(1), np.linalg.norm(values, axis=1)], axis=1
    )
    sums = np.zeros((groups, 4))
    np.add.at(sums, group, per_row)
    weights = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), REPEATS)
    point, drawn = _numbers(sums.sum(0)[None]), _numbers(weights @ sums)
    reach = stats.t.ppf(0.975, max(groups - 1, 1)) * math.sqrt(groups / max(groups - 1, 1))
    found = {}
    for name, value in point.items():
        half = reach * float(drawn[name].std(ddof=1)) if groups > 1 else math.inf
        found[name] = Estimate(float(value[0]), float(value[0]) - half, float(value[0]) + half)
    return found


def _numbers(sums: np.ndarray) -> dict[str, np.ndarray]:
    mean, square, length = (sums[:, place] / sums[:, 0] for place in (1, 2, 3))
    return {"mean": mean, "deviation": np.sqrt(np.maximum(square - mean**2, 0)), "length": length}


def curve(
    values: np.ndarray, episodes: Sequence[Any] | np.ndarray, seed: int = 0
) -> list[tuple[int, dict[str, Estimate]]]:
    """The same for the first n frames in an order that keeps episodes together, n doubling."""
    names = np.asarray(episodes)
    order = np.random.default_rng(seed).permutation(np.unique(names))
    rank = {name: place for place, name in enumerate(order.tolist())}
    rows = np.argsort([rank[name] for name in names.tolist()], kind="stable")
    sizes = [n for n in (25 * 2**k for k in range(20)) if n < len(rows)] + [len(rows)]
    return [(n, overall(values[rows[:n]], names[rows[:n]], seed)) for n in sizes]


def enough(found: dict[str, Estimate], n: int) -> str:
    """The sentence that says whether n frames are enough. Intervals shrink as 1 over the root of n."""
    deviation = found["deviation"].value
    if deviation <= 0:
        return f"{n} frames: nothing varies, so there is nothing to estimate."
    widest = max(found["mean"].half, found["deviation"].half) / deviation
    if not math.isfinite(widest):
        return f"{n} frames are not enough: they are of one episode, which says nothing of others."
    known = f"mean and deviation are known to within {100 * widest:.1f} % of a deviation"
    if widest <= ENOUGH:
        return f"{n} frames are enough: {known}, {100 * ENOUGH:.0f} % are wanted."
    need = math.ceil(n * (widest / ENOUGH) ** 2)
    return f"{n} frames are not enough: {known}; about {need} would bring it to {100 * ENOUGH:.0f} %."


@dataclass(frozen=True, slots=True)
class Probe:
    """How well something is read off by a linear map, on episodes it was not fitted to."""

    what: str
    measure: str
    score: float
    chance: float
    n: int


def probes(values: np.ndarray, rows: Any, folds: int = 5) -> list[Probe]:
    """Ridge probes of a table's columns, cross-validated by episode.

    Classes are scored by balanced accuracy (chance: 1 over their number), numbers by R² (chance: 0).
    """
    wanted = [("task", True), ("gripper", True), ("success", True), ("x", False), ("y", False), ("z", False)]
    found = []
    for name, classes in [*wanted, ("position", False)]:
        if name not in rows or rows[name].isna().all():
            continue
        there = rows[name].notna().to_numpy()
        target = rows[name][there].to_numpy()
        target = (target > 0) if name == "gripper" else target
        target = target.astype(str) if classes else target.astype(float)
        probe = _probe(name, values[there], target, rows["episode"][there].to_numpy(), folds, classes=classes)
        found += [probe] if probe is not None else []
    return found


def _probe(
    name: str, values: np.ndarray, target: np.ndarray, episodes: np.ndarray, folds: int, *, classes: bool
) -> Probe | None:
    from sklearn.linear_model import RidgeClassifierCV, RidgeCV
    from sklearn.metrics import balanced_accuracy_score, r2_score
    from sklearn.model_selection import GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

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
    if classes:
        score = float(balanced_accuracy_score(target, said))
        return Probe(name, "balanced accuracy", score, 1 / len(kinds), len(target))
    return Probe(name, "R²", float(r2_score(target, said)), 0.0, len(target))
