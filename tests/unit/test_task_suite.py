"""The stored states of the task suite, as numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vla_bench.envs.calvin.initial_states import ROBOT_OBS
from vla_bench.envs.calvin.scenes import SCENES
from vla_bench.envs.calvin.task_suite import suite_clusters, suite_states
from vla_bench.envs.calvin.tasks import TASKS

HELD = ("place_in_slider", "place_in_drawer", "stack_block")
TABLE_TOP, STACKED = 0.46, 0.50
"""Height of the middle of a block that lies on the table, and on another block, metres."""
CELLS = [(scene, task) for scene in SCENES for task in TASKS]


def vectors(scene, task):
    states = suite_states(scene, task, "fixed")
    assert all(state.scene == scene for state in states)
    return tuple(np.array([state.state[name] for state in states]) for name in ("robot_obs", "scene_obs"))


def block_of(scene, task, scene_obs):
    index = [block.name for block in SCENES[scene].blocks].index("block_" + task.split("_")[1])
    return scene_obs[:, 6 + 6 * index : 12 + 6 * index]


@pytest.mark.parametrize(("scene", "task"), CELLS)
def test_every_cell_holds_thirty_different_states(scene, task):
    robot_obs, scene_obs = vectors(scene, task)
    assert len(robot_obs) == len(scene_obs) >= 30
    assert len({tuple(row) for row in scene_obs}) == len(scene_obs)
    assert np.isin(scene_obs[:, 4:6], (0, 1)).all()
    np.testing.assert_array_equal(scene_obs[:, 4] == 1, scene_obs[:, 3] > 0.044)
    if task not in HELD:
        np.testing.assert_allclose(robot_obs, np.tile(ROBOT_OBS, (len(robot_obs), 1)), atol=1e-6)


@pytest.mark.parametrize(("scene", "task"), CELLS)
def test_door_drawer_and_lights_stand_as_the_task_asks(scene, task):
    _, scene_obs = vectors(scene, task)
    slide, drawer, _, _, bulb, led = scene_obs[:, :6].T
    if task == "move_slider_left":
        assert (slide == 0).all()
    if task == "move_slider_right":
        assert (slide > 0.2).all()
    if task == "open_drawer":
        assert (drawer == 0).all()
    if task in ("close_drawer", "place_in_drawer", "push_into_drawer") or task.endswith("block_drawer"):
        assert (drawer == 0.22).all()
    for light, values in (("lightbulb", bulb), ("led", led)):
        if task.startswith("turn_") and task.endswith(light):
            assert (values == ("off" in task)).all()


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("task", [task for task in TASKS if task.startswith("lift_")])
def test_a_block_to_be_lifted_lies_where_the_task_says(scene, task):
    _, scene_obs = vectors(scene, task)
    x, y, z = block_of(scene, task, scene_obs)[:, :3].T
    if task.endswith("drawer"):
        assert (z < 0.38).all() and (y < -0.18).all()
    else:
        np.testing.assert_allclose(z, TABLE_TOP, atol=1e-6)
        assert ((y > 0.05) == task.endswith("slider")).all()
    assert np.ptp(x) > 0.02


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("task", HELD)
def test_a_held_block_is_between_the_fingers(scene, task):
    robot_obs, scene_obs = vectors(scene, task)
    blocks = scene_obs[:, 6:].reshape(-1, 3, 6)[:, :, :3]
    nearest = np.linalg.norm(blocks - robot_obs[:, None, :3], axis=-1).min(axis=1)
    assert (nearest < 0.05).all()
    assert ((robot_obs[:, 6] > 0.03) & (robot_obs[:, 6] < 0.06)).all()


@pytest.mark.parametrize("scene", SCENES)
def test_one_block_stands_on_another_to_be_unstacked(scene):
    _, scene_obs = vectors(scene, "unstack_block")
    heights = np.sort(scene_obs[:, 6:].reshape(-1, 3, 6)[:, :, 2], axis=1)
    np.testing.assert_allclose(heights, np.tile((TABLE_TOP, TABLE_TOP, STACKED), (len(heights), 1)), atol=1e-6)


def test_blocks_lie_turned_in_many_ways():
    _, scene_obs = vectors("A", "lift_red_block_table")
    yaw = block_of("A", "lift_red_block_table", scene_obs)[:, 5]
    assert np.histogram(np.mod(yaw, math.pi), bins=4, range=(0, math.pi))[0].min() > 0


@pytest.mark.parametrize(("scene", "task"), CELLS)
def test_the_arm_starts_in_many_places(scene, task):
    states = suite_states(scene, task)
    arms = np.array([state.state["robot_obs"] for state in states])
    assert len(states) >= 20
    assert np.ptp(arms[:, :3], axis=0).min() > 0.05
    assert np.linalg.norm(arms[:, :3] - np.array(ROBOT_OBS[:3]), axis=1).max() > 0.1
    clusters = suite_clusters(scene, task)
    assert clusters.count("") + len(set(clusters) - {""}) >= 10


@pytest.mark.parametrize("scene", SCENES)
def test_varied_fixtures_stand_as_the_task_asks_but_not_all_in_one_place(scene):
    def table(task):
        return np.array([state.state["scene_obs"][:6] for state in suite_states(scene, task)]).T

    assert (table("open_drawer")[1] < 0.02).all()
    drawer = table("close_drawer")[1]
    assert (drawer > 0.15).all() and np.ptp(drawer) > 0.02
    assert (table("move_slider_left")[0] < 0.05).all() and (table("move_slider_right")[0] > 0.2).all()
    assert (table("turn_on_led")[5] == 0).all() and (table("turn_off_lightbulb")[4] == 1).all()


def test_states_that_share_an_arm_start_are_one_cluster():
    assert set(suite_clusters("A", "open_drawer", "fixed")) == {"A-open_drawer-000"}
    assert set(suite_clusters("A", "stack_block", "fixed")) != {"A-stack_block-000"}


def test_unknown_names_are_named():
    with pytest.raises(ValueError, match="unknown CALVIN scene 'E'"):
        suite_states("E", "open_drawer")
    with pytest.raises(ValueError, match="no task 'open_door'"):
        suite_states("A", "open_door")
