"""Intervals over episodes.

Frames of one episode are no independent samples, so whole episodes are drawn again (cluster bootstrap), and an interval
reaches Student's t (G - 1 degrees of freedom for G episodes) times the draws' standard error to either side: the draws'
own quantiles would carry the bias that drawing twice gives to distances, which are never below 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

REPEATS = 400
MOST = 250
"""Groups of episodes that a jackknife leaves out one after the other."""
ANY = (-math.inf, math.inf)


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


class Episodes:
    """Which rows belong together, and how often each group is drawn.

    Args:
        names: (n,) of each row's episode.
        seed: Of the draws.
        repeats: Their number.
    """

    def __init__(self, names: Sequence[Any] | np.ndarray, seed: int = 0, repeats: int = REPEATS) -> None:
        _, self.group = np.unique(np.asarray(names).astype(str), return_inverse=True)
        self.count = int(self.group.max()) + 1
        self._order = np.argsort(self.group, kind="stable")
        self._first = np.searchsorted(self.group[self._order], np.arange(self.count))
        generator = np.random.default_rng(seed)
        self.draws = generator.multinomial(self.count, np.full(self.count, 1 / self.count), repeats).astype(float)
        """(repeats, G): how often each episode is in each draw."""

    def merged(self) -> Episodes:
        """The same, with episodes put together at random where there are more than a jackknife needs."""
        if self.count <= MOST:
            return self
        place = np.random.default_rng(0).permutation(self.count) % MOST
        return Episodes(place[self.group], repeats=0)

    def sums(self, per_row: np.ndarray) -> np.ndarray:
        """(n, k) numbers of rows as (G, k) of episodes."""
        return np.add.reduceat(per_row[self._order], self._first, axis=0)

    def half(self, drawn: np.ndarray) -> np.ndarray:
        """(repeats, ...) drawn values to the (...) half widths; infinite where there is one episode."""
        from scipy import stats

        if self.count < 2:
            return np.full(drawn.shape[1:], math.inf)
        reach = stats.t.ppf(0.975, self.count - 1) * math.sqrt(self.count / (self.count - 1))
        return reach * drawn.std(0, ddof=1)

    def estimate(
        self, value: float, drawn: np.ndarray, within: tuple[float, float] = ANY, wider: float = 1.0
    ) -> Estimate:
        """Of (repeats,) drawn values; an interval ends where the number cannot be; of one episode it has no end.
        ``wider``: what the draws know nothing of, as a factor of the standard error."""
        return _within(value, wider * float(self.half(drawn)), within)

    def around(self, value: float, error: float, within: tuple[float, float] = ANY) -> Estimate:
        """Of a number and its standard error; both ends, and the number, are moved to where it can be."""
        from scipy import stats

        half = float(stats.t.ppf(0.975, self.count - 1)) * error if self.count > 1 else math.inf
        return _within(value, half, within)

    def growing(self, value: float, error: float, first: float, within: tuple[float, float] = ANY) -> Estimate:
        """Of a number whose variance grows with it: ``first`` of the squared standard error is in proportion to it.

        The upper end is that of a score interval (as Wilson's of a share): the number from which ``value`` lies t of
        *its own* standard errors away. The lower end is t standard errors of ``value`` away: near 0 such numbers are
        skewed as chi-squared is, which takes back what a score would raise it by.
        """
        from scipy import stats

        reach = float(stats.t.ppf(0.975, self.count - 1))
        slope = reach**2 * first / (2 * max(value, error)) if error > 0 else 0.0
        ends = value - reach * error, value + slope + math.hypot(reach * error, slope)
        low, high = (min(max(end, within[0]), within[1]) for end in ends)
        return Estimate(min(max(value, within[0]), within[1]), low, high)

    def ratio(self, top: np.ndarray, under: np.ndarray, within: tuple[float, float] = ANY) -> Estimate:
        """Of the sums of (n,) rows: a mean where ``under`` is all ones."""
        sums = self.sums(np.stack([top, under], axis=1))
        whole, drawn = sums.sum(0), self.draws @ sums
        there = drawn[:, 1] != 0
        if not whole[1] or there.sum() < 2:
            return Estimate(math.nan, math.nan, math.nan)
        return self.estimate(float(whole[0] / whole[1]), drawn[there, 0] / drawn[there, 1], within)


def _within(value: float, half: float, within: tuple[float, float]) -> Estimate:
    if half == math.inf:
        return Estimate(value, -math.inf, math.inf)
    low, high = (min(max(end, within[0]), within[1]) for end in (value - half, value + half))
    return Estimate(min(max(value, within[0]), within[1]), low, high)
