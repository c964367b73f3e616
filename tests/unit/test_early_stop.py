"""The interval of a run that may stop early: valid however often one looks."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from sample_records import chain_record, error_record

from vla_bench.bench.records.early_stop import ConfidenceSequence, early_stop


@pytest.mark.parametrize(
    "shares",
    [
        (0.1, 0.1, 0.1, 0.1, 0.1, 0.5),
        (0.0, 0.0, 0.0, 0.0, 0.03, 0.97),
        (0.5, 0.2, 0.1, 0.1, 0.05, 0.05),
        (0.5, 0.0, 0.0, 0.0, 0.0, 0.5),
    ],
)
def test_the_mean_is_hardly_ever_outside_at_any_time(shares):
    """Simulated: in 95 % of runs of 400 episodes the mean is inside after every one of them."""
    mean = sum(length * share for length, share in enumerate(shares)) / 5
    generator = np.random.default_rng(0)
    missed = 0
    for _ in range(200):
        sequence = ConfidenceSequence()
        outside = False
        for length in generator.choice(6, size=400, p=shares):
            sequence.add(length / 5)
            outside = outside or not sequence.low - 1e-12 <= mean <= sequence.high + 1e-12
        missed += outside
    assert missed <= 200 * 0.05
    assert sequence.high - sequence.low < 0.25


def test_where_it_stops_does_not_depend_on_the_order_of_arrival():
    generator = np.random.default_rng(1)
    lengths = generator.choice(6, size=500, p=(0.1, 0.1, 0.1, 0.1, 0.1, 0.5))
    records = [chain_record(index, int(length)) for index, length in enumerate(lengths)]
    records[3] = error_record(3)
    stop = early_stop(records, 0.9, 5)
    assert stop is not None and 50 < stop.n < 500 and stop.judged == stop.n - 1
    judged = [record.chain_length for record in records[: stop.n] if record.status == "done"]
    assert stop.mean == pytest.approx(np.mean(judged))
    assert stop.low < stop.mean < stop.high and stop.high - stop.low <= 0.9
    shuffled = records.copy()
    random.Random(0).shuffle(shuffled)
    assert early_stop(shuffled, 0.9, 5) == stop
    assert early_stop(records[: stop.n], 0.9, 5) == stop
    assert early_stop(records[: stop.n - 1], 0.9, 5) is None
    assert early_stop(records[1:], 0.9, 5) is None, "the first is still to be judged"


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_the_interval_is_the_predictable_plug_in_empirical_bernstein_one(alpha):
    """I. Waudby-Smith and A. Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86 (2024),
    theorem 2, worked out anew after every number, for bets of at most a half."""
    numbers = np.random.default_rng(2).choice(6, size=60, p=(0.2, 0.1, 0.1, 0.1, 0.1, 0.4)) / 5
    sequence, lows, highs = ConfidenceSequence(alpha), [0.0], [1.0]
    for number in numbers:
        sequence.add(number)
    means = [(0.5 + numbers[:n].sum()) / (n + 1) for n in range(len(numbers) + 1)]
    squares = [(numbers[i] - means[i + 1]) ** 2 for i in range(len(numbers))]
    variances = [(0.25 + sum(squares[:n])) / (n + 1) for n in range(len(numbers))]
    for n in range(1, len(numbers) + 1):
        bets = np.array(
            [
                min(math.sqrt(2 * math.log(2 / alpha) / (variances[i] * (i + 1) * math.log(i + 2))), 0.5)
                for i in range(n)
            ]
        )
        psi = (-np.log(1 - bets) - bets) / 4
        spread = sum(4 * (numbers[i] - means[i]) ** 2 * psi[i] for i in range(n))
        centre, margin = (bets * numbers[:n]).sum() / bets.sum(), (math.log(2 / alpha) + spread) / bets.sum()
        lows.append(centre - margin)
        highs.append(centre + margin)
    assert sequence.n == len(numbers) and 0.0 < max(lows) < min(highs) < 1.0
    assert (sequence.low, sequence.high) == pytest.approx((max(lows), min(highs)), abs=1e-12)
