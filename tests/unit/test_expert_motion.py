"""The scripted expert's geometry and motion, without a simulator."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vla_bench.envs.calvin.robot import POSITION_UNIT, ROTATION_UNIT
from vla_bench.envs.calvin.tasks import TASKS
from vla_bench.envs.simulation import EnvironmentSpec, environment_spec
from vla_bench.policies.base import SubtaskContext
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.expert import ExpertPolicy
from vla_bench.policies.expert.boxes import Box, axis_aligned, distances, near
from vla_bench.policies.expert.grasps import (
    CLOSED_GRIPPER,
    OPEN_GRIPPER,
    REST_YAW,
    SHOULDER,
    best,
    clearance_of,
    grasps,
    leaning,
    reach,
    yaw_of,
)
from vla_bench.policies.expert.motion import (
    CLOSED,
    OPEN,
    REST_EULER,
    Follower,
    Phase,
    canonical_euler,
    steer,
)
from vla_bench.policies.expert.plans import PLANS
from vla_bench.policies.expert.rotations import (
    about,
    angle_between,
    euler_of_matrix,
    matrix_of_euler,
    matrix_of_quaternion,
    nearest_turn,
)
from vla_bench.policies.expert.view import Pose

DOWN = matrix_of_euler((math.pi, 0.0, 1.5))


def arm(position, euler, gripper=1.0, width=0.08):
    """What the follower reads of a state: tool and commanded target at the same pose."""
    robot_obs = np.array((*position, *euler, width, *([0.0] * 7), gripper))
    return SimpleNamespace(
        robot_obs=robot_obs, target_position=np.array(position, float), target_euler=np.array(euler, float)
    )


def obey(state, action, lag=0.0):
    """The state after an action, of an arm that follows its target at once or with some lag."""
    state.target_position = state.target_position + action[:3] * POSITION_UNIT
    state.target_euler = state.target_euler + action[3:6] * ROTATION_UNIT
    state.robot_obs[:3] += (1 - lag) * (state.target_position - state.robot_obs[:3])
    state.robot_obs[3:6] += (1 - lag) * (state.target_euler - state.robot_obs[3:6])


def test_rotations_agree_with_scipy():
    generator = np.random.default_rng(0)
    for _ in range(50):
        rotation = Rotation.random(rng=generator)
        matrix = rotation.as_matrix()
        np.testing.assert_allclose(matrix_of_quaternion(rotation.as_quat()), matrix, atol=1e-12)
        np.testing.assert_allclose(matrix_of_euler(rotation.as_euler("xyz")), matrix, atol=1e-12)
        np.testing.assert_allclose(matrix_of_euler(euler_of_matrix(matrix)), matrix, atol=1e-9)
        axis = generator.normal(size=3)
        axis /= np.linalg.norm(axis)
        np.testing.assert_allclose(about(axis, 0.7), Rotation.from_rotvec(0.7 * axis).as_matrix(), atol=1e-12)
    assert angle_between(np.eye(3), about(np.array((0.0, 0.0, 1.0)), 0.4)) == pytest.approx(0.4)


def test_nearest_turn_stays_within_half_a_turn():
    np.testing.assert_allclose(nearest_turn(np.array((3.0, -3.0)), np.array((-3.0, 3.0))), (-3.283185, 3.283185))


@pytest.mark.parametrize("yaw", np.linspace(REST_YAW - 3.0, REST_YAW + 3.0, 13))
def test_canonical_angles_do_not_depend_on_the_way_there(yaw):
    angles = canonical_euler(matrix_of_euler((-math.pi + 0.1, 0.2, yaw + 2 * math.pi)))
    assert abs(angles[2] - REST_YAW) <= math.pi
    assert abs(angles[0] - math.pi) < 0.5
    np.testing.assert_allclose(matrix_of_euler(angles), matrix_of_euler((-math.pi + 0.1, 0.2, yaw)), atol=1e-9)


def test_an_action_stays_in_bounds_and_goes_straight():
    state = arm((0.0, 0.0, 0.5), (math.pi, 0.0, 1.5))
    goal = Pose(np.array((0.3, -0.1, 0.6)), matrix_of_euler((math.pi, 0.4, 2.5)))
    action = steer(Phase("go", goal, OPEN, speed=0.5), state)
    assert np.abs(action).max() == pytest.approx(0.5)
    np.testing.assert_allclose(action[:3] / action[0], (1.0, -1 / 3, 1 / 3), atol=1e-9)


def test_a_roll_that_wrapped_is_no_way_to_go():
    state = arm((0.0, 0.0, 0.5), (-math.pi + 0.02, 0.0, 1.5))
    action = steer(Phase("go", Pose(np.array((0.0, 0.0, 0.5)), DOWN), OPEN), state)
    np.testing.assert_allclose(action, (0, 0, 0, -0.02 / ROTATION_UNIT, 0, 0), atol=1e-6)


@pytest.mark.parametrize("lag", [0.0, 0.6])
def test_the_follower_does_its_phases_in_order_and_ends(lag):
    there = Pose(np.array((0.1, -0.1, 0.5)), matrix_of_euler((math.pi, 0.3, 2.0)))
    back = there.withdrawn(0.05)
    phases = [
        Phase("go", there, OPEN, tolerance=0.004),
        Phase("grasp", there, CLOSED, steps=5, patience=0),
        Phase("back", back, CLOSED, tolerance=0.004),
    ]
    follower, state, seen = Follower(phases), arm((0.0, -0.2, 0.6), REST_EULER), []
    for _ in range(200):
        action = follower.action(state)
        if action is None:
            break
        assert action.shape == (7,) and np.abs(action).max() <= 1.0
        seen.append((follower.phase.name, action[6]))
        obey(state, action, lag)
    else:
        pytest.fail("the plan never ended")
    assert list(dict.fromkeys(seen)) == [("go", OPEN), ("grasp", CLOSED), ("back", CLOSED)]
    assert seen.count(("grasp", CLOSED)) == 5
    np.testing.assert_allclose(state.robot_obs[:3], back.position, atol=0.004)


def test_a_blocked_arm_does_not_hold_up_the_plan_for_ever():
    phase = Phase("go", Pose(np.array((0.1, 0.0, 0.5)), DOWN), OPEN, tolerance=0.004, patience=12)
    follower, state = Follower([phase]), arm((0.0, 0.0, 0.5), REST_EULER)
    steps = 0
    while (action := follower.action(state)) is not None:
        obey(state, action, lag=1.0)
        steps += 1
        assert steps < 40
    assert steps >= 5 + 12


@pytest.mark.parametrize("noise", [0.05, 0.2, 0.5])
def test_a_leg_ends_also_under_noise_on_every_action(noise):
    for seed in range(10):
        generator = np.random.default_rng(seed)
        phase = Phase("go", Pose(np.array((0.1, -0.1, 0.5)), DOWN), OPEN, tolerance=0.006)
        follower, state, steps = Follower([phase]), arm((0.0, 0.0, 0.6), REST_EULER), 0
        while (action := follower.action(state)) is not None:
            noisy = np.append(action[:6] + noise * generator.standard_normal(6), action[6])
            obey(state, noisy, lag=0.3)
            steps += 1
            assert steps < 120, "it never ended"
        assert np.linalg.norm(state.robot_obs[:3] - phase.pose.position) < 0.006 + 3 * noise * POSITION_UNIT


def test_distances_to_boxes():
    boxes = [axis_aligned((-1, -1, -1), (1, 1, 1)), Box(np.array((5.0, 0, 0)), np.eye(3), np.full(3, 0.5))]
    points = np.array(((0.0, 0.0, 3.0), (0.0, 0.9, 0.0), (4.0, 0.0, 0.0)))
    np.testing.assert_allclose(distances(points, boxes), (2.0, -0.1, 0.5))
    assert near(boxes, np.array((0.0, 0.0, 1.2)), 0.3) == boxes[:1]


def block(yaw, half_length=0.04):
    matrix = matrix_of_euler((0.0, 0.0, yaw))
    return Box(np.array((0.1, -0.1, 0.46)), matrix, np.array((half_length, 0.02, 0.02)))


@pytest.mark.parametrize("yaw", np.linspace(-3, 3, 7))
def test_a_long_block_is_taken_across_its_short_side(yaw):
    target = block(yaw)
    chosen = best(grasps(target), [axis_aligned((-1, -1, 0.3), (1, 1, 0.44))], OPEN_GRIPPER).pose
    assert abs(chosen.rotation[:, 1] @ target.axes[:, 0]) < 0.31
    assert abs(chosen.approach[2]) > 0.95
    assert abs(yaw_of(chosen.rotation) - REST_YAW) < 1.6
    assert np.linalg.norm(chosen.position - target.centre) < 0.03


def test_a_grasp_keeps_clear_of_what_stands_beside_the_block():
    target = block(math.pi / 2, half_length=0.02)
    # A wall beside it in x: the fingers must open along y, or lean, or sit off the middle.
    wall = axis_aligned((0.155, -0.3, 0.44), (0.2, 0.1, 0.8))
    chosen = best(grasps(target), [wall], OPEN_GRIPPER)
    assert chosen.clearance > 0.0
    assert (
        clearance_of(
            Pose(target.centre, leaning(np.array((1.0, 0, 0)), np.array((0, 1.0, 0)), 0.0)),
            [wall],
            OPEN_GRIPPER,
        )
        < 0
    )


def test_later_attempts_try_something_else():
    target, table = block(0.5, half_length=0.02), [axis_aligned((-1, -1, 0.3), (1, 1, 0.44))]
    first, second = (best(grasps(target), table, OPEN_GRIPPER, attempt).pose for attempt in (0, 1))
    moved = np.linalg.norm(first.position - second.position)
    assert moved > 0.02 or angle_between(first.rotation, second.rotation) > 0.2


def test_leaning_outwards_shortens_the_reach():
    far = np.array((0.33, 0.1, 0.46))
    away = (far - SHOULDER) * (1.0, 1.0, 0.0)
    away /= np.linalg.norm(away)
    upright, leant = (reach(Pose(far, leaning(np.array((1.0, 0, 0)), away, lean))) for lean in (0.0, 0.6))
    assert leant < upright - 0.05


def test_the_closed_gripper_is_narrower_than_the_open_one():
    assert CLOSED_GRIPPER[:, 1].max() == OPEN_GRIPPER[:, 1].max() == pytest.approx(0.106)
    fingers = [points[points[:, 2] > 0.0][:, 1].max() for points in (CLOSED_GRIPPER, OPEN_GRIPPER)]
    np.testing.assert_allclose(fingers, (0.031, 0.071))


def test_there_is_a_plan_for_every_task():
    assert set(PLANS) == set(TASKS)


def test_the_expert_states_what_it_needs_and_refuses_another_environment():
    spec = ExpertPolicy.describe(environment_spec("calvin"))
    assert spec.privileged and not spec.sensors.cameras
    assert (spec.action.name, spec.chunk, spec.execute) == ("relative", 1, 1)
    with pytest.raises(PolicyError, match="only CALVIN"):
        ExpertPolicy(EnvironmentSpec("fake", (spec.action,), {}, 30.0))


def test_the_expert_says_so_when_it_was_not_shown_the_state():
    expert = ExpertPolicy(environment_spec("calvin"))
    expert.reset(3, "open the drawer", SubtaskContext("seq-0000", 0, 0))
    with pytest.raises(PolicyError, match="before it was shown the state"):
        expert.act([3], [None])
    with pytest.raises(PolicyError, match="not a CalvinState"):
        expert.see(3, object())


def test_a_block_on_its_edge_can_still_be_taken():
    """No side of it is level enough for the usual grasps; there must be one all the same."""
    from vla_bench.policies.expert.grasps import grasps

    half = np.array([0.028, 0.02, 0.02])
    turn = math.radians(45)
    axes = np.array([[1, 0, 0], [0, math.cos(turn), -math.sin(turn)], [0, math.sin(turn), math.cos(turn)]])
    tilt = math.radians(40)
    lean = np.array([[math.cos(tilt), 0, -math.sin(tilt)], [0, 1, 0], [math.sin(tilt), 0, math.cos(tilt)]])
    options = list(grasps(Box(np.array([0.1, -0.1, 0.48]), lean @ axes, half)))
    assert options and all(np.isfinite(pose.rotation).all() for pose, _ in options)
