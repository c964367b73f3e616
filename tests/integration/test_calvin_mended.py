"""What the original gets wrong around its physics, and ours must not: on the built-in assets."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from vla_bench.envs.calvin.bundle import find_bundle
from vla_bench.envs.calvin.sequences import official_sequences
from vla_bench.envs.calvin.simulation import CalvinSimulation
from vla_bench.envs.observation import Sensors
from vla_bench.envs.simulation import EpisodeStart


def make(*cameras: str) -> CalvinSimulation:
    return CalvinSimulation(find_bundle("builtin"), Sensors.of(*cameras), renderer="tiny")


def start(number: int) -> EpisodeStart:
    from vla_bench.envs.calvin.initial_states import initial_state

    return initial_state(official_sequences()[number].condition)


def moves(steps: int = 40) -> np.ndarray:
    motion = np.clip(np.cumsum(np.random.default_rng(3).normal(size=(steps, 7)), axis=0) / 4, -1, 1)
    motion[:, 2] = -1  # down, into the blocks
    motion[:, 6] = np.where(np.arange(steps) // 10 % 2, 1, -1)
    return motion


def digest_of(simulation: CalvinSimulation, number: int) -> str:
    simulation.reset(start(number))
    simulation.begin("open_drawer")
    simulation.advance(moves())
    return simulation.privileged().digest()


@pytest.fixture(scope="module")
def alone() -> str:
    """The state after an episode of a simulation that has done nothing else."""
    simulation = make()
    digest = digest_of(simulation, 7)
    simulation.close()
    return digest


def test_an_episode_does_not_depend_on_those_before_it(alone):
    simulation = make()
    for number in (0, 3):
        digest_of(simulation, number)
    simulation.reset(EpisodeStart("A"))
    assert digest_of(simulation, 7) == alone
    simulation.close()


def test_two_simulations_in_one_process_do_not_disturb_each_other(alone):
    first, second = make(), make()
    for simulation, number in ((first, 7), (second, 2)):
        simulation.reset(start(number))
        simulation.begin("open_drawer")
    for action in moves():
        first.advance(action[None])
        second.advance(-action[None])
    assert first.privileged().digest() == alone
    second.close()
    second.close()
    assert digest_of(first, 7) == alone
    first.close()


def test_looking_changes_nothing(alone):
    simulation = make("static", "gripper")
    simulation.reset(start(7))
    simulation.begin("open_drawer")
    for action in moves():
        simulation.observe()
        simulation.advance(action[None])
    assert simulation.privileged().digest() == alone
    simulation.close()


def test_the_gripper_command_is_forgotten_at_a_reset():
    simulation = make()
    simulation.reset(start(0))
    simulation.begin("open_drawer")
    simulation.advance(np.array([[0, 0, 0, 0, 0, 0, -1.0]]))
    assert simulation.observe()["robot_obs"][14] == -1
    simulation.reset(start(0))
    assert simulation.observe()["robot_obs"][14] == 1
    simulation.close()


def test_whole_numbers_are_actions_too():
    states = []
    for dtype in (np.int64, np.float64):
        simulation = make()
        simulation.reset(start(0))
        simulation.begin("open_drawer")
        simulation.advance(np.array([[1, 0, -1, 0, 0, 1, 1]], dtype=dtype))
        states.append(simulation.privileged().digest())
        simulation.close()
    assert states[0] == states[1]


def test_impossible_values_are_named():
    simulation = make()
    simulation.reset(start(0))
    simulation.begin("open_drawer")
    with pytest.raises(ValueError, match=r"gripper number .* must be -1 .* or 1"):
        simulation.advance(np.zeros((1, 7)))
    state = dict(start(0).state)
    state["scene_obs"] = (*state["scene_obs"][:4], 0.5, *state["scene_obs"][5:])
    with pytest.raises(ValueError, match="state of the lightbulb"):
        simulation.reset(dataclasses.replace(start(0), state=state))
    with pytest.raises(ValueError, match="robot_obs must hold 15 numbers, not 14"):
        simulation.reset(EpisodeStart("D", {"robot_obs": (0.0,) * 14}))
    simulation.close()
