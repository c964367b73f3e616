"""Statistics, probes and comparisons of made-up vectors whose answers are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from vla_bench.bench.vectors.comparison import compare_values, holm, kolmogorov_smirnov
from vla_bench.bench.vectors.comparison import enough as enough_to_compare
from vla_bench.bench.vectors.distances import bins_of, distances, divergences
from vla_bench.bench.vectors.intervals import Episodes, Estimate
from vla_bench.bench.vectors.probes import _balanced, not_read, probes
from vla_bench.bench.vectors.similarity import cka_estimate, linear_cka
from vla_bench.bench.vectors.statistics import curve, dimensions, effective_rank, enough, flat, overall


def frames(n, tasks=None):
    """What n frames are: five an episode."""
    return pd.DataFrame(
        {"episode": np.arange(n) // 5, "task": ["t"] * n if tasks is None else tasks, "x": np.linspace(0, 1, n)}
    )


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(0, 1, (500, 40))


def test_planted_dimensions_are_found_and_none_invented(values):
    clean = dimensions(values)
    assert not (clean.dead or clean.constant or clean.saturated or clean.outlier)
    values[:, 3] = 0
    values[:, 7] = 2.5
    values[:, 11] = np.where(values[:, 11] > -0.5, 1.0, values[:, 11])
    values[:, 20] *= 30
    found = dimensions(values)
    assert (found.dead, found.constant, found.saturated, found.outlier) == ((3,), (7,), (11,), (20,))


def test_effective_rank_of_what_has_three_directions():
    generator = np.random.default_rng(1)
    axes = np.linalg.qr(generator.normal(size=(20, 3)))[0]
    assert effective_rank(generator.normal(size=(4000, 3)) @ axes.T) == pytest.approx(3, abs=0.01)
    assert effective_rank(np.ones((5, 4))) == 0


def test_copies_of_frames_do_not_narrow_an_interval(values):
    once = overall(values[:100], range(100))["mean"]
    copies = overall(np.repeat(values[:100], 5, 0), np.repeat(np.arange(100), 5))["mean"]
    assert copies.half == pytest.approx(once.half, rel=1e-6)
    assert overall(values, [0] * 500)["mean"].half == float("inf")


def test_the_sentence_and_the_curve(values):
    names = np.arange(500)
    assert enough(overall(values, names), 500).startswith("500 frames are enough")
    few = np.repeat(np.random.default_rng(2).normal(0, 1, (10, 1)), 5, 0) + np.zeros((50, 40))
    assert "are not enough" in enough(overall(few, np.repeat(np.arange(10), 5)), 50)
    sizes = curve(values, names)
    assert [n for n, _ in sizes] == [25, 50, 100, 200, 400, 500]
    assert sizes[-1][1]["mean"].half < sizes[0][1]["mean"].half


def test_divergences_of_gaussians_are_their_closed_forms():
    generator = np.random.default_rng(3)
    a, b = generator.normal(0, 1, 20_000), generator.normal(0.5, 1.2, 20_000)
    kl, js = divergences(a, b)
    exact = np.log(1.2) + (1 + 0.25) / (2 * 1.44) - 0.5
    assert kl == pytest.approx(exact, rel=0.1)
    grid = np.linspace(-12, 12, 20_001)
    p = np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi)
    q = np.exp(-((grid - 0.5) ** 2) / 2.88) / np.sqrt(2 * np.pi * 1.44)
    middle = (p + q) / 2
    exact = sum(0.5 * float((x * np.log(x / middle)).sum()) * (grid[1] - grid[0]) for x in (p, q))
    assert js == pytest.approx(exact, rel=0.1)
    found = compare_values(a[:5000, None], a[:5000, None] + 0.7, frames(5000)[["episode", "task"]]).by_dimension
    assert found.wasserstein[0] == pytest.approx(0.7, abs=1e-9)
    # E|(s - 1) Z| = |s - 1| sqrt(2 / pi) where only the scale changes.
    found = compare_values(
        a[:5000, None], generator.normal(0, 1.5, (5000, 1)), frames(5000)[["episode", "task"]]
    ).by_dimension
    assert found.wasserstein[0] == pytest.approx(0.5 * np.sqrt(2 / np.pi), rel=0.1)


def test_a_model_is_itself_and_its_rotation(values):
    values = values[:, :12]
    same = compare_values(values, values, frames(500))
    assert same.cka.value == pytest.approx(1) and same.cka.half == pytest.approx(0, abs=1e-9)
    by = same.by_dimension
    assert not any(column.any() for column in (by.wasserstein, by.low, by.high, by.js, by.divergence, same.ks))
    assert all(each.value == each.half == 0 for each in (same.wasserstein, same.js, same.divergence))
    np.testing.assert_allclose(same.cosines, 1)
    assert same.tasks == (("t", 500, Estimate(0, 0, 0)),) and (same.p == 1).all()
    assert all(more == Estimate(0, 0, 0) for _, _, more in same.read) and same.read
    assert "500 frames are enough" in enough_to_compare(same, 500)
    turned = np.linalg.qr(np.random.default_rng(4).normal(size=(12, 12)))[0]
    assert linear_cka(values, 3 * values @ turned) == pytest.approx(1)
    wide = compare_values(values, np.hstack([values, values]), frames(500))
    assert wide.by_dimension is None and wide.cka.value == pytest.approx(1) and wide.read


def test_the_changed_dimension_and_task_come_first(values):
    values = values[:, :12]
    other = values.copy()
    other[250:, 5] += 4
    found = compare_values(values, other, frames(500, ["push"] * 250 + ["lift"] * 250))
    assert int(found.by_dimension.wasserstein.argmax()) == 5
    assert found.tasks[0][0] == "lift" and found.tasks[1][2].value == 0
    assert [int(each) for each in np.flatnonzero(found.p < 0.05)] == [5]


def test_the_interval_of_a_similarity_is_as_wide_as_it_varies():
    """Its half width is that of new extractions, within what 40 of them can say; frames of an episode are alike."""
    generator = np.random.default_rng(6)
    names = np.repeat(np.arange(60), 5)
    mix = generator.normal(size=(6, 6))

    def extraction():
        shared = generator.normal(size=(60, 6))[names]
        a = shared + 0.5 * generator.normal(size=(300, 6))
        return a, a @ mix + 6 * generator.normal(size=(60, 6))[names]

    found = [cka_estimate(*extraction(), Episodes(names)) for _ in range(40)]
    spread = np.std([each.value for each in found], ddof=1)
    assert np.mean([each.half for each in found]) / 2 == pytest.approx(spread, rel=0.35)
    alone = cka_estimate(*extraction(), Episodes(range(300)))
    assert alone.half < 0.75 * np.mean([each.half for each in found])


def test_intervals_of_probes_hold_their_score_and_know_episodes(values):
    pytest.importorskip("sklearn")
    rows = frames(500, np.where(values[:, 0] + np.random.default_rng(7).normal(size=500) > 0, "push", "lift"))
    (probe,) = [each for each in probes(values, rows) if each.what == "task"]
    from sklearn.metrics import balanced_accuracy_score  # what is computed from sums is what others compute

    assert probe.score.low < probe.score.value < probe.score.high and 0.01 < probe.score.half < 0.1
    assert balanced_accuracy_score(["a", "a", "b"], ["a", "b", "b"]) == _balanced(np.array([[1.0, 1, 2, 1]]))[0]


def test_holm():
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03])), [0.03, 0.06, 0.06])


def test_probes_read_what_is_there_and_not_what_is_not(values):
    pytest.importorskip("sklearn")
    generator = np.random.default_rng(5)
    episodes = np.repeat(np.arange(100), 5)
    tasks = np.where(values[:, 0] > 0, "push", "lift")
    rows = pd.DataFrame({"episode": episodes, "task": tasks, "x": values[:, 1] * 2 + 1})
    found = {each.what: each.score.value for each in probes(values, rows)}
    assert found["task"] > 0.9 and found["x"] > 0.99
    shuffled = rows.assign(task=generator.permutation(tasks), x=generator.permutation(rows["x"]))
    found = {each.what: each.score.value for each in probes(values, shuffled)}
    assert found["task"] == pytest.approx(0.5, abs=0.1) and found["x"] < 0.05


@pytest.mark.parametrize(
    ("column", "told"),
    [
        ({"task": ["push"] * 60}, "Not read off: task (all frames have the same)."),
        ({"task": ["push"] * 55 + ["lift"] * 5}, "Not read off: task (one of two kinds is in one episode alone)."),
        ({"success": [True] * 5 + [False] * 55}, "success (one of two kinds is in one episode alone)"),
        ({"gripper": [1.0] * 60}, "gripper (all frames have the same)"),
        ({"task": [f"t{n // 5}" for n in range(60)]}, "task of 60 frames (their kind is in one episode alone)"),
        ({"episode": np.arange(60) // 20}, "task (of 3 episodes, 5 are wanted), x (of 3 episodes, 5 are wanted)"),
    ],
)
def test_what_cannot_be_read_off_is_said(values, column, told):
    pytest.importorskip("sklearn")
    rows = frames(60, ["push", "lift"] * 30).assign(**column)
    assert told in not_read(rows)
    assert {each.what for each in probes(values[:60], rows)} == {"task", "x"} - {*column} - (
        {"task", "x"} if "episode" in column else set()
    )


def test_a_kind_of_one_episode_counts_neither_way(values):
    pytest.importorskip("sklearn")
    tasks = np.where(values[:, 0] > 0, "push", "lift").astype(object)
    tasks[:5] = "turn"
    (task,) = [each for each in probes(values, frames(500, tasks)) if each.what == "task"]
    assert task.n == 495 and task.chance == 0.5 and task.score.value > 0.9


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("a", "b"),
    [
        (lambda v: v[:1], lambda v: v[:1] + 1),
        (lambda v: v[:2], lambda v: v[:2] + 1),
        (np.zeros_like, np.zeros_like),
        (np.ones_like, lambda v: v),
        (np.round, lambda v: np.round(v) + 1),
        (lambda v: v * 1e6, lambda v: v * 1e6 + 1),
        (lambda v: v * 1e30, lambda v: v * 2e30),
        (lambda v: v[:20].repeat(10, 1), lambda v: v[20:40].repeat(10, 1)),
    ],
)
def test_odd_vectors_are_compared_without_a_warning_and_within_what_can_be(values, a, b):
    values = values[:60]
    first, second = a(values), b(values)
    found = compare_values(
        first, second, frames(len(first), ["push", "lift"] * (len(first) // 2) + ["lift"] * (len(first) % 2))
    )
    for each, top in ((found.cka, 1), (found.cosine, 1), (found.js, np.log(2)), (found.wasserstein, np.inf)):
        assert np.isnan(each.value) or each.low <= each.value <= min(each.high, top + 1e-12)
        assert not np.isnan(each.value) or each is found.cka
    assert enough_to_compare(found, len(first)).startswith(f"{len(first)} frames")


def test_cka_of_few_frames_is_not_too_high():
    generator = np.random.default_rng(8)
    a, b = generator.normal(size=(2, 60, 200))
    assert linear_cka(a, b) > 0.7  # plain
    found = cka_estimate(a, b, Episodes(range(60)))
    assert found.value < 0.1 and found.low == 0 and found.high < 0.2


def test_two_policies_that_do_not_differ_have_no_distance():
    generator = np.random.default_rng(9)
    names = np.repeat(np.arange(100), 5)
    found, plain = [], []
    for _ in range(12):
        shared = generator.normal(size=(2, 100, 6))
        a, b = (each[names] + generator.normal(size=(500, 6)) for each in shared)
        found.append(distances(a, b, names))
        plain.append(np.abs(np.sort(a, 0) - np.sort(b, 0)).mean())
    for kind in ("mean_js", "mean_divergence", "mean_wasserstein"):
        # One in forty is to begin above 0.
        assert sum(getattr(each, kind).low > 0 for each in found) <= 1
    assert np.mean([each.mean_wasserstein.value for each in found]) < 0.7 * np.mean(plain)
    assert np.mean([each.mean_js.value for each in found]) < 0.002


def test_the_upper_end_of_what_varies_more_the_more_it_is_is_of_a_score():
    """It is t of its own errors away, as Wilson's of a share."""
    over = Episodes(range(40))
    found = over.growing(0.2, 0.05, 0.04**2)
    error = np.sqrt(0.05**2 - 0.04**2 + 0.04**2 * found.high / 0.2)
    assert found.high - 0.2 == pytest.approx(2.0227 * error, rel=1e-4)
    assert over.growing(0.2, 0.05, 0.0) == over.around(0.2, 0.05)
    assert over.growing(0.0, 0.0, 0.0, (0, 1)) == Estimate(0, 0, 0)


def test_divergences_of_few_frames_are_not_of_nearly_empty_bins():
    """Of 100 frames in 30 bins Jensen and Shannon's came out a seventh too large."""
    assert [bins_of(*each) for each in ((20_000, 400), (500, 100), (200, 20), (20, 4))] == [30, 16, 6, 4]
    generator = np.random.default_rng(10)
    names = np.repeat(np.arange(20), 5)

    def noise():
        return (generator.normal(size=(20, 12))[names] + generator.normal(size=(100, 12))) / np.sqrt(2)

    found = [distances(noise(), 0.5 + 1.5 * noise(), names) for _ in range(20)]
    # Of four bins between quantiles of both, by integration.
    assert np.mean([each.mean_js.value for each in found]) == pytest.approx(0.0319, rel=0.1)
    assert np.mean([each.mean_divergence.value for each in found]) == pytest.approx(0.1194, rel=0.1)


def test_a_divergence_that_hangs_on_what_was_never_seen_has_no_interval():
    generator = np.random.default_rng(11)
    a = generator.normal(size=(500, 3))
    apart = distances(a, generator.normal(3, 1, (500, 3)), np.arange(500) // 5)
    assert apart.unseen == 3 and apart.mean_divergence.half == np.inf and apart.mean_js.half < 0.1
    near = distances(a, generator.normal(0.5, 1, (500, 3)), np.arange(500) // 5)
    assert near.unseen == 0 and near.mean_divergence.half < 0.1


HEALTHY = {
    "normal": lambda v: v,
    "tiny": lambda v: 1e-8 * v,
    "far from 0": lambda v: (v + 1e4).astype(np.float32),
    "float16": lambda v: v.astype(np.float16),
    "heavy tails": lambda v: np.random.default_rng(1).standard_t(3, v.shape),
    "one tail": lambda v: np.abs(np.random.default_rng(1).standard_cauchy(v.shape)) * (np.abs(v) < 9),
    "rectified": lambda v: np.maximum(v - 0.5, 0),
    "squashed": np.tanh,
    "one frame far out": lambda v: np.where(np.arange(v.size).reshape(v.shape) == 77, 5000, v),
    "one frame": lambda v: v[:1],
    "two frames": lambda v: v[:2],
    "two vectors": lambda v: np.repeat(v[:2], 30, 0),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", HEALTHY)
def test_of_healthy_vectors_nothing_is_called_out_of_order(values, kind):
    found = dimensions(flat(HEALTHY[kind](values)))
    assert not (found.dead or found.constant or found.saturated)
    assert not found.outlier or kind == "one tail"


def test_what_is_planted_is_found_whatever_the_rest_is_like(values):
    values[:, :25] = 1e-9 * values[:, :25]
    values[:, 30] = np.tanh(50 * values[:, 30])
    values[:, 31] = 1.5 - np.maximum(values[:, 31] - 0.3, 0)
    values[:20, 32] = 80
    found = dimensions(values)
    assert found.dead == tuple(range(25)) and found.saturated == (30, 31) and found.outlier == (32,)
    far = np.random.default_rng(12).normal(0, 1e-3, (500, 8))
    far[:, 2] += 1e4
    assert dimensions(far).dead == () and dimensions(far).outlier == (2,)


def test_a_deviation_far_from_0_keeps_its_digits(values):
    found = overall(1e5 + 1e-4 * values, np.arange(500) // 5)
    assert found["mean"].value == pytest.approx(1e5) and found["deviation"].value == pytest.approx(1e-4, rel=0.02)
    assert found["deviation"].low < 1e-4 < found["deviation"].high


def test_frames_of_an_episode_are_no_evidence_each():
    """Of two policies that do not differ one dimension in twenty is to; of independent frames it would be seven."""
    generator = np.random.default_rng(13)
    names = np.repeat(np.arange(50), 10)
    a, b = ((generator.normal(size=(50, 60))[names] + generator.normal(size=(500, 60))) for _ in range(2))
    told = kolmogorov_smirnov(a, b, Episodes(names))[1]
    assert (told < 0.05).sum() == 0
    from scipy import stats

    plain = np.array([stats.ks_2samp(x, y, method="asymp").pvalue for x, y in zip(a.T, b.T, strict=True)])
    assert (holm(plain) < 0.05).sum() > 0
    statistic, alone = kolmogorov_smirnov(a, b, Episodes(range(500)))
    assert statistic == pytest.approx([stats.ks_2samp(x, y).statistic for x, y in zip(a.T, b.T, strict=True)])
    np.testing.assert_allclose(alone, holm(plain), rtol=0.5)
    assert (kolmogorov_smirnov(a, b + 3, Episodes(names))[1] < 1e-6).all()
    assert (kolmogorov_smirnov(a, b + 3, Episodes([0] * 500))[1] == 1).all()


def test_shuffled_labels_of_unequal_kinds_are_read_at_chance(values):
    pytest.importorskip("sklearn")
    generator = np.random.default_rng(14)
    tasks = generator.permutation(np.repeat(["push", "lift", "turn"], [400, 75, 25]))
    (task,) = [each for each in probes(values, frames(500, tasks)) if each.what == "task"]
    assert task.chance == pytest.approx(1 / 3) and task.score.low < 1 / 3 < task.score.high
