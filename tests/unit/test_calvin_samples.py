"""The built-in play table does what was recorded of it (``python -m tools.make_samples``)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tools.make_samples import CAMERAS, CONVENTIONS, SOLVED
from vla_bench.envs.calvin.bundle import find_bundle
from vla_bench.envs.calvin.cameras import GRIPPER, STATIC
from vla_bench.envs.calvin.simulation import CalvinSimulation
from vla_bench.envs.calvin.task_suite import suite_states

TOLERANCE = 1e-6
"""Metres and radians: another build of PyBullet may round differently, another physics does not stay this near."""


@pytest.fixture(scope="module")
def recorded():
    with np.load(Path(__file__).parent / "samples/calvin.npz") as file:
        return {name: file[name] for name in file.files}


@pytest.mark.parametrize(("scene", "task"), SOLVED)
def test_a_recorded_solution_solves_the_task_with_its_last_step_and_looks_the_same(recorded, scene, task):
    sample = {name.split("/")[2]: array for name, array in recorded.items() if name.startswith(f"{scene}/{task}/")}
    simulation = CalvinSimulation(find_bundle("builtin"), CAMERAS, renderer="tiny")
    simulation.reset(suite_states(scene, task)[0])
    simulation.begin(task)
    outcome = simulation.advance(sample["actions"])
    seen = simulation.observe()
    simulation.close()
    assert (outcome.success, outcome.ever, outcome.steps) == (True, True, len(sample["actions"]))
    for name in ("robot_obs", "scene_obs"):
        np.testing.assert_allclose(seen[name], sample[name], rtol=0, atol=TOLERANCE)
    for camera in ("static", "gripper"):
        image, depth = seen[f"rgb_{camera}"].astype(int), seen[f"depth_{camera}"]
        assert np.abs(image - sample[f"rgb_{camera}"]).mean() < 0.5, "levels of 255"
        assert np.abs(depth - sample[f"depth_{camera}"]).mean() < 0.01, "metres"
    assert np.abs(seen["rgb_static"].astype(int) - sample["rgb_gripper"]).mean() > 20, "the cameras can be told apart"


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_arm_follows_each_convention_as_recorded(recorded, convention):
    simulation = CalvinSimulation(find_bundle("builtin"), action=convention)
    simulation.reset(suite_states("D", "open_drawer")[0])
    simulation.begin("open_drawer")
    actions, states = recorded[f"{convention}/actions"], []
    for action in actions:
        simulation.advance(action[None])
        states.append(simulation.observe()["robot_obs"])
    simulation.close()
    np.testing.assert_allclose(states, recorded[f"{convention}/robot_obs"], rtol=0, atol=TOLERANCE)
    opening = np.array(states)[:, 6]
    closing = int(np.count_nonzero(actions[:, -1] == -1))
    assert opening[closing - 1] < 0.01 < 0.05 < opening[-1], "-1 closes, 1 opens"


def test_the_cameras_are_those_of_the_data_set():
    """Sizes and fields of view of CALVIN's ``merged_config.yaml``; the static one stands still, the other rides."""
    assert (STATIC.height, STATIC.width, STATIC.fov) == (200, 200, 10.0)
    assert (GRIPPER.height, GRIPPER.width, GRIPPER.fov) == (84, 84, 75.0)


def test_the_oracle_is_asked_from_the_start_to_now():
    """The drawer is pulled open by hand: that opens it, and does not close it."""
    simulation = CalvinSimulation(find_bundle("builtin"))
    hold = np.array([[0.0] * 6 + [1.0]])
    verdicts = {}
    for task in ("open_drawer", "close_drawer"):
        simulation.reset(suite_states("D", "open_drawer")[0])
        simulation.begin(task)
        assert not simulation.advance(hold).success
        scene_obs = simulation.observe()["scene_obs"]
        table = simulation.world.table
        table.reset((scene_obs[0], 0.2, scene_obs[2], scene_obs[3]), scene_obs[4], scene_obs[5])
        verdicts[task] = simulation.advance(hold).success
    simulation.close()
    assert verdicts == {"open_drawer": True, "close_drawer": False}
