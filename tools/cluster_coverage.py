"""How often intervals of clustered tries hold the truth: ``python -m tools.cluster_coverage``.

Clusters' own success rates are beta-distributed about the true one with a given intraclass correlation; 0 is tries
that know nothing of each other, 1 is copies. Printed beside the interval that takes all tries to be independent.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator

import numpy as np

from vla_bench.bench.records.clusters import clustered_mean, clustered_rate
from vla_bench.bench.records.statistics import rate

CLUSTERS, CORRELATIONS, RATES = (8, 20, 34, 136), (0.0, 0.3, 0.8), (0.5, 0.8, 0.95)


def draws(generator: np.random.Generator, true: float, correlation: float, clusters: int) -> np.ndarray:
    """Success rates (clusters,) of clusters whose tries are as alike as ``correlation`` says."""
    if correlation == 0:
        return np.full(clusters, true)
    strength = (1 - correlation) / correlation
    return generator.beta(true * strength, (1 - true) * strength, clusters)


def rates_covered(true: float, correlation: float, clusters: int, tries: int, repeats: int) -> tuple[float, float]:
    """Share of repeats whose interval holds the true rate: ours, and that of independent tries."""
    generator, hit, plain_hit = np.random.default_rng(0), 0, 0
    for _ in range(repeats):
        solved = generator.binomial(tries, draws(generator, true, correlation, clusters))
        found = clustered_rate((str(c), k < count) for c, count in enumerate(solved) for k in range(tries))
        plain = rate(int(solved.sum()), clusters * tries)
        hit += found.low <= true <= found.high
        plain_hit += plain.low <= true <= plain.high
    return hit / repeats, plain_hit / repeats


def differences_covered(gain: float, correlation: float, clusters: int, tries: int, repeats: int) -> float:
    """The same of the difference of two policies, the second ``gain`` better, on the same starts."""
    generator, hit = np.random.default_rng(0), 0
    for _ in range(repeats):
        first = draws(generator, 0.5, correlation, clusters)
        second = draws(generator, 0.5 + gain, correlation, clusters)
        pairs = list(_differences(generator, first, second, tries))
        found = clustered_mean(pairs, 1).difference
        hit += found.low <= gain <= found.high
    return hit / repeats


def _differences(
    generator: np.random.Generator, first: np.ndarray, second: np.ndarray, tries: int
) -> Iterator[tuple[str, int]]:
    for cluster, (a, b) in enumerate(zip(first, second, strict=True)):
        for _ in range(tries):
            yield str(cluster), int(generator.random() < b) - int(generator.random() < a)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--tries", type=int, default=10, help="of each cluster")
    arguments = parser.parse_args()
    print("clusters  correlation  rate  covered %  as if independent %")
    for clusters, correlation, true in itertools.product(CLUSTERS, CORRELATIONS, RATES):
        ours, plain = rates_covered(true, correlation, clusters, arguments.tries, arguments.repeats)
        print(f"{clusters:8d}  {correlation:11.1f}  {true:4.2f}  {100 * ours:9.1f}  {100 * plain:19.1f}", flush=True)
    print("clusters  correlation  difference  covered %")
    for clusters, correlation, gain in itertools.product(CLUSTERS[1:], CORRELATIONS, (0.0, 0.2)):
        ours = differences_covered(gain, correlation, clusters, arguments.tries, arguments.repeats)
        print(f"{clusters:8d}  {correlation:11.1f}  {gain:10.2f}  {100 * ours:9.1f}", flush=True)


if __name__ == "__main__":
    main()
