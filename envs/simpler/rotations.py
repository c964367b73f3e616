"""Rotations as arrays, float64: quaternions are wxyz, Euler angles extrinsic xyz (roll, pitch, yaw)."""

from __future__ import annotations

import math

import numpy as np


def euler_to_quaternion(euler: np.ndarray) -> np.ndarray:
    """wxyz (4,) of roll, pitch, yaw (3,) about the fixed axes x, y, z."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.asarray(euler) / 2), np.sin(np.asarray(euler) / 2)
    return np.array(
        [
            cx * cy * cz + sx * sy * sz,
            sx * cy * cz - cx * sy * sz,
            cx * sy * cz + sx * cy * sz,
            cx * cy * sz - sx * sy * cz,
        ]
    )


def quaternion_to_axis_angle(quaternion: np.ndarray) -> np.ndarray:
    """Axis times angle (3,), the angle in [0, 2π): the quaternion's sign counts, as in transforms3d."""
    w, vector = float(quaternion[0]), np.asarray(quaternion[1:], dtype=np.float64)
    length = math.sqrt(float(vector @ vector))
    if length < 1e-15:
        return np.zeros(3)
    return vector / length * (2 * math.acos(max(-1.0, min(1.0, w))))


def euler_to_axis_angle(euler: np.ndarray) -> np.ndarray:
    """Axis times angle (3,) of roll, pitch, yaw (3,), the angle in [0, 2π): the original's own conversion."""
    return quaternion_to_axis_angle(euler_to_quaternion(euler))


def rotation_matrix(quaternion: np.ndarray) -> np.ndarray:
    """(3, 3) of a unit quaternion wxyz."""
    w, x, y, z = (float(number) for number in quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def conjugate(quaternion: np.ndarray) -> np.ndarray:
    """The inverse of a unit quaternion wxyz."""
    return np.asarray(quaternion) * (1, -1, -1, -1)


def product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The quaternion of ``right`` first, then ``left``; wxyz."""
    (a, b, c, d), (w, x, y, z) = left, right
    return np.array(
        [
            a * w - b * x - c * y - d * z,
            a * x + b * w + c * z - d * y,
            a * y - b * z + c * w + d * x,
            a * z + b * y - c * x + d * w,
        ]
    )
