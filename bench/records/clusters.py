"""Intervals and tests for tries that come in clusters: states that share a start are no independent tries.

Thirty states of a task from one arm start, solved by a policy that knows one motion by heart, are one try and
not thirty. An episode says which cluster it is of; what is said of a rate or of a difference is then as sure as
the number of clusters allows, and as alike as the tries within a cluster turn out to be. Where every try is a
cluster of its own, all of it is what :mod:`~vla_bench.bench.records.statistics` and
:mod:`~vla_bench.bench.records.paired` say. ``tools/cluster_coverage.py`` simulates how often the intervals are right.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import Any

from vla_bench.bench.families import known_family
from vla_bench.bench.protocol import EpisodeRecord
from vla_bench.bench.records.paired import PairedMean, PairedRates, paired_mean, sign_flip
from vla_bench.bench.records.statistics import CONFIDENCE, Mean, Rate, rate, wilson

_HALF = 0.5 + CONFIDENCE / 2
_Z = NormalDist().inv_cdf(_HALF)
PSEUDO = 0.5
"""Clusters of successes, and of failures, that are added when variance is estimated."""


def cluster_of(record: EpisodeRecord, facts: Mapping[str, Any]) -> str:
    """Name of the record's cluster; its episode's where it is one of its own.

    Of journals from before records said it, the family knows.
    """
    if record.cluster:
        return record.cluster
    family = known_family(facts.get("family"))
    old = family.old_cluster(facts, record) if family is not None and family.old_cluster is not None else ""
    return old or record.episode


def clustered_rate(tries: Iterable[tuple[str, bool]]) -> Rate:
    """The share of successes among tries (cluster, success), with an interval that knows the clusters.

    Wilson's interval for the number of independent tries that would leave the share with the variance it has between
    clusters (L. Kish, "Survey Sampling", 1965; E. L. Korn, B. I. Graubard, "Confidence intervals for proportions with
    small expected number of positive counts estimated from survey data", Survey Methodology 24, 1998, with Wilson's in
    place of Clopper and Pearson's). The variance is the cluster-robust one, G/(G-1) sum (successes - share * tries)^2
    over clusters, with half a cluster of successes and half one of failures added, since few clusters that happen to
    agree would claim too much; never less than that of independent tries; Student's t for G - 1 degrees stands in
    for the normal. Where all tries succeeded, or all failed, each cluster counts as one try; so does a single cluster.
    """
    counts: dict[str, list[int]] = {}
    for cluster, success in tries:
        counted = counts.setdefault(cluster, [0, 0])
        counted[0] += success
        counted[1] += 1
    successes, n = (sum(each[place] for each in counts.values()) for place in (0, 1))
    plain = rate(successes, n)
    if len(counts) == n:
        return plain
    return Rate(successes, n, *wilson(successes / n, _independent(list(counts.values()), successes, n)), len(counts))


def _independent(counts: Sequence[Sequence[int]], successes: int, n: int) -> float:
    """The number of independent tries that say as much as these clusters of (successes, tries)."""
    clusters = len(counts)
    if clusters == 1 or successes in (0, n):
        return clusters
    added = PSEUDO * n / clusters
    share, total = (successes + added) / (n + 2 * added), n + 2 * added
    residuals = [solved - share * tries for solved, tries in counts] + [added - share * added, -share * added]
    variance = clusters / (clusters - 1) * math.fsum(each**2 for each in residuals) / total**2
    return max(1.0, min(n, share * (1 - share) / variance) * (_Z / student(clusters - 1)) ** 2)


def clustered_mean(differences: Iterable[tuple[str, int]], largest: int) -> PairedMean:
    """Mean, interval and test of whole differences (cluster, difference), second minus first.

    The interval is the cluster-robust one with Student's t for G - 1 degrees (K.-Y. Liang, S. L. Zeger, "Longitudinal
    data analysis using generalized linear models", Biometrika 73, 1986); the test flips the signs of whole clusters,
    exactly. Where all differences are equal, the interval says what so many equal clusters leave open.
    """
    listed = list(differences)
    counts = Counter(value for _, value in listed)
    plain = paired_mean(counts, largest)
    clusters: dict[str, list[int]] = {}
    for cluster, value in listed:
        clusters.setdefault(cluster, []).append(value)
    if len(clusters) == len(listed):
        return plain
    p = sign_flip(Counter(sum(values) for values in clusters.values()))
    return PairedMean(_mean(list(clusters.values()), plain.difference.value, largest), p, plain.deviation)


def _mean(clusters: Sequence[Sequence[int]], mean: float, largest: int) -> Mean:
    n = sum(map(len, clusters))
    residuals = [math.fsum(value - mean for value in values) for values in clusters]
    if len(clusters) == 1 or not any(residuals):
        open_share = rate(0, len(clusters)).high
        return Mean(mean, n, mean - (mean + largest) * open_share, mean + (largest - mean) * open_share)
    many = len(clusters)
    spread = math.sqrt(many / (many - 1) * math.fsum(each**2 for each in residuals)) / n
    half = student(many - 1) * spread
    return Mean(mean, n, max(-float(largest), mean - half), min(float(largest), mean + half))


def clustered_pairs(pairs: Iterable[tuple[str, bool, bool]]) -> PairedRates:
    """Pairs (cluster, first succeeded, second succeeded); their test and interval know the clusters."""
    listed = list(pairs)
    both = sum(a and b for _, a, b in listed)
    first, second = sum(a and not b for _, a, b in listed), sum(b and not a for _, a, b in listed)
    neither = len(listed) - both - first - second
    if len({cluster for cluster, _, _ in listed}) == len(listed):
        return PairedRates(both, first, second, neither)
    return PairedRates(both, first, second, neither, clustered_mean([(c, int(b) - int(a)) for c, a, b in listed], 1))


@lru_cache(maxsize=256)
def student(degrees: int) -> float:
    """The 97.5 % quantile of Student's t."""
    from scipy.stats import t

    return float(t.ppf(_HALF, degrees))


def clusters_note(records: Sequence[EpisodeRecord], facts: Mapping[str, Any]) -> str:
    """A sentence on how many starts the episodes share; empty when each has its own."""
    clusters = {cluster_of(record, facts) for record in records}
    if len(clusters) == len(records) or not records:
        return ""
    return (
        f"{len(records)} episodes share {len(clusters)} starts of the arm: intervals and tests count what is alike "
        "within a start once"
    )
