"""Arm actions between the tool's frame and the world's.

Angles in radians. An action is (..., 7): position change, rotation change, gripper; a robot state has the
tool's position in [0:3] and its Euler angles in [3:6], as CALVIN's ``robot_obs``.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

ROTATION_SCALE = 0.01
"""A rotation change is made this small before it is composed, and scaled back afterwards, so that composing
Euler angles stays linear (CALVIN's dataset conversion does the same)."""
POSITION_UNITS = 50.0
ROTATION_UNITS = 20.0
"""CALVIN's relative action: 0.02 m and 0.05 rad per unit."""


def _wrap(angles: np.ndarray) -> np.ndarray:
    angles = np.where(angles < -np.pi, angles + 2 * np.pi, angles)
    return np.where(angles > np.pi, angles - 2 * np.pi, angles)


def _rotations(angles: np.ndarray) -> Rotation:
    """Rx(a) Ry(b) Rz(c) for angles (a, b, c)."""
    return Rotation.from_euler("XYZ", np.asarray(angles, dtype=np.float64).reshape(-1, 3))


def world_to_tcp(actions: np.ndarray, states: np.ndarray) -> np.ndarray:
    """(..., 7) world-frame actions to tool-frame ones, with (..., >= 6) robot states."""
    return _convert(actions, states, to_tool=True)


def tcp_to_world(actions: np.ndarray, states: np.ndarray) -> np.ndarray:
    """(..., 7) tool-frame actions to world-frame ones, with (..., >= 6) robot states.

    The sign of the rotation is that of the released conversion, whose tool-frame rotation takes the new
    tool frame to the old one.
    """
    return _convert(actions, states, to_tool=False)


def _convert(actions: np.ndarray, states: np.ndarray, *, to_tool: bool) -> np.ndarray:
    actions = np.asarray(actions)
    shape = actions.shape
    flat = actions.reshape(-1, shape[-1])
    angles = np.broadcast_to(np.asarray(states)[..., 3:6], (*shape[:-1], 3)).reshape(-1, 3)
    tool = _rotations(angles)
    small = flat[:, 3:6] * ROTATION_SCALE
    if to_tool:
        position = tool.inv().apply(flat[:, :3])
        rotation = _wrap((_rotations(angles + small).inv() * tool).as_euler("XYZ"))
    else:
        position = tool.apply(flat[:, :3])
        rotation = _wrap((tool * _rotations(small).inv()).as_euler("XYZ") - angles)
    converted = np.concatenate([position, rotation / ROTATION_SCALE, flat[:, 6:]], axis=1)
    return converted.reshape(shape).astype(actions.dtype)


def tool_pose_to_world(actions: np.ndarray, state: np.ndarray) -> np.ndarray:
    """(k, 7) metric changes of the tool's pose, in its own frame, to CALVIN's relative actions (k, 7).

    The tool turns by Rz Ry Rx of the angles (the order CALVIN's ``robot_obs`` is in); the change of its
    Euler angles is not wrapped, as in the released evaluation. Row j is taken relative to the same ``state``.
    """
    actions = np.asarray(actions)
    pose = Rotation.from_euler("xyz", np.asarray(state[3:6], dtype=np.float64))
    turn = Rotation.from_euler("xyz", actions[:, 3:6])
    position = pose.apply(actions[:, :3]) * POSITION_UNITS
    rotation = ((pose * turn).as_euler("xyz") - np.asarray(state[3:6])) * ROTATION_UNITS
    return np.concatenate([position, rotation, actions[:, 6:]], axis=1).astype(actions.dtype)


def rotation_vectors(angles: np.ndarray) -> np.ndarray:
    """(..., 3) static x-y-z Euler angles to (..., 3) axis times angle, the angle in [0, π].

    The shortest such rotation, SciPy's. The conversion of SimplerEnv's own scripts, where the angle may reach 2π, is
    :func:`vla_bench.envs.simpler.rotations.euler_to_axis_angle`.
    """
    angles = np.asarray(angles, dtype=np.float64)
    return Rotation.from_euler("xyz", angles.reshape(-1, 3)).as_rotvec().reshape(angles.shape)
