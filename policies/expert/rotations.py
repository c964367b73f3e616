"""Rotation matrices, quaternions and Euler angles in PyBullet's conventions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

FULL_TURN = 2 * math.pi


def matrix_of_quaternion(quaternion: Sequence[float]) -> np.ndarray:
    """Rotation matrix (3, 3) of a unit quaternion x y z w."""
    x, y, z, w = (float(component) for component in quaternion)
    return np.array(
        (
            (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
            (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
            (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
        )
    )


def matrix_of_euler(euler: Sequence[float]) -> np.ndarray:
    """Rotation matrix (3, 3) of extrinsic x-y-z angles in radians."""
    roll, pitch, yaw = (float(angle) for angle in euler)
    cr, sr, cp, sp = math.cos(roll), math.sin(roll), math.cos(pitch), math.sin(pitch)
    return about_z(yaw) @ np.array(((cp, sp * sr, sp * cr), (0.0, cr, -sr), (-sp, cp * sr, cp * cr)))


def euler_of_matrix(matrix: np.ndarray) -> np.ndarray:
    """Extrinsic x-y-z angles (3,) in radians, pitch within a quarter turn of zero."""
    return np.array(
        (
            math.atan2(matrix[2, 1], matrix[2, 2]),
            math.asin(max(-1.0, min(1.0, -matrix[2, 0]))),
            math.atan2(matrix[1, 0], matrix[0, 0]),
        )
    )


def nearest_turn(angles: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The same angles, each moved by full turns to within half a turn of its reference."""
    return angles + FULL_TURN * np.round((reference - angles) / FULL_TURN)


def about_z(angle: float) -> np.ndarray:
    """Rotation matrix (3, 3) about the vertical, radians."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array(((c, -s, 0.0), (s, c, 0.0), (0.0, 0.0, 1.0)))


def about(axis: np.ndarray, angle: float) -> np.ndarray:
    """Rotation matrix (3, 3) about a unit vector (Rodrigues' formula), radians."""
    x, y, z = axis
    cross = np.array(((0.0, -z, y), (z, 0.0, -x), (-y, x, 0.0)))
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def angle_between(a: np.ndarray, b: np.ndarray) -> float:
    """Angle in radians of the rotation that leads from matrix ``a`` to matrix ``b``."""
    cosine = (float(np.sum(a * b)) - 1) / 2
    return math.acos(max(-1.0, min(1.0, cosine)))
