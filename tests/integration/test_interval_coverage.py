"""How often the intervals hold the true number, by simulation and by counting all outcomes."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from tools.cluster_coverage import differences_covered, rates_covered
from vla_bench.bench.records import statistics
from vla_bench.bench.records.paired import PairedRates
from vla_bench.bench.records.statistics import mean_length, rate

CHAINS = {"weak": 0.45, "middling": 0.8, "strong": 0.93}
"""Chance to solve one more subtask; average chain lengths of 0.8, 2.7 and 4.1."""


@pytest.mark.slow
@pytest.mark.parametrize("n", [100, 1000])
@pytest.mark.parametrize("chance", CHAINS.values(), ids=CHAINS)
def test_average_chain_length_is_covered(monkeypatch, n, chance):
    monkeypatch.setattr(statistics, "RESAMPLES", 1999)  # for speed; the ends jitter a little more
    shares = np.array([chance**k * (1 - chance) for k in range(5)] + [chance**5])
    draws = np.random.default_rng(0).multinomial(n, shares, size=2000)
    intervals = [mean_length(counts) for counts in draws.tolist()]
    true = shares @ np.arange(6)
    covered = np.mean([each.low <= true <= each.high for each in intervals])
    assert 0.93 <= covered <= 0.97, covered


@pytest.mark.parametrize("n", [10, 25, 100])
def test_rates_are_covered_as_wilson_intervals_are(n):
    for true in (0.05, 0.3, 0.5, 0.9):
        chances = stats.binom.pmf(np.arange(n + 1), n, true)
        ours = [rate(k, n) for k in range(n + 1)]
        low, high = proportion_confint(np.arange(n + 1), n, method="wilson")
        mine = sum(chance for chance, each in zip(chances, ours, strict=True) if each.low <= true <= each.high)
        assert mine == pytest.approx(chances[(low <= true) & (true <= high)].sum())
        assert mine > 0.9


@pytest.mark.parametrize(("first", "second"), [(0.05, 0.05), (0.1, 0.2), (0.02, 0.3)])
def test_paired_differences_of_rates_are_covered(first, second):
    n, covered = 60, 0.0
    for a in range(n + 1):
        for b in range(n + 1 - a):
            log = math.lgamma(n + 1) - math.lgamma(a + 1) - math.lgamma(b + 1) - math.lgamma(n - a - b + 1)
            log += a * math.log(first) + b * math.log(second) + (n - a - b) * math.log(1 - first - second)
            interval = PairedRates(0, a, b, n - a - b).difference
            covered += math.exp(log) * (interval.low <= second - first <= interval.high)
    assert 0.94 < covered < 0.99


@pytest.mark.parametrize(("clusters", "correlation", "true"), [(20, 0.3, 0.5), (34, 0.8, 0.8), (20, 0.3, 0.8)])
def test_rates_of_clustered_starts_are_covered(clusters, correlation, true):
    ours, plain = rates_covered(true, correlation, clusters, tries=10, repeats=600)
    assert 0.93 <= ours <= 0.97 and plain < 0.85


@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_differences_on_clustered_starts_are_covered(correlation):
    assert 0.93 <= differences_covered(0.2, correlation, clusters=34, tries=5, repeats=400) <= 0.97
