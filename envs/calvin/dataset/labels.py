"""Actions of a frame from recorded states, and back.

``achieved`` is CALVIN's own meaning (datarenderer of calvin_env 797142c): ``actions[t]`` is the pose and the gripper
command of the *next* recorded state, ``rel_actions[t]`` the way there from the state of the same frame. ``commanded``
is what was sent to the robot, which the arm follows with a lag.
"""

from __future__ import annotations

import numpy as np

LABELS = {
    "achieved": "actions[t] is the pose and gripper command of robot_obs[t + 1]; rel_actions[t] the clipped way "
    "there from robot_obs[t], in units of 0.02 m and 0.05 rad",
    "commanded": "actions[t] and rel_actions[t] are what was sent to the robot at frame t, or what the teacher would "
    "have sent; the arm lags behind",
}
"""What each label means, as it is written into a set."""
MAX_POSITION, MAX_EULER = 0.02, 0.05
"""Largest step of a relative action: metres and radians a frame (calvin_env ``to_relative_action``)."""
SATURATED = 1 - 1e-9
"""From this size on an entry of ``rel_actions`` was probably clipped, and motion lost."""


def absolute_actions(robot_obs: np.ndarray) -> np.ndarray:
    """Actions (n, 7) of n frames from the states (n + 1, 15) of these and the next: metres, radians, ±1, world.

    A gripper command of 0, as before the first one, is written as -1 (datarenderer).
    """
    following = robot_obs[1:]
    gripper = np.where(following[:, 14:15] == 0, -1.0, following[:, 14:15])
    return np.concatenate([following[:, :6], gripper], axis=1)


def relative_actions(actions: np.ndarray, robot_obs: np.ndarray) -> np.ndarray:
    """Relative actions (n, 7) in [-1, 1] from absolute ones (n, 7) and the states (n, 15) of the same frames.

    calvin_env ``to_relative_action``: the difference, angles wrapped to ±π, clipped and divided by its largest step.
    """
    position = np.clip(actions[:, :3] - robot_obs[:, :3], -MAX_POSITION, MAX_POSITION) / MAX_POSITION
    turn = wrapped(actions[:, 3:6] - robot_obs[:, 3:6])
    euler = np.clip(turn, -MAX_EULER, MAX_EULER) / MAX_EULER
    return np.concatenate([position, euler, actions[:, 6:7]], axis=1)


def wrapped(angles: np.ndarray) -> np.ndarray:
    """Angles in radians brought to [-π, π) as calvin_env's ``angle_between_angles`` does."""
    return (angles + np.pi) % (2 * np.pi) - np.pi
