"""Statistics of pairs: two policies on the same episodes; pure functions of counts.

What two policies find easy or hard is mostly the same, so that the difference on each episode says much
more than the difference of two averages. Tests are two-sided and exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from vla_bench.bench.records.statistics import CONFIDENCE, Mean, mean_of_counts

POWER = 0.8
"""Chance of finding a difference that sample sizes are planned for."""

_NORMAL = NormalDist()
_Z = _NORMAL.inv_cdf(0.5 + CONFIDENCE / 2)


@dataclass(frozen=True, slots=True)
class PairedMean:
    """The mean of a difference over pairs."""

    difference: Mean
    """Second minus first, with its BCa bootstrap interval over pairs; nan when there are none."""
    p: float
    """Of the exact sign-flip test; see :func:`sign_flip`."""
    deviation: float
    """Standard deviation of the differences."""

    @property
    def sign(self) -> int:
        """1 or -1 when the second is better or worse beyond chance, else 0.

        Both the test and the interval must say so; they can differ a little at the border, and for few
        pairs the bootstrap's interval is too narrow.
        """
        if not self.difference.n or self.p >= 1 - CONFIDENCE:
            return 0
        return 1 if self.difference.low > 0 else -1 if self.difference.high < 0 else 0


@dataclass(frozen=True, slots=True)
class PairedRates:
    """Two rates over the same tries, by who succeeded."""

    both: int
    first: int
    """Tries where only the first succeeded."""
    second: int
    """Tries where only the second succeeded."""
    neither: int
    clustered: PairedMean | None = None
    """Their difference, where the pairs come in clusters."""

    @property
    def n(self) -> int:
        """Pairs."""
        return self.both + self.first + self.second + self.neither

    @property
    def p(self) -> float:
        """Of McNemar's exact test, of clusters' sign flips where there are any; 1 without a pair that differs."""
        if self.clustered is not None:
            return self.clustered.p
        return mcnemar(self.first, self.second)

    @property
    def difference(self) -> Mean:
        """Second rate minus first, with Bonett and Price's interval; nan without pairs.

        D. G. Bonett, R. M. Price, "Adjusted Wald confidence interval for a difference of binomial
        proportions based on paired data", Journal of Educational and Behavioral Statistics 37 (2012).
        """
        n = self.n
        if self.clustered is not None:
            return self.clustered.difference
        if not n:
            return Mean(math.nan, 0, math.nan, math.nan)
        up, down = (self.second + 1) / (n + 2), (self.first + 1) / (n + 2)
        half = _Z * math.sqrt((up + down - (up - down) ** 2) / (n + 2))
        low, high = max(-1.0, up - down - half), min(1.0, up - down + half)
        return Mean((self.second - self.first) / n, n, low, high)


def paired_rates(pairs: Sequence[tuple[bool, bool]]) -> PairedRates:
    """Counts pairs of (first succeeded, second succeeded)."""
    both = sum(a and b for a, b in pairs)
    first, second = sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
    return PairedRates(both, first, second, len(pairs) - both - first - second)


def paired_mean(differences: Mapping[int, int], largest: int) -> PairedMean:
    """Mean, interval and test of whole differences, given how often each occurred.

    Args:
        differences: count of each difference, second minus first.
        largest: the largest difference possible; 5 for the lengths of chains of five.
    """
    counts = {value: differences.get(value, 0) for value in range(-largest, largest + 1)}
    n = sum(counts.values())
    if n != sum(differences.values()):
        raise ValueError(f"a difference outside -{largest} to {largest}: {dict(differences)}")
    mean = _mirrored_mean(counts)
    spread = math.fsum(count * (value - mean.value) ** 2 for value, count in counts.items())
    return PairedMean(mean, sign_flip(counts), math.sqrt(spread / (n - 1)) if n > 1 else math.nan)


def _mirrored_mean(counts: Mapping[int, int]) -> Mean:
    """The mean of differences; of the same differences the other way round it is the same with the other sign.

    The bootstrap draws at random, so it is done one way round for both.
    """
    there = tuple(counts[value] for value in sorted(counts))
    back = there[::-1]
    mean = mean_of_counts(counts if there >= back else {-value: count for value, count in counts.items()})
    if there == back:
        half = (mean.high - mean.low) / 2
        return Mean(mean.value, mean.n, -half, half)
    return mean if there > back else Mean(-mean.value, mean.n, -mean.high, -mean.low)


def mcnemar(first: int, second: int) -> float:
    """p of McNemar's exact test: pairs that differ fall to either side like a fair coin.

    Args:
        first: pairs where only the first succeeded.
        second: pairs where only the second succeeded.
    """
    n = first + second
    tail = sum(math.comb(n, k) for k in range(min(first, second) + 1))
    return min(1.0, float(2 * tail / 2**n))


def sign_flip(differences: Mapping[int, int]) -> float:
    """p of the sign-flip (paired permutation) test of whole differences, exact.

    If the two policies were alike, each difference could as well have had the other sign. The sum's
    distribution over all 2^n choices of sign is had without drawing any: differences of size k
    contribute k times a binomial count, and the counts' distributions are convolved.

    R. A. Fisher, "The Design of Experiments" (1935), section 21.
    """
    sizes: dict[int, int] = {}
    for value, count in differences.items():
        if value and count:
            sizes[abs(value)] = sizes.get(abs(value), 0) + count
    total = sum(size * count for size, count in sizes.items())
    observed = abs(sum(value * count for value, count in differences.items()))
    chances = np.ones(1)  # chances[t]: that the differences with a plus sign add up to t
    for size, count in sorted(sizes.items()):
        spaced = np.zeros(size * count + 1)
        spaced[::size] = _coin(count)
        chances = np.convolve(chances, spaced)
    sums = 2 * np.arange(total + 1) - total
    return min(1.0, float(chances[np.abs(sums) >= observed].sum()))


def _coin(n: int) -> np.ndarray:
    """Chance of 0, 1, … n heads in n throws (n + 1,) float64."""
    logs = [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2) for k in range(n + 1)]
    return np.exp(logs)


def holm(chances: Sequence[float]) -> tuple[float, ...]:
    """p values corrected for there being several of them.

    S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 6 (1979). What stays below 0.05 does so with at most 5 % chance of any false one.
    """
    order = sorted(range(len(chances)), key=chances.__getitem__)
    corrected = [1.0] * len(chances)
    largest = 0.0
    for rank, position in enumerate(order):
        largest = max(largest, min(1.0, (len(chances) - rank) * chances[position]))
        corrected[position] = largest
    return tuple(corrected)


def pairs_needed(difference: float, deviation: float, power: float = POWER) -> int:
    """Pairs that show a mean difference with this chance, at the 5 % level.

    The normal approximation, (z_0.975 + z_power)^2 deviation^2 / difference^2; see J. Cohen,
    "Statistical Power Analysis for the Behavioral Sciences" (1988), chapter 2.

    Args:
        difference: the true mean difference, not 0.
        deviation: standard deviation of the differences.
    """
    return max(2, math.ceil(((_Z + _NORMAL.inv_cdf(power)) * deviation / difference) ** 2))


def difference_shown(n: int, deviation: float, power: float = POWER) -> float:
    """The mean difference that n pairs show with this chance; the inverse of :func:`pairs_needed`."""
    return (_Z + _NORMAL.inv_cdf(power)) * deviation / math.sqrt(n)


def expected_deviation(average: float, longest: int) -> float:
    """Standard deviation of the differences to expect, when nothing but an average is known.

    Takes every subtask to be solved with the same chance, and the two policies to have nothing in
    common. Real policies fail on the same episodes, which makes the deviation smaller: a plan made with
    this one is on the safe side.

    Args:
        average: expected average chain length, between 0 and ``longest``.
        longest: subtasks in a whole chain; 1 for single tasks, where ``average`` is the success rate.
    """
    low, high = 0.0, 1.0
    for _ in range(60):
        chance = (low + high) / 2
        if sum(chance**length for length in range(1, longest + 1)) < average:
            low = chance
        else:
            high = chance
    reached = [chance**length for length in range(longest + 1)] + [0.0]
    shares = [reached[length] - reached[length + 1] for length in range(longest + 1)]
    variance = sum(share * (length - average) ** 2 for length, share in enumerate(shares))
    return math.sqrt(2 * variance)
