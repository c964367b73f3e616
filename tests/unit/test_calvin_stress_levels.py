"""The play table's own changes: cameras, and where an episode starts."""

import numpy as np
import pytest

from vla_bench.envs.calvin.cameras import View
from vla_bench.envs.calvin.clutter import in_the_way
from vla_bench.envs.calvin.initial_states import initial_state
from vla_bench.envs.calvin.oracle import TABLE
from vla_bench.envs.calvin.renderers.look import FLOOR, LIGHT_POSITION, WHITE, Look, drawn_look
from vla_bench.envs.calvin.sequences import official_sequences
from vla_bench.envs.calvin.stress import displaced, moved_start
from vla_bench.envs.stress.levels import RULES, Stress

EYE = np.eye(4)
EYE[:3, 3] = (0.1, -0.2, -3.0)
PROJECTION = np.zeros(16)
PROJECTION[[0, 5]] = 1 / np.tan(np.radians(5))
VIEW = View("static", 200, 200, tuple(EYE.T.ravel()), tuple(PROJECTION), 0.01, 10.0, False)
STARTS = [initial_state(each.condition) for each in official_sequences()[:40]]


def centre(view):
    matrix = np.array(view.view).reshape(4, 4).T
    return -matrix[:3, :3].T @ matrix[:3, 3]


def test_a_camera_is_shifted_by_exactly_so_much():
    moved = displaced(VIEW, Stress(camera_shift=0.03), 1)
    assert np.linalg.norm(centre(moved) - centre(VIEW)) == pytest.approx(0.03)
    assert moved.projection == VIEW.projection
    assert displaced(VIEW, Stress(camera_shift=0.03), 1) == moved
    assert displaced(VIEW, Stress(camera_shift=0.03), 2) != moved
    assert displaced(VIEW, Stress(lost=0.5), 1) is VIEW


def test_a_camera_is_turned_where_it_stands():
    moved = displaced(VIEW, Stress(camera_turn=2.0), 1)
    assert np.allclose(centre(moved), centre(VIEW))
    turn = np.array(moved.view).reshape(4, 4).T[:3, :3]
    assert np.degrees(np.arccos((np.trace(turn) - 1) / 2)) == pytest.approx(2.0)


def test_a_field_of_view_is_wider_by_its_share():
    wide = displaced(VIEW, Stress(camera_fov=0.1), 1)
    assert np.degrees(2 * np.arctan(1 / wide.projection[5])) == pytest.approx(11.0)
    assert np.allclose(wide.view, VIEW.view)


def test_blocks_stay_within_what_the_task_allows():
    moved_any = False
    for seed, start in enumerate(STARTS):
        moved = moved_start(start, Stress(block_shift=0.04), np.random.default_rng(seed))
        before, after = (np.array(each.state["scene_obs"]) for each in (start, moved))
        assert np.array_equal(before[:6], after[:6])
        assert moved.state["robot_obs"] == tuple(start.state["robot_obs"])
        old, new = before[6:].reshape(3, 6), after[6:].reshape(3, 6)
        assert np.array_equal(old[:, 2:], new[:, 2:])
        way = np.linalg.norm(new[:, :2] - old[:, :2], axis=1)
        assert (way <= 0.04 + 1e-9).all()
        assert not way[old[:, 1] > 0.03].any(), "what lies behind the door stays"
        moved_any |= bool(way.any())
        table = [place for place, was in zip(new, old, strict=True) if was[1] < 0]
        assert all(np.linalg.norm(a[:2] - b[:2]) > 0.06 for i, a in enumerate(table) for b in table[:i])
    assert moved_any


def test_the_arm_starts_elsewhere_and_nothing_else_does():
    start = STARTS[0]
    moved = moved_start(start, Stress(arm_shift=0.05), np.random.default_rng(0))
    way = np.array(moved.state["robot_obs"]) - np.array(start.state["robot_obs"])
    assert (np.abs(way[7:14]) <= 0.05).all()
    assert way[7:14].all()
    assert not way[:7].any()
    assert moved.state["scene_obs"] == start.state["scene_obs"]


def test_a_held_block_is_not_let_go():
    state = dict(STARTS[0].state)
    scene_obs = np.array(state["scene_obs"])
    scene_obs[6:9] = state["robot_obs"][:3]
    held = type(STARTS[0])("D", {**state, "scene_obs": tuple(scene_obs)})
    moved = moved_start(held, Stress(arm_shift=0.05, block_shift=0.04), np.random.default_rng(0))
    assert moved.state["robot_obs"] == held.state["robot_obs"]
    assert moved.state["scene_obs"][6:9] == pytest.approx(tuple(scene_obs[6:9]))


def test_the_light_is_turned_by_exactly_so_much_and_stays_as_far():
    usual = np.array(LIGHT_POSITION)
    for seed in range(5):
        turned = np.array(drawn_look(seed, 30.0, 0.0, 0.0).light_position)
        assert np.linalg.norm(turned) == pytest.approx(np.linalg.norm(usual))
        assert np.degrees(np.arccos(turned @ usual / (usual @ usual))) == pytest.approx(30)
    assert drawn_look(3, 0.0, 0.0, 0.0) == Look()


def test_tints_reach_the_drawn_colours_and_no_block():
    look = drawn_look(1, 0.0, 0.0, 1.0)
    assert look.tint(2, -1) == WHITE
    factors = np.array([look.tint(TABLE, link) for link in range(-1, 5)])
    assert ((factors >= 0.1) & (factors <= 1)).all()
    half = np.array(drawn_look(1, 0.0, 0.0, 0.5).tint(FLOOR, -1))
    assert np.allclose(half, 0.5 + 0.5 * np.array(look.tint(FLOOR, -1)))


def test_what_is_drawn_is_what_its_rule_drew_before():
    """Where this fails, what is drawn has changed: raise the version of the level in RULES, then write it here anew."""
    assert RULES == {"clutter": 4, "light_turn": 2}
    moved = displaced(VIEW, Stress(camera_shift=0.03, camera_turn=2.0), 7)
    assert centre(moved) == pytest.approx((-0.104967, 0.200485, 3.029582), abs=1e-6)
    look = drawn_look(7, 30.0, 0.0, 1.0)
    assert look.light_position == pytest.approx((81.283137, -89.403811, 164.392853), abs=1e-5)


def test_nothing_stands_where_a_block_is_pushed():
    block = np.array((0.05, -0.12, 0.46))
    assert in_the_way(np.array((0.17, -0.13)), block), "where it ends when it is pushed to the right"
    assert in_the_way(np.array((-0.1, -0.07)), block)
    assert in_the_way(np.array((0.06, -0.15)), np.array((0.05, -0.03, 0.46))), "on its way into the drawer"
    assert not in_the_way(np.array((0.25, -0.13)), block)
    assert not in_the_way(np.array((0.17, -0.13)), np.array((0.05, 0.09, 0.46))), "it lies behind the door"
    assert not in_the_way(np.array((0.17, -0.13)), np.array((0.05, -0.12, 0.36))), "it lies in the drawer"
