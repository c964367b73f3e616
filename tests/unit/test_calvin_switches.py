"""Switches that some published evaluations had: what they do, and that they are said to be unlike the protocol."""

from __future__ import annotations

import numpy as np
import pytest
from test_calvin_sequence_sets import planned

from vla_bench.bench.errors import ConfigError
from vla_bench.bench.families import calvin
from vla_bench.bench.setup.plan import environment_of, plan
from vla_bench.bench.setup.presets import load_config
from vla_bench.envs.calvin.bundle import find_bundle
from vla_bench.envs.calvin.initial_states import initial_state
from vla_bench.envs.calvin.sequences import official_sequences
from vla_bench.envs.calvin.simulation import CalvinSimulation
from vla_bench.policies.choice import PolicyChoice
from vla_bench.policies.registry import describe_policy

START = initial_state(official_sequences()[0].condition)
RIGHT = np.array([[1.0, 0.5, -0.5, 0.2, 0.0, 0.4, 1.0]] * 5)


@pytest.fixture
def simulated():
    made = []

    def simulate(**switches):
        made.append(CalvinSimulation(find_bundle("builtin"), **switches))
        made[-1].reset(START)
        made[-1].begin("open_drawer")
        return made[-1]

    yield simulate
    for each in made:
        each.close()


def test_every_subtask_starts_where_the_sequence_did(simulated):
    usual, again = simulated(), simulated(reset_each_subtask=True)
    start = again.privileged().digest()
    for each in (usual, again):
        each.advance(RIGHT)
    moved = usual.privileged().digest()
    assert again.privileged().digest() == moved != start
    for each in (usual, again):
        each.begin("close_drawer")
    assert (usual.privileged().digest(), again.privileged().digest()) == (moved, start)
    assert again.privileged().subtask == "close_drawer"
    again.reset(START)
    again.begin("open_drawer")
    assert again.privileged().digest() == start


def test_relative_actions_start_from_the_measured_pose(simulated, monkeypatch):
    """``relative_to_absolute`` of calvin_env 797142c with use_target_pose off: tool pose plus the scaled action."""
    usual, measured = simulated(), simulated(use_target_pose=False)
    commanded = []
    robot = measured.world.robot
    command = robot._command_pose
    monkeypatch.setattr(robot, "_command_pose", lambda p, q: (commanded.append(np.array(p)), command(p, q)))
    for action in RIGHT:
        tool = measured.observe()["robot_obs"][:3]
        assert measured.privileged().target_position == pytest.approx(tool)
        measured.advance(action[None])
        assert commanded[-1] == pytest.approx(tool + action[:3] * 0.02, abs=1e-12)
    usual.advance(RIGHT)
    begin = np.array(START.state["robot_obs"][:3])
    far, near = (np.linalg.norm(each.observe()["robot_obs"][:3] - begin) for each in (usual, measured))
    assert near < 0.7 * far


@pytest.mark.parametrize("word", ["reset_each_subtask=true", "use_target_pose=false"])
def test_they_are_in_the_hash_and_marked(word):
    name = word.partition("=")[0]
    usual, other = planned("benchmark.sequences=2"), planned("benchmark.sequences=2", f"benchmark.{word}")
    assert usual.protocol.hash != other.protocol.hash
    assert name not in usual.protocol.facts and name not in usual.simulation.options
    assert other.simulation.options[name] == other.protocol.facts[name] == (word.endswith("true"))
    (note,) = set(other.notes) - set(usual.notes)
    assert note.startswith("unlike the protocol: ") and note == calvin.UNLIKE[name]


def test_they_are_refused_where_they_mean_nothing():
    with pytest.raises(ConfigError, match="reset_each_subtask is for chains"):
        planned("benchmark=calvin_tasks", "benchmark.reset_each_subtask=true")
    benchmark = load_config(["benchmark=calvin_smoke", "benchmark.use_target_pose=false"]).benchmark
    environment = environment_of(benchmark)
    choice = PolicyChoice("stub", {"action": "absolute"})
    with pytest.raises(ConfigError, match="is about relative actions, and those of stub are absolute"):
        plan(benchmark, describe_policy(choice, environment), environment)
