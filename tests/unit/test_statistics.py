import math

import numpy as np
import pytest
from scipy import stats

from vla_bench.bench.records.statistics import chain_table, mean_length, mean_of_rates, rate


@pytest.mark.parametrize("n", [1, 7, 50, 1000])
def test_wilson_interval_is_scipys(n):
    for successes in {0, 1, n // 3, n - 1, n}:
        ours = rate(successes, n)
        theirs = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
        assert ours.value == successes / n


def test_rate_of_nothing_is_not_a_number():
    assert all(math.isnan(number) for number in (rate(0, 0).value, rate(0, 0).low, rate(0, 0).high))


@pytest.mark.parametrize(("successes", "n"), [(3, 2), (-1, 2)])
def test_impossible_counts_are_refused(successes, n):
    with pytest.raises(ValueError, match="successes in"):
        rate(successes, n)


@pytest.mark.parametrize("n", [25, 100, 1000])
@pytest.mark.parametrize("probability", [0.2, 0.6, 0.95])
def test_bootstrap_on_counts_is_the_bootstrap_on_values(n, probability):
    lengths = np.minimum(np.random.default_rng(n).geometric(1 - probability, n) - 1, 5)
    ours = mean_length(np.bincount(lengths, minlength=6))
    theirs = stats.bootstrap(
        (lengths,), np.mean, n_resamples=4999, method="BCa", random_state=np.random.default_rng(1)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours.value == pytest.approx(lengths.mean())
    assert abs(ours.low - theirs.low) < 0.1 * width
    assert abs(ours.high - theirs.high) < 0.1 * width


def test_bootstrap_interval_covers_the_true_mean():
    generator = np.random.default_rng(0)
    probabilities = np.array([0.1, 0.1, 0.1, 0.1, 0.2, 0.4])
    true = probabilities @ np.arange(6)
    intervals = [mean_length(generator.multinomial(100, probabilities)) for _ in range(150)]
    covered = sum(each.low <= true <= each.high for each in intervals)
    assert 0.9 < covered / 150 < 0.99


@pytest.mark.parametrize("length", range(6))
def test_equal_values_do_not_claim_certainty(length):
    few, many = (mean_length([n if k == length else 0 for k in range(6)]) for n in (10, 1000))
    for mean in (few, many):
        assert mean.value == length
        assert mean.low < length or length == 0
        assert mean.high > length or length == 5
    assert many.high - many.low < 0.05 < few.high - few.low


def test_mean_of_nothing_is_not_a_number():
    assert math.isnan(mean_length([0] * 6).value)


def test_chain_table_counts_at_least_as_far():
    table = chain_table({0: 1, 2: 2, 5: 7}, longest=5)
    assert [each.successes for each in table.rates] == [9, 9, 7, 7, 7]
    assert table.average.value == pytest.approx(3.9)
    assert table.average.value == pytest.approx(sum(each.value for each in table.rates))


def test_chain_longer_than_the_longest_is_refused():
    with pytest.raises(ValueError, match="outside 0 to 5"):
        chain_table({6: 1}, longest=5)


def test_numbers_of_nothing_are_of_no_tries():
    assert (rate(0, 0).successes, rate(0, 0).n, rate(3, 4).clusters) == (0, 0, 0)
    for nothing in (mean_of_rates([]), mean_of_rates([(1.0, 0, 0)]), mean_length([0, 0])):
        assert nothing.n == 0 and all(map(math.isnan, (nothing.value, nothing.low, nothing.high)))


def test_a_weighted_mean_of_rates_worked_out_by_hand():
    strata = [(3.0, 1, 4), (1.0, 6, 8), (2.0, 0, 0)]
    found = mean_of_rates(strata)
    smoothed = (0.75, 2 / 6, 4), (0.25, 7 / 10, 8)
    centre = sum(weight * share for weight, share, _ in smoothed)
    variance = sum(weight**2 * share * (1 - share) / tries for weight, share, tries in smoothed)
    n, z = centre * (1 - centre) / variance, stats.norm.ppf(0.975)
    share = 0.75 * 0.25 + 0.25 * 0.75
    middle, half = share + z**2 / (2 * n), z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    assert (found.value, found.n) == (pytest.approx(share), 12)
    assert (found.low, found.high) == pytest.approx(
        ((middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)), abs=1e-9
    )
    assert mean_of_rates([(5.0, 3, 3), (1.0, 2, 2)]).value == 1.0
    assert (mean_of_rates([(1.0, 0, 4), (1.0, 4, 4)]).value, mean_of_rates([(1.0, 0, 4), (1.0, 4, 4)]).n) == (0.5, 8)
