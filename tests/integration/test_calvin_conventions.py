"""The conventions that model servers speak, against those of the original: the same motion said in other words."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vla_bench.envs.calvin.initial_states import initial_state
from vla_bench.envs.calvin.sequences import official_sequences
from vla_bench.envs.simulation import SimulationSpec, make_simulation

SUBTASK = "lift_red_block_table"
DELTAS = np.random.default_rng(0).uniform(-1, 1, (12, 6)) * ([0.01] * 3 + [0.03] * 3)


@pytest.fixture
def played():
    """Tool poses after each of some actions in a convention."""
    simulations = []

    def play(convention, actions, begin_at=0):
        simulation = make_simulation(SimulationSpec("calvin", {"assets": "builtin"}, action=convention))
        simulations.append(simulation)
        simulation.reset(initial_state(official_sequences()[0].condition))
        simulation.begin(SUBTASK)
        poses = [simulation.observe()["robot_obs"][:6]]
        for number, action in enumerate(actions):
            if begin_at and number == begin_at:
                simulation.begin(SUBTASK)
            simulation.advance(np.array([action]))
            poses.append(simulation.observe()["robot_obs"][:6])
        return np.array(poses)

    yield play
    for simulation in simulations:
        simulation.close()


def test_accumulated_is_absolute_with_the_sum_kept_by_the_environment(played):
    deltas = np.concatenate([DELTAS, np.ones((12, 1))], axis=1)
    moved = played("accumulated", deltas)
    target, absolute = moved[0].copy(), []
    for delta in DELTAS:
        target = target + delta
        target[3:] = (target[3:] + np.pi) % (2 * np.pi) - np.pi
        absolute.append(np.float32([*target, 1.0]))
    assert np.array_equal(played("absolute", absolute), moved)


def test_accumulated_starts_anew_with_each_subtask(played):
    deltas = np.concatenate([DELTAS, np.ones((12, 1))], axis=1)
    whole, anew = played("accumulated", deltas), played("accumulated", deltas, begin_at=6)
    assert np.array_equal(whole[:7], anew[:7]) and not np.array_equal(whole[7:], anew[7:])


def test_axis_angle_is_the_same_rotation(played):
    start = played("absolute", [])[0]
    poses = [start + delta for delta in DELTAS]
    as_euler = played("absolute", [[*pose, 1.0] for pose in poses])
    turns = [Rotation.from_euler("xyz", pose[3:]).as_rotvec() for pose in poses]
    as_turn = played("absolute_axis_angle", [[*pose[:3], *turn, 1.0] for pose, turn in zip(poses, turns, strict=True)])
    np.testing.assert_allclose(as_turn, as_euler, atol=1e-9)
