"""Comparisons of scores whose parts count alike: no part speaks for another."""

import math

import numpy as np
import pytest
from result_sets import FACTS, write_chains

from vla_bench.bench.errors import ProtocolMismatch
from vla_bench.bench.protocol import to_plain
from vla_bench.bench.records.comparison import compare
from vla_bench.bench.records.comparison_tables import to_markdown
from vla_bench.bench.records.result_set import ResultSet
from vla_bench.bench.records.weighted import Pair, weighted_mean
from vla_bench.bench.score import Score, pooled

TASKS = {**FACTS, "kind": "tasks"}


def score(names, how="alike"):
    large, small = Score("large", episodes=tuple(names[:90])), Score("small", episodes=tuple(names[90:]))
    return Score("average", how, (large, small))


def load(folder, lengths, policy, errors=(), of=score):
    names = [f"seq-{index:04d}" for index in range(len(lengths))]
    protocol = {"name": "x", "hash": policy, "facts": TASKS, "score": to_plain(of(names))}
    written = write_chains(folder, lengths, policy=policy, facts=TASKS, longest=1, errors=errors, protocol=protocol)
    return ResultSet.load(written)


def test_a_large_part_does_not_speak_for_a_small_one(tmp_path):
    first = load(tmp_path / "a", [1] * 50 + [0] * 40 + [0] * 10, "first")
    second = load(tmp_path / "b", [1] * 45 + [0] * 45 + [1] * 10, "second")
    found = compare(first, second)
    assert found.averages == pytest.approx((50 / 90 / 2, (45 / 90 + 1) / 2))
    assert found.average.difference.value == pytest.approx((-5 / 90 + 1) / 2)
    assert found.average.sign == 1 and found.weighted and "weighted as the score has them" in to_markdown([found])
    back = compare(second, first)
    assert back.average.difference.value == -found.average.difference.value and back.average.p == found.average.p
    pooled_sets = [load(tmp_path / name, lengths, name, of=pooled) for name, lengths in (("c", [1, 0]), ("d", [1, 1]))]
    assert not compare(*pooled_sets).weighted


def test_unjudged_episodes_bound_it_by_their_share(tmp_path):
    first = load(tmp_path / "a", [0] * 100, "first")
    second = load(tmp_path / "b", [0] * 100, "second", errors=(99,))
    bounds = compare(first, second).bounds
    assert bounds is not None and (bounds.low, bounds.high) == pytest.approx((0, 0.05))


def test_scores_that_make_other_numbers_are_named(tmp_path):
    first = load(tmp_path / "a", [1] * 100, "first")
    second = load(tmp_path / "b", [1] * 100, "second", of=lambda names: score(names, "pooled"))
    with pytest.raises(ProtocolMismatch, match=r"score average \(alike of large, small\) / average \(pooled of"):
        compare(first, second)
    same = load(tmp_path / "c", [1] * 100, "third", of=lambda names: Score("mean", "alike", score(names).parts))
    assert not compare(first, same).fields, "another name makes no other number"


def test_part_of_a_run_is_no_other_score(tmp_path):
    whole, part = load(tmp_path / "a", [1] * 100, "first"), load(tmp_path / "b", [1] * 95, "second")
    assert not compare(whole, part).fields


def test_interval_and_test_hold_their_level():
    """Two alike policies on parts of 60 and 6: about one in twenty comparisons may call them different."""
    generator = np.random.default_rng(5)
    wrong = outside = 0
    for _ in range(300):
        pairs = [
            Pair(part, f"{part}{place}", 0.5 / n, int(generator.integers(-1, 2)))
            for part, n in (("large", 60), ("small", 12))
            for place in range(n)
        ]
        found = weighted_mean(pairs, 1)
        wrong += found.p < 0.05
        outside += not found.difference.low <= 0 <= found.difference.high
    assert wrong / 300 <= 0.08 and outside / 300 <= 0.09


def test_few_signs_are_all_tried_and_equal_pairs_leave_something_open():
    pairs = [Pair("a", "1", 0.3, 1), Pair("a", "2", 0.3, 1), Pair("b", "3", 0.4, 1)]
    found = weighted_mean(pairs, 1)
    assert found.p == 2 / 8
    assert found.difference.value == pytest.approx(1) and found.difference.low < 0.6 and found.deviation == 0
    same = weighted_mean([Pair("a", str(place), 1 / 3, value) for place, value in enumerate((1, 1, -1))], 1)
    assert same.p == 1.0 and math.isclose(same.difference.value, 1 / 3)
