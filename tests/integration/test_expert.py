"""The scripted expert at work in the simulator, and the task suite's states in it. Built-in assets."""

from __future__ import annotations

import numpy as np
import pytest

from vla_bench.envs.calvin.bundle import find_bundle
from vla_bench.envs.calvin.initial_states import initial_state
from vla_bench.envs.calvin.oracle import BLOCKS, ROBOT
from vla_bench.envs.calvin.sequences import official_sequences
from vla_bench.envs.calvin.simulation import CalvinSimulation
from vla_bench.envs.calvin.task_suite import suite_states
from vla_bench.envs.observation import Observation
from vla_bench.envs.simulation import environment_spec
from vla_bench.policies.base import SubtaskContext
from vla_bench.policies.expert import ExpertPolicy

STEP_LIMIT = 360
CLOSE = np.array((0.0,) * 6 + (-1.0,))


@pytest.fixture(scope="module")
def simulation():
    simulation = CalvinSimulation(find_bundle("builtin"))
    yield simulation
    simulation.close()


def solve(simulation, task):
    """Steps until the expert solved the task, and the actions it took; None steps if it did not."""
    expert = ExpertPolicy(environment_spec("calvin"))
    simulation.begin(task)
    expert.reset(0, "", SubtaskContext("test", 0, 0))
    actions = []
    for step in range(STEP_LIMIT):
        expert.see(0, simulation.privileged())
        (chunk,) = expert.act([0], [Observation({})])
        assert chunk.shape == (1, 7) and np.abs(chunk[0, :6]).max() <= 1.0 and abs(chunk[0, 6]) == 1.0
        actions.append(chunk)
        if simulation.advance(chunk).success:
            return step + 1, np.concatenate(actions)
    return None, np.concatenate(actions)


@pytest.mark.parametrize(
    ("scene", "task"),
    [
        ("D", "open_drawer"),
        ("D", "turn_off_lightbulb"),
        ("D", "push_red_block_right"),
        ("D", "rotate_blue_block_left"),
        ("D", "lift_pink_block_slider"),
        ("D", "place_in_drawer"),
        ("D", "stack_block"),
        ("A", "place_in_slider"),
        ("B", "move_slider_left"),
        ("C", "push_into_drawer"),
    ],
)
def test_a_task_of_the_suite_is_solved(simulation, scene, task):
    simulation.reset(suite_states(scene, task)[0])
    steps, _ = solve(simulation, task)
    assert steps is not None


def test_a_chain_is_solved_without_a_reset_in_between_and_always_in_the_same_way(simulation):
    """Five subtasks in a row, each from wherever the last ended; twice, bit for bit."""
    sequence = official_sequences()[1]
    runs = []
    for _ in range(2):
        simulation.reset(initial_state(sequence.condition))
        run = []
        for task in sequence.subtasks:
            steps, actions = solve(simulation, task)
            assert steps is not None, task
            run.append((steps, actions.tobytes(), simulation.privileged().digest()))
        runs.append(run)
    assert runs[0] == runs[1]


@pytest.mark.parametrize("scene", ["A", "B", "C", "D"])
def test_a_held_block_is_still_held_after_a_reset(simulation, scene):
    """The start conditions of placing hold at once, and a hand that closes keeps the block."""
    for task in ("place_in_slider", "stack_block"):
        simulation.reset(suite_states(scene, task)[1])
        simulation.begin(task)
        world = simulation.world
        for _ in range(2):
            (held,) = {body for body, _ in world.contacts(ROBOT)}
            assert held in BLOCKS
            assert {body for body, _ in world.contacts(held)} == {ROBOT}
            assert not simulation.advance(np.tile(CLOSE, (30, 1))).success
