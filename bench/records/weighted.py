"""The difference of two scores whose parts count alike, over pairs: each part as the score weights it.

Pooling the pairs would let a part with many episodes speak for the others, and could name the wrong policy.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from vla_bench.bench.records.clusters import student
from vla_bench.bench.records.paired import PairedMean, sign_flip
from vla_bench.bench.records.statistics import Mean, wilson

DRAWS = 20_000
"""Choices of sign that are drawn where there are too many to try all."""
ALL_SIGNS = 12
"""Clusters that differ, up to which all choices of sign are tried."""
SEED = 0


@dataclass(frozen=True, slots=True)
class Pair:
    """What two policies made of one episode."""

    part: str
    """What it is averaged in; the same share for all of its pairs."""
    cluster: str
    share: float
    """Of the number."""
    difference: int
    """Second minus first."""


def weighted_mean(pairs: Sequence[Pair], largest: int) -> PairedMean:
    """Mean of the differences by their shares, its interval, and the sign-flip test of clusters.

    The interval is that of a stratified mean (W. G. Cochran, "Sampling Techniques", 3rd ed., 1977, section 5.4),
    cluster-robust, with Student's t for as many degrees as there are clusters beyond parts; a part of a single cluster
    is held against the mean of all (section 5A.12). Where there is no spread at all, the interval says what so many
    equal pairs leave open. The test is exact up to :data:`ALL_SIGNS` clusters that differ and where all weigh alike;
    else drawn with a fixed seed, and never 0 (B. Phipson, G. K. Smyth, "Permutation p-values should never be zero",
    Statistical Applications in Genetics and Molecular Biology 9, 2010).

    Args:
        pairs: with a share; at least one.
        largest: the largest difference possible.
    """
    total = math.fsum(pair.share for pair in pairs)
    mean = math.fsum(pair.share * pair.difference for pair in pairs) / total
    parts: defaultdict[str, defaultdict[str, list[Pair]]] = defaultdict(lambda: defaultdict(list))
    for pair in pairs:
        parts[pair.part][pair.cluster].append(pair)
    variance = math.fsum(_variance(list(clusters.values()), mean) for clusters in parts.values()) / total**2
    n, many = len(pairs), sum(map(len, parts.values()))
    if variance:
        half = student(max(1, many - len(parts))) * math.sqrt(variance)
        low, high = max(-float(largest), mean - half), min(float(largest), mean + half)
    else:
        worth = many / n * total**2 / math.fsum(pair.share**2 for pair in pairs)
        open_share = wilson(0.0, worth)[1]
        low, high = mean - (mean + largest) * open_share, mean + (largest - mean) * open_share
    sums = [math.fsum(p.share * p.difference for p in group) for each in parts.values() for group in each.values()]
    return PairedMean(Mean(mean, n, low, high), _sign_flip(sums), math.sqrt(variance * n))


def _variance(clusters: Sequence[Sequence[Pair]], mean: float) -> float:
    """Of the sum of share times difference over the clusters of a part."""
    pairs = [pair for cluster in clusters for pair in cluster]
    many = len(clusters)
    if many > 1:
        mean = math.fsum(pair.difference for pair in pairs) / len(pairs)
    sums = (math.fsum(pair.share * (pair.difference - mean) for pair in cluster) for cluster in clusters)
    return (many / (many - 1) if many > 1 else 1.0) * math.fsum(each**2 for each in sums)


def _sign_flip(sums: Sequence[float]) -> float:
    sizes = sorted(abs(each) for each in sums if abs(each) > 1e-15)
    if not sizes:
        return 1.0
    if math.isclose(sizes[0], sizes[-1], rel_tol=1e-9):
        up = sum(each > 1e-15 for each in sums)
        return sign_flip({1: up, -1: len(sizes) - up})
    least = abs(math.fsum(sums)) * (1 - 1e-9)
    if len(sizes) <= ALL_SIGNS:
        signs = np.array(list(product((-1.0, 1.0), repeat=len(sizes))))
        return float(np.mean(np.abs(signs @ np.array(sizes)) >= least))
    generator = np.random.default_rng(SEED)
    values, counts = np.unique(np.round(sizes, 15), return_counts=True)
    flipped = 2 * generator.binomial(counts, 0.5, size=(DRAWS, len(counts))) - counts
    return float((1 + np.count_nonzero(np.abs(flipped @ values) >= least)) / (1 + DRAWS))
