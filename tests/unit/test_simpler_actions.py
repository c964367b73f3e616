"""Action rules per policy family, against numbers worked out by hand from the originals' formulas."""

from __future__ import annotations

import numpy as np
import pytest

from vla_bench.envs.simpler.rotations import euler_to_axis_angle
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.simpler_actions import rules_of


def prediction(opening: float, x: float = 0.0) -> np.ndarray:
    row = [x, 0, 0, 0, 0, 0, opening]
    return np.tile(row, (4, 1))


def grippers(robot: str, openings: list[float]) -> list[float]:
    rules = rules_of("octo", robot)
    return [float(rules(prediction(opening))[6]) for opening in openings]


def test_octo_holds_a_change_of_the_google_gripper_for_fifteen_steps():
    # Four predictions are averaged, so one of -3 among ones brings the mean from 1 to 0.
    commands = grippers("google_robot", [1.0] * 4 + [-3.0] + [0.0] * 20)
    assert commands[:4] == [0.0] * 4
    assert commands[4] == pytest.approx(1.0)  # the mean fell from 1 to (1 + 1 + 1 - 3) / 4 = 0
    assert commands[5:19] == pytest.approx([1.0] * 14)
    assert abs(commands[19]) < 0.5


def test_octo_averages_what_four_predictions_say_of_the_present_step():
    rules = rules_of("octo", "widowx")
    first = np.zeros((4, 7))
    first[:, 0] = (0.0, 0.1, 0.2, 0.3)
    second = np.zeros((4, 7))
    second[:, 0] = (0.5, 0.6, 0.7, 0.8)
    assert rules(first)[0] == 0.0
    assert rules(second)[0] == pytest.approx((0.1 + 0.5) / 2)


def test_octo_on_widowx_opens_above_one_half():
    assert grippers("widowx", [0.6, 0.6]) == [1.0, 1.0]
    assert grippers("widowx", [0.4, 0.4]) == [-1.0, -1.0]


def test_octo_refuses_another_horizon():
    with pytest.raises(PolicyError, match=r"\(4, 7\)"):
        rules_of("octo", "widowx")(np.zeros((1, 7)))


def test_rt1_passes_the_google_action_and_drops_a_tiny_gripper_command():
    rules = rules_of("rt1", "google_robot")
    action = np.array([0.01, 0.02, 0.03, 0.1, 0.2, 0.3, 0.009])
    assert rules(action).tolist() == [0.01, 0.02, 0.03, 0.1, 0.2, 0.3, 0.0]
    action[6] = -0.5
    assert rules(action)[6] == -0.5


def test_rt1_on_widowx_rescales_clips_and_inverts_the_gripper():
    rules = rules_of("rt1", "widowx")
    command = rules(np.array([1.75, -3.5, 0.875, 0.7, 0.0, 0.0, 0.3]))
    assert command[:3] == pytest.approx([0.05, -0.05, 0.025])
    assert command[3:6] == pytest.approx([0.125, 0, 0])
    assert command[6] == -1.0
    assert rules(np.array([0, 0, 0, 0, 0, 0, -0.3]))[6] == 1.0


def test_euler_angles_become_the_recorded_axis_angle():
    # golden/robovlms simpler_rollout: rot_axangle of (0.1, -0.2, 0.3)
    assert euler_to_axis_angle(np.array([0.1, -0.2, 0.3])) == pytest.approx([0.1289, -0.1834, 0.3087], abs=1e-4)
    assert euler_to_axis_angle(np.zeros(3)).tolist() == [0, 0, 0]


def test_an_unknown_family_or_robot_is_named():
    with pytest.raises(PolicyError, match=r"octa.*Did you mean 'octo'"):
        rules_of("octa", "widowx")
    with pytest.raises(PolicyError, match="panda"):
        rules_of("octo", "panda")
