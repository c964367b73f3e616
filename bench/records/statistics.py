"""Rates and means with intervals; pure functions of counts.

Everything is computed from counts, never from lists in some order, so that the same records give the
same digits whatever order they came in. Intervals are two-sided at 95 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

CONFIDENCE = 0.95
_NORMAL = NormalDist()
_Z = _NORMAL.inv_cdf(0.5 + CONFIDENCE / 2)

RESAMPLES = 9999
"""Bootstrap resamples."""
BOOTSTRAP_SEED = 0


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of successes with its Wilson interval; the numbers are in [0, 1], nan when n is 0."""

    successes: int
    n: int
    low: float
    high: float
    clusters: int = 0
    """Clusters of tries that the interval knows of; 0: each try is on its own."""

    @property
    def value(self) -> float:
        """Successes over n."""
        return self.successes / self.n if self.n else math.nan

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}] (n = {self.n:,})"


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean with its interval, nan when n is 0."""

    value: float
    n: int
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}] (n = {self.n:,})"


def rate(successes: int, n: int) -> Rate:
    """The share ``successes / n`` with the Wilson score interval.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22
    (1927): behaves at 0 and 1 and for few tries, where the normal approximation does not.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes in {n} tries")
    if n == 0:
        return Rate(0, 0, math.nan, math.nan)
    return Rate(successes, n, *wilson(successes / n, n))


def wilson(share: float, n: float) -> tuple[float, float]:
    """Wilson's score interval of a share of n tries; n need not be whole."""
    shrink = 1 + _Z**2 / n
    centre = (share + _Z**2 / (2 * n)) / shrink
    half = _Z / shrink * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    low = 0.0 if share == 0 else max(0.0, centre - half)
    high = 1.0 if share == 1 else min(1.0, centre + half)
    return low, high


def mean_of_rates(strata: Sequence[tuple[float, int, int]]) -> Mean:
    """A weighted mean of shares, e.g. one over tasks that all count alike, with its interval.

    The interval is Wilson's for the number of tries that would leave a plain share with the variance of
    this mean (L. Kish, "Survey Sampling", 1965: the effective sample size). The shares in that variance have
    one success and one failure added (Laplace), since a share of 0 or 1 would claim certainty. For one
    stratum it is :func:`rate`.

    Args:
        strata: weight, successes and tries of each; those without tries are left out.
    """
    tried = [each for each in strata if each[2]]
    if not tried:
        return Mean(math.nan, 0, math.nan, math.nan)
    total = math.fsum(weight for weight, _, _ in tried)
    n = sum(tries for _, _, tries in tried)
    if all(successes == tries for _, successes, tries in tried):
        share = 1.0
    else:
        share = math.fsum(weight * successes / tries for weight, successes, tries in tried) / total
    smoothed = [(weight / total, (successes + 1) / (tries + 2), tries) for weight, successes, tries in tried]
    centre = math.fsum(weight * each for weight, each, _ in smoothed)
    variance = math.fsum(weight**2 * each * (1 - each) / tries for weight, each, tries in smoothed)
    effective = centre * (1 - centre) / variance
    return Mean(share, n, *wilson(share, effective))


def mean_length(counts: Sequence[int]) -> Mean:
    """The mean of whole numbers 0, 1, …, given how often each occurred, with its interval.

    Args:
        counts: ``counts[k]`` is how many values were k; its length fixes the largest possible value.
    """
    return mean_of_counts(dict(enumerate(counts)))


def mean_of_counts(counts: Mapping[int, int]) -> Mean:
    """The mean of whole numbers, given how often each occurred, with its interval.

    The interval is the bias-corrected and accelerated bootstrap (B. Efron, "Better bootstrap
    confidence intervals", JASA 82, 1987) with a fixed seed. Resampling n values of a few kinds is
    drawing their counts from a multinomial distribution, so it is done on the counts: the same
    distribution as resampling the values, and milliseconds for any n.

    When all values are equal the bootstrap would claim certainty. The interval then says what n equal
    values leave open: a share of at most the Wilson bound of 0 in n could have been as small as the
    smallest or as large as the largest value possible.

    Args:
        counts: how often each value occurred. Its smallest and largest key are the values possible.
    """
    ordered = sorted(counts)
    values = np.asarray(ordered, dtype=np.float64)
    counts_of = np.asarray([counts[value] for value in ordered], dtype=np.int64)
    n = int(counts_of.sum())
    if n == 0:
        return Mean(math.nan, 0, math.nan, math.nan)
    mean = float(counts_of @ values) / n
    if np.count_nonzero(counts_of) == 1:
        open_share = rate(0, n).high
        low, high = mean - (mean - ordered[0]) * open_share, mean + (ordered[-1] - mean) * open_share
        return Mean(mean, n, low, high)
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    resampled = np.sort(generator.multinomial(n, counts_of / n, size=RESAMPLES) @ values / n)
    deviation = values - mean  # leaving one value k out moves the mean by -(k - mean) / (n - 1)
    skew = float(counts_of @ deviation**3) / (6 * float(counts_of @ deviation**2) ** 1.5)
    below = (np.count_nonzero(resampled < mean) + np.count_nonzero(resampled <= mean)) / (2 * RESAMPLES)
    bias = _NORMAL.inv_cdf(min(max(below, 1 / RESAMPLES), 1 - 1 / RESAMPLES))

    def corrected(level: float) -> float:
        z = bias + _NORMAL.inv_cdf(level)
        return float(np.quantile(resampled, _NORMAL.cdf(bias + z / (1 - skew * z))))

    return Mean(mean, n, corrected((1 - CONFIDENCE) / 2), corrected((1 + CONFIDENCE) / 2))


@dataclass(frozen=True, slots=True)
class ChainTable:
    """How far chains of instructions got."""

    rates: tuple[Rate, ...]
    """Share of episodes whose first 1, 2, … subtasks were all solved; the first is the single-task
    success."""
    average: Mean
    """Average chain length."""


def chain_table(lengths: Mapping[int, int], longest: int) -> ChainTable:
    """The chain table of episodes with these chain lengths.

    Args:
        lengths: how many episodes have each chain length.
        longest: subtasks in a whole chain, e.g. 5.
    """
    counts = [lengths.get(length, 0) for length in range(longest + 1)]
    if sum(counts) != sum(lengths.values()):
        raise ValueError(f"a chain length outside 0 to {longest}: {dict(lengths)}")
    n = sum(counts)
    return ChainTable(
        rates=tuple(rate(sum(counts[length:]), n) for length in range(1, longest + 1)),
        average=mean_length(counts),
    )
