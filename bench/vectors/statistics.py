"""Numbers of one extraction: overall, by dimension, and what can be read off; intervals over episodes.

Definitions, for n vectors flattened to d dimensions:

dead        no value is further from 0 than 1e-6 of the ninth decile, over dimensions, of their root mean squares
constant    not dead, and the dimension's range is at most 1e-6 of its largest value
saturated   neither, and at least half of its values lie at one of its ends or the other: within a thousandth of its
            range and of the end's own value. So the 0 of a rectifier that is off is no such end, and a long tail makes
            none
outlier     in each half of the frames (every other one) its root mean square is above three times the median over
            dimensions that are not dead, and above that median by six robust deviations (1.4826 times the median
            absolute deviation): not for one frame alone, however far out
effective rank   exp of the entropy of the covariance's normalised eigenvalues (Roy & Vetterli, 2007)

Of fewer than :data:`FEW` frames no dimension is called constant or an outlier, of as few different vectors none
saturated. Intervals are those of intervals.py, over episodes. Extremes, tails, the effective rank and what is counted
are of these frames and have none: an extreme of frames that are drawn again is never beyond the one that is there, and
their rank is lower, since some are the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_bench.bench.vectors.intervals import Episodes, Estimate

NEAR = 1e-6
FEW = 10
"""Frames that are too few to say what a dimension does: most of them are an end of what was seen."""
ENOUGH = 0.05
"""Half width of an interval, in deviations, below which a mean or deviation counts as known."""


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
    dead = largest <= NEAR * np.quantile(_size(values), 0.9, method="lower")
    many = len(values) >= FEW
    constant = ~dead & (span <= NEAR * largest) & many
    varies = ~dead & (span > NEAR * largest)
    # Less the one value that is the end.
    at_ends = sum(
        np.where(end != 0, (np.abs(values - end) <= 1e-3 * np.minimum(span, np.abs(end))).sum(0) - 1, 0)
        for end in (low, high)
    )
    saturated = varies & (at_ends >= len(values) / 2) & (len(np.unique(values, axis=0)) >= FEW)
    outlier = _far_out(values[::2], ~dead) & _far_out(values[1::2], ~dead) if many else np.zeros_like(dead)
    with np.errstate(divide="ignore", invalid="ignore"):
        tails = np.where(varies, (((values - mean) / deviation) ** 4).mean(0) - 3, 0.0)
    found = [tuple(int(each) for each in np.flatnonzero(which)) for which in (dead, constant, saturated, outlier)]
    return Dimensions(mean, deviation, low, high, tails, *found)


def _size(values: np.ndarray) -> np.ndarray:
    """(d,) root mean squares."""
    return np.asarray(np.sqrt((values**2).mean(0)))


def _far_out(values: np.ndarray, alive: np.ndarray) -> np.ndarray:
    """(d,) whether a dimension is larger than those that are ``alive`` are."""
    size = _size(values)
    middle = np.median(size[alive]) if alive.any() else 0.0
    spread = 1.4826 * np.median(np.abs(size[alive] - middle)) if alive.any() else 0.0
    return np.asarray(alive & (size > 3 * middle) & (size > middle + 6 * spread))


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
    over = Episodes(episodes, seed)
    middle = float(values.mean())  # numbers near 0 lose no digits in the sums of squares
    near = values - middle
    per_row = np.stack([np.ones(len(values)), near.mean(1), (near**2).mean(1), np.linalg.norm(values, axis=1)], axis=1)
    sums = over.sums(per_row)
    point, drawn = _numbers(sums.sum(0)[None], middle), _numbers(over.draws @ sums, middle)
    return {name: over.estimate(float(value[0]), drawn[name]) for name, value in point.items()}


def _numbers(sums: np.ndarray, middle: float) -> dict[str, np.ndarray]:
    mean, square, length = (sums[:, place] / sums[:, 0] for place in (1, 2, 3))
    return {"mean": middle + mean, "deviation": np.sqrt(np.maximum(square - mean**2, 0)), "length": length}


def curve(
    values: np.ndarray, episodes: Sequence[Any] | np.ndarray, seed: int = 0
) -> list[tuple[int, dict[str, Estimate]]]:
    """The same for the first n frames in an order that keeps episodes together, n doubling."""
    names = np.asarray(episodes)
    return [(n, overall(values[kept], names[kept], seed)) for n, kept in sizes_and_rows(names, seed)]


def sizes_and_rows(names: np.ndarray, seed: int = 0) -> list[tuple[int, np.ndarray]]:
    """25, 50, 100 … frames and all, and which rows these are: episodes at random, each one's frames together."""
    order = np.random.default_rng(seed).permutation(np.unique(names))
    rank = {name: place for place, name in enumerate(order.tolist())}
    rows = np.argsort([rank[name] for name in names.tolist()], kind="stable")
    sizes = [n for n in (25 * 2**k for k in range(20)) if n < len(rows)] + [len(rows)]
    return [(n, rows[:n]) for n in sizes]


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
