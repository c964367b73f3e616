"""The example's own tests: its world, and what vla-bench makes of it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("grid_world", reason="the example is not installed: pip install -e docs/example_family")

from grid_world.environment import GridSimulation

from vla_bench.bench import load
from vla_bench.bench.errors import ConfigError
from vla_bench.bench.runner import evaluate
from vla_bench.bench.setup.presets import load_config
from vla_bench.envs.observation import Sensors
from vla_bench.envs.simulation import EpisodeStart

WORDS = ("benchmark=grid_world", "policy=grid_walker", "run.backend=local", "run.workers=1")
START = EpisodeStart("spread", {"place": (1.0, 1.0), "red": (3.0, 1.0), "green": (7.0, 7.0), "blue": (1.0, 2.0)})


def test_the_world_stops_at_success():
    simulation = GridSimulation(Sensors.of("above"))
    simulation.reset(START)
    simulation.begin("to_red")
    outcome = simulation.advance(np.tile(np.array([1.0, 0.0, 1.0]), (5, 1)))
    assert (outcome.steps, outcome.success, outcome.stopped) == (2, True, True)
    assert simulation.observe()["rgb_above"].shape == (64, 64, 3)


def test_suites_count_alike(tmp_path):
    words = [*WORDS, f"run.results={tmp_path}", "run.name=x", "benchmark.trials=3", "benchmark.tasks=to_red,from_blue"]
    summary = evaluate(load_config(words)).summary
    values = {row.name: row.success.value for row in summary.rows}
    assert list(values) == ["approach", "leave", "average"] and summary.planned == 6
    assert values["average"] == pytest.approx((values["approach"] + values["leave"]) / 2)
    assert load(tmp_path / "x").header["protocol"]["score"]["parts"][0]["name"] == "approach"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("benchmark.trails=3", "no field 'trails' in Grid World. Did you mean 'trials'"),
        ("benchmark.trials=0", "must be at least 1"),
        ("benchmark.layout=crowd", "Did you mean 'crowded'"),
        ("benchmark.kind=chains", "has single tasks"),
    ],
)
def test_mistakes_are_sentences(word, message):
    with pytest.raises(ConfigError, match=message):
        load_config([*WORDS, word])
