"""How far two samples of the same frames lie from each other, dimension by dimension, and on average.

A distance is never below 0, so that of two samples it is too large: by as much as chance sets them apart. What is
reported has that taken off.

- Kullback-Leibler and Jensen-Shannon divergence, in nats, on a histogram whose edges are quantiles of both samples
  together, with a tenth of a count added to each bin; less their bias by the jackknife over episodes. Of few frames
  there are few bins (:func:`bins_of`): the jackknife takes off the bias of bins that are well filled, and no other.
  Their standard errors are those of the jackknife, less what it counts twice where chance alone sets the samples apart
  (the second-order term of the delta method). The rest of it grows with the root of the divergence, so that the
  upper end is that of a score (Wilson's, for a divergence in place of a share): else intervals of divergences that came
  out small are too narrow. Kullback-Leibler has no interval where it hangs on bins in which the second sample has no
  number: how rare these are there, and so how large it is, is not in the samples.
- Wasserstein's distance, the samples' own W and W* the mean over draws of episodes, which chance has moved twice: of a
  dimension 2 W - W*; the mean over dimensions between the root of 2 W² - W*² (right where all differ alike) and
  W - (W* - W) / (√2 - 1) (right where some differ and others do not), with an interval that has room for both.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vla_bench.bench.vectors.intervals import Episodes, Estimate

BINS = 4, 30
"""The fewest and the most."""
ADDED = 0.1
"""Counts that each bin has more than were counted."""
Divergence = Callable[[np.ndarray, np.ndarray], np.ndarray]
Second = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
ALIKE = 1 / (math.sqrt(2) - 1)
"""What chance adds to a distance of two samples that do not differ, over what it adds when it acts once more."""
ROUNDING = 1e-12
"""What a standard error in nats, or of a CKA, may be where nothing differs."""
NUMBERS_DRAWN = 2e7
"""Numbers that are sorted for the intervals of distances: fewer draws (50 at least) where vectors are wide."""


@dataclass(frozen=True)
class Distances:
    """(d,) arrays, from the first to the second, and their means over dimensions."""

    wasserstein: np.ndarray
    low: np.ndarray
    """Of the intervals of ``wasserstein``."""
    high: np.ndarray
    divergence: np.ndarray
    """Kullback-Leibler, first from second."""
    js: np.ndarray
    mean_wasserstein: Estimate
    mean_js: Estimate
    mean_divergence: Estimate
    unseen: int
    """Dimensions in which the second has no number in a bin of the first, if ``mean_divergence`` has no interval for
    it; else 0."""


def bins_of(frames: int, episodes: int) -> int:
    """As many as have 30 frames of each sample on average, and 3 episodes."""
    return int(np.clip(min(frames // 30, episodes // 3), *BINS))


def distances(a: np.ndarray, b: np.ndarray, names: np.ndarray, seed: int = 0) -> Distances:
    """Of (n, d) and (n, d) numbers of the same frames, and the (n,) episodes of these."""
    over = Episodes(names, seed, int(np.clip(NUMBERS_DRAWN / a.size, 50, 400)))
    wasserstein, low, high, mean_wasserstein = _wasserstein(a, b, over)
    bins = bins_of(len(a), over.count)
    over = over.merged()
    kl = _Jackknifed(over, _kullback_leibler, _curved)
    js = _Jackknifed(over, _jensen_shannon, _curved_evenly)
    unseen = np.empty(a.shape[1])
    for each in range(a.shape[1]):
        counts = [over.sums(count) for count in _counts(a[:, each], b[:, each], bins)]
        unseen[each] = counts[0][:, counts[1].sum(0) == 0].sum() / len(a)
        kl.add(*counts)
        js.add(*counts)
    divergence = kl.mean((0, math.inf))
    # A bin that the second never reached is worth a nat, more or less.
    hangs = float(unseen.mean()) > kl.error > 0
    if hangs:
        divergence = Estimate(divergence.value, -math.inf, math.inf)
    return Distances(
        wasserstein,
        low,
        high,
        np.maximum(kl.values, 0),
        np.maximum(js.values, 0),
        mean_wasserstein,
        js.mean((0, math.log(2))),
        divergence,
        int((unseen > 0).sum()) if hangs else 0,
    )


def divergences(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """KL of ``a`` from ``b``, and Jensen-Shannon, of two samples of independent numbers, in nats."""
    found = distances(a[:, None], b[:, None], np.arange(len(a)))
    return float(found.divergence[0]), float(found.js[0])


def _wasserstein(a: np.ndarray, b: np.ndarray, over: Episodes) -> tuple[np.ndarray, np.ndarray, np.ndarray, Estimate]:
    """By dimension the distance and both ends of its interval, and the mean over dimensions."""
    own = np.abs(np.sort(a, axis=0) - np.sort(b, axis=0)).mean(0)
    drawn = np.empty((len(over.draws), a.shape[1]))
    rows = np.arange(len(a))
    for number, draw in enumerate(over.draws):
        kept = np.repeat(rows, draw[over.group].astype(int))
        drawn[number] = np.abs(np.sort(a[kept], axis=0) - np.sort(b[kept], axis=0)).mean(0)
    found = _loose(own, drawn.mean(0), over.half(drawn))
    mean = _between(float(own.mean()), float(drawn.mean()), float(over.half(drawn.mean(1))))
    return *found, mean


def _loose(own: np.ndarray, twice: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(d,) distances and their intervals, of dimensions of which any may be alike or not.

    What chance adds to ``own`` lies between ``twice - own``, where two samples differ clearly, and that over √2 - 1,
    where they differ by chance alone.
    """
    more = np.maximum(twice - own, 0)
    return np.maximum(own - more, 0), np.maximum(own - more * ALIKE - half, 0), own + half


def _between(own: float, twice: float, half: float) -> Estimate:
    """The mean over dimensions: between what it is if all differ alike, and if some do and others not at all."""
    if not math.isfinite(half):
        return Estimate(own, 0.0, math.inf)
    apart = max(own - max(twice - own, 0) * ALIKE, 0)
    square = 2 * own**2 - twice**2
    low, alike, high = (
        math.sqrt(max(each, 0)) for each in (square - 2 * half * twice, square, square + 2 * half * twice)
    )
    return Estimate((apart + alike) / 2, min(max(apart - half, 0), low), high)


def _kullback_leibler(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """(…, bins) shares to what each bin adds."""
    return np.asarray(p * np.log(p / q))


def _jensen_shannon(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return sum(0.5 * np.where(each > 0, each * np.log(each / middle), 0.0) for each in (p, q))  # type: ignore[return-value]


def _curved(p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Second derivatives of a bin's part of Kullback-Leibler's divergence: by p twice, by both, by q twice."""
    return 1 / p, -1 / q, p / q**2


def _curved_evenly(p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same of Jensen and Shannon's."""
    return q / (2 * p * (p + q)), -1 / (2 * (p + q)), p / (2 * q * (p + q))


class _Jackknifed:
    """A divergence of each dimension, and their mean with its interval, over episodes."""

    def __init__(self, over: Episodes, kind: Divergence, second: Second) -> None:
        """``kind`` of shares, and its ``second`` derivatives."""
        self._over, self._kind, self._second = over, kind, second
        self._values: list[float] = []
        self._without = np.zeros(over.count)
        self._pairs = np.zeros((over.count, over.count))

    def add(self, p: np.ndarray, q: np.ndarray) -> None:
        """Takes (G, bins) counts of a dimension."""
        groups = self._over.count
        wholes = [each.sum(0) + ADDED for each in (p, q)]
        shares = [whole / whole.sum() for whole in wholes]
        own = float(self._kind(*shares).sum())
        if groups < 2:
            self._values.append(own)
            return
        left = [whole - each for whole, each in zip(wholes, (p, q), strict=True)]
        without = self._kind(*(each / each.sum(1, keepdims=True) for each in left)).sum(1)
        self._values.append(float(groups * own - (groups - 1) * without.mean()))
        self._without += without
        # How an episode moves each bin, and how two of them move the divergence together.
        least = 0.5 / p.sum()
        moved = [
            groups * (each - each.sum(1, keepdims=True) * share) / each.sum()
            for each, share in zip((p, q), shares, strict=True)
        ]
        pp, pq, qq = self._second(*(np.maximum(share, least) for share in shares))
        self._pairs += (moved[0] * pp + moved[1] * pq) @ moved[0].T + (moved[0] * pq + moved[1] * qq) @ moved[1].T

    @property
    def values(self) -> np.ndarray:
        """(d,); may be below 0."""
        return np.array(self._values)

    @property
    def error(self) -> float:
        """Standard error of the mean over dimensions; 0 of one episode."""
        return self._errors()[0]

    def _errors(self) -> tuple[float, float]:
        groups, width = self._over.count, len(self._values)
        if groups < 2:
            return 0.0, 0.0
        without, pairs = self._without / width, self._pairs / width
        spread = (groups - 1) / groups * float(((without - without.mean()) ** 2).sum())
        apart = float((pairs**2).sum() - (np.diag(pairs) ** 2).sum()) / (groups * (groups - 1))
        return degenerate(spread, apart / groups**2)

    def mean(self, within: tuple[float, float]) -> Estimate:
        """Over dimensions."""
        value = float(self.values.mean())
        if self._over.count < 2:
            return self._over.around(value, math.inf, within)
        return self._over.growing(value, *self._errors(), within)


def degenerate(spread: float, pairs: float) -> tuple[float, float]:
    """The standard error of what has a second-order part, and how much of its square is of the first order: a
    jackknife's variance counts the second-order part twice.

    Args:
        spread: Variance that the jackknife gives.
        pairs: Mean square of what two episodes do together, over the squared number of episodes.
    """
    found = math.sqrt(max(spread - pairs / 2, pairs / 2))
    return (found, max(spread - pairs, 0.0)) if found > ROUNDING else (0.0, 0.0)


def _counts(a: np.ndarray, b: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, bins) of 0 and 1: where each number of two samples falls."""
    edges = np.unique(np.quantile(np.concatenate([a, b]), np.linspace(0, 1, bins + 1)))
    bins = max(len(edges) - 1, 1)
    places = [np.clip(np.searchsorted(edges, each, side="right") - 1, 0, bins - 1) for each in (a, b)]
    return np.eye(bins)[places[0]], np.eye(bins)[places[1]]
