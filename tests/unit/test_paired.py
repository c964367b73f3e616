"""Paired statistics against scipy and statsmodels, and their level and power by simulation."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from vla_bench.bench.records.paired import (
    PairedMean,
    PairedRates,
    difference_shown,
    expected_deviation,
    holm,
    mcnemar,
    paired_mean,
    paired_rates,
    pairs_needed,
    sign_flip,
)
from vla_bench.bench.records.statistics import Mean


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (3, 9), (10, 10), (40, 70), (310, 251)])
def test_mcnemar_is_statsmodels(first, second):
    theirs = statsmodels_mcnemar([[5, first], [second, 7]], exact=True).pvalue
    assert mcnemar(first, second) == pytest.approx(theirs, abs=1e-12)


def test_sign_flip_is_scipys_over_all_signs():
    generator = np.random.default_rng(3)
    for n in (2, 4, 9, 12):
        differences = generator.integers(-5, 6, n)
        theirs = stats.permutation_test(
            (differences,), np.sum, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
        ).pvalue
        assert sign_flip(Counter(differences.tolist())) == pytest.approx(theirs, abs=1e-12)


def test_sign_flip_of_signs_alone_is_mcnemar():
    assert sign_flip({1: 40, -1: 70, 0: 300}) == pytest.approx(mcnemar(40, 70), abs=1e-12)


def test_sign_flip_of_a_thousand_is_a_distribution():
    assert sign_flip({0: 10}) == 1
    assert sign_flip({5: 500, -5: 500}) == pytest.approx(1)
    assert sign_flip({3: 1000}) < 1e-200


def test_holm_is_statsmodels():
    chances = np.random.default_rng(1).uniform(size=34) ** 3
    assert holm(chances.tolist()) == pytest.approx(multipletests(chances, method="holm")[1])
    assert holm([]) == ()


def test_bootstrap_of_differences_is_scipys():
    differences = np.random.default_rng(2).choice([-5, -2, 0, 1, 4], size=300, p=[0.05, 0.1, 0.6, 0.15, 0.1])
    ours = paired_mean(Counter(differences.tolist()), 5)
    theirs = stats.bootstrap(
        (differences,), np.mean, n_resamples=9999, method="BCa", random_state=np.random.default_rng(1)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert abs(ours.difference.low - theirs.low) < 0.05 * width
    assert abs(ours.difference.high - theirs.high) < 0.05 * width
    assert ours.deviation == pytest.approx(differences.std(ddof=1))


@settings(deadline=None)  # the machine may be busy
@given(st.dictionaries(st.integers(-5, 5), st.integers(0, 40)))
def test_differences_the_other_way_round_mirror_every_number(counts):
    there, back = paired_mean(counts, 5), paired_mean({-value: count for value, count in counts.items()}, 5)
    mirrored = (-there.difference.value, -there.difference.high, -there.difference.low)
    np.testing.assert_array_equal((back.difference.value, back.difference.low, back.difference.high), mirrored)
    np.testing.assert_array_equal((back.p, back.deviation), (there.p, there.deviation))


def test_interval_of_a_paired_difference_of_rates():
    # Bonett and Price by hand: n = 50, 3 and 12 pairs that differ
    ours = PairedRates(both=20, first=3, second=12, neither=15).difference
    up, down = 13 / 52, 4 / 52
    half = 1.959964 * math.sqrt((up + down - (up - down) ** 2) / 52)
    assert (ours.value, ours.low, ours.high) == pytest.approx((9 / 50, up - down - half, up - down + half))


def test_pairs_are_counted_by_who_succeeded():
    pairs = [(True, True), (True, False), (False, True), (False, True), (False, False)]
    assert paired_rates(pairs) == PairedRates(both=1, first=1, second=2, neither=1)
    assert math.isnan(paired_rates([]).difference.value)


def test_policies_that_never_differ_are_not_told_apart_but_leave_something_open():
    alike = paired_mean({0: 100}, 5)
    assert (alike.sign, alike.p, alike.difference.value) == (0, 1, 0)
    assert alike.difference.low < 0 < alike.difference.high


def test_difference_larger_than_possible_is_refused():
    with pytest.raises(ValueError, match="outside -5 to 5"):
        paired_mean({6: 1}, 5)


def test_plan_is_statsmodels_for_large_samples():
    ours = pairs_needed(0.1, 1.7)
    theirs = TTestPower().solve_power(0.1 / 1.7, alpha=0.05, power=0.8)
    assert ours == pytest.approx(theirs, abs=3)
    assert difference_shown(ours, 1.7) == pytest.approx(0.1, rel=1e-3)


def test_expected_deviation_of_single_tasks_is_binomial():
    assert expected_deviation(0.3, 1) == pytest.approx(math.sqrt(2 * 0.3 * 0.7))


def chains(generator, chance, n):
    return np.minimum(generator.geometric(1 - chance, n) - 1, 5)


def found(generator, chances, n, tries):
    """Share of simulated comparisons whose test finds a difference."""
    p = []
    for _ in range(tries):
        first, second = (chains(generator, chance, n) for chance in chances)
        p.append(sign_flip(Counter((second - first).tolist())))
    return np.mean(np.array(p) < 0.05)


def test_level_under_the_null():
    assert 0.03 < found(np.random.default_rng(0), (0.8, 0.8), 60, 2000) < 0.065


def test_power_is_as_planned():
    averages = [sum(chance**k for k in range(1, 6)) for chance in (0.70, 0.76)]
    deviation = expected_deviation(sum(averages) / 2, 5)
    n = pairs_needed(averages[1] - averages[0], deviation)
    assert found(np.random.default_rng(0), (0.70, 0.76), n, 400) == pytest.approx(0.8, abs=0.06)


@pytest.mark.parametrize(
    ("n", "low", "high", "p", "sign"),
    [
        (9, 0.1, 0.5, 0.049, 1),
        (9, -0.5, -0.1, 0.049, -1),
        (9, -0.1, 0.5, 0.049, 0),
        (9, 0.0, 0.5, 0.01, 0),
        (9, -0.5, 0.0, 0.01, 0),
        (9, 0.1, 0.5, 0.051, 0),
        (9, -0.5, -0.1, 0.051, 0),
        (0, 0.1, 0.5, 0.01, 0),
    ],
)
def test_a_sign_needs_the_test_and_the_interval(n, low, high, p, sign):
    assert PairedMean(Mean((low + high) / 2, n, low, high), p, 1.0).sign == sign


def test_one_pair_has_no_deviation():
    assert math.isnan(paired_mean({1: 1}, 5).deviation)
    assert paired_mean({1: 1, 3: 1}, 5).deviation == pytest.approx(math.sqrt(2))
