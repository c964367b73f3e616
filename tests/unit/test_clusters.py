"""Intervals and tests of clustered tries."""

from __future__ import annotations

import numpy as np
import pytest
from result_sets import FACTS, write_chains
from sample_records import task_record
from scipy import stats

from vla_bench.bench.records.clusters import cluster_of, clustered_mean, clustered_pairs, clustered_rate
from vla_bench.bench.records.comparison import compare
from vla_bench.bench.records.lineup import open_sets
from vla_bench.bench.records.paired import paired_mean, paired_rates
from vla_bench.bench.records.statistics import rate
from vla_bench.bench.records.tables import to_markdown


def test_tries_on_their_own_have_the_plain_interval():
    tries = [(str(number), number % 3 == 0) for number in range(30)]
    assert clustered_rate(tries) == rate(10, 30)
    pairs = [(str(number), number % 3 == 0, number % 2 == 0) for number in range(30)]
    assert clustered_pairs(pairs) == paired_rates([(a, b) for _, a, b in pairs])
    differences = [(str(number), number % 3 - 1) for number in range(30)]
    assert clustered_mean(differences, 1) == paired_mean({-1: 10, 0: 10, 1: 10}, 1)


def test_copies_of_a_try_say_no_more_than_one():
    once = [(str(cluster), cluster < 6) for cluster in range(20)]
    copied = clustered_rate(once * 10)
    assert (copied.successes, copied.n, copied.clusters) == (60, 200, 20)
    plain = rate(6, 20)
    assert copied.high - copied.low == pytest.approx(plain.high - plain.low, abs=0.05)
    assert rate(60, 200).high - rate(60, 200).low < 0.4 * (copied.high - copied.low)


def test_all_solved_from_one_start_is_one_try():
    found = clustered_rate([("a", True)] * 30)
    assert (found.low, found.high) == (rate(1, 1).low, 1.0)


def test_alike_tries_within_clusters_never_narrow_the_interval():
    generator = np.random.default_rng(0)
    for _ in range(50):
        tries = [(str(cluster), bool(generator.random() < 0.4)) for cluster in range(12) for _ in range(5)]
        found = clustered_rate(tries)
        plain = rate(found.successes, found.n)
        assert found.high - found.low >= plain.high - plain.low - 1e-12


def test_copies_of_a_difference_are_no_evidence():
    once = [("a", False, True), ("b", False, True), ("c", True, True), ("d", False, True)]
    pairs = clustered_pairs(once * 10)
    assert paired_rates([(a, b) for _, a, b in once * 10]).p < 1e-6
    assert pairs.p == pytest.approx(0.25) and pairs.second == 30
    assert pairs.difference.low < 0.3 and pairs.difference.high == 1.0


def test_order_and_names_do_not_matter():
    tries = [(str(number % 7), number % 5 < 2) for number in range(40)]
    renamed = [(f"x{cluster}", success) for cluster, success in reversed(tries)]
    assert clustered_rate(tries) == clustered_rate(renamed)


def test_an_old_suite_says_what_it_shares():
    facts = {"family": "calvin", "kind": "tasks"}
    one = task_record(0, "open_drawer", "B", success=True)
    assert cluster_of(one, facts) == f"{one.scene}-open_drawer"
    assert cluster_of(one, {**facts, "starts": "varied"}) == one.episode
    assert cluster_of(one, {**facts, "kind": "chains"}) == one.episode
    held = task_record(0, "stack_block", "B", success=True)
    assert cluster_of(held, facts) == held.episode


def test_a_blind_policy_is_marked_and_compared_with_one_that_sees(tmp_path):
    blind = {**FACTS, "policy_switches": {"blind": "true"}}
    seeing = write_chains(tmp_path / "seeing", [3, 2, 5, 1], policy="vla")
    control = write_chains(tmp_path / "control", [1, 0, 2, 1], policy="vla-blind", facts=blind)
    sets = open_sets([str(seeing), str(control)])
    assert list(sets) == ["vla", "vla-blind (blind control)"]
    assert compare(*reversed(sets.values())).averages == (1.0, 2.75)
    assert "blind control" in to_markdown(sets["vla-blind (blind control)"].summary)
    assert "blind" not in to_markdown(sets["vla"].summary)


def test_the_interval_of_clustered_tries_worked_out_by_hand():
    """Five starts of four tries: Kish's number of independent tries, and Wilson's interval for so many."""
    solved = (4, 3, 1, 0, 2)
    found = clustered_rate((f"start {i}", j < count) for i, count in enumerate(solved) for j in range(4))
    added = 0.5 * 20 / 5
    share = (10 + added) / (20 + 2 * added)
    squares = sum((count - 4 * share) ** 2 for count in solved) + 2 * (added / 2) ** 2
    variance = 5 / 4 * squares / (20 + 2 * added) ** 2
    n = min(20, share * (1 - share) / variance) * (stats.norm.ppf(0.975) / stats.t.ppf(0.975, 4)) ** 2
    z = stats.norm.ppf(0.975)
    half = z * np.sqrt(0.25 / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    assert share == 0.5
    assert (found.low, found.high) == pytest.approx((0.5 - half, 0.5 + half), abs=1e-6)


def test_equal_differences_of_several_starts_leave_what_so_many_leave_open():
    found = clustered_mean([(f"start {i}", 1) for i in range(4) for _ in range(3)], 5).difference
    open_share = rate(0, 4).high
    assert (found.value, found.low, found.high) == pytest.approx((1, 1 - 6 * open_share, 1 + 4 * open_share))


def test_pairs_are_counted_in_their_places():
    outcomes = [(True, True)] * 4 + [(True, False)] * 3 + [(False, True)] * 2 + [(False, False)]
    assert clustered_pairs([(str(i), *each) for i, each in enumerate(outcomes)]) == paired_rates(outcomes)
    together = clustered_pairs([(str(i // 2), *each) for i, each in enumerate(outcomes)])
    assert (together.both, together.first, together.second, together.neither) == (4, 3, 2, 1)


def test_the_interval_of_clustered_differences_worked_out_by_hand():
    for values in ([(1, 2, 0), (-1, 0, 1), (2, 2, 1)], [(1, 2), (0, 0)]):
        listed = [(str(cluster), value) for cluster, each in enumerate(values) for value in each]
        found, n, g = clustered_mean(listed, 5).difference, len(listed), len(values)
        mean = sum(value for _, value in listed) / n
        squares = sum((sum(each) - len(each) * mean) ** 2 for each in values)
        half = stats.t.ppf(0.975, g - 1) * np.sqrt(g / (g - 1) * squares) / n
        wanted = (mean, max(-5, mean - half), min(5, mean + half))
        assert (found.value, found.low, found.high) == pytest.approx(wanted)


@pytest.mark.parametrize("success", [True, False])
def test_starts_that_all_end_alike_count_once_each(success):
    found = clustered_rate((str(i % 4), success) for i in range(12))
    alone = rate(4 * success, 4)
    assert (found.value, found.n, found.clusters) == (float(success), 12, 4)
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high))
