"""Rotations between the forms that servers use, float64.

Euler angles are extrinsic xyz (roll, pitch, yaw), as Bullet's. ``rot6d_rows``: the matrix's first two columns, read row
by row (r00 r01 r10 r11 r20 r21; X-VLA). ``rot6d_columns``: the first column, then the second (Zhou et al. 2019).
"""

from __future__ import annotations

import math

import numpy as np

SIZES = {
    "euler_xyz": 3,
    "axis_angle": 3,
    "quaternion_xyzw": 4,
    "quaternion_wxyz": 4,
    "rot6d_rows": 6,
    "rot6d_columns": 6,
    "none": 0,
}
"""Numbers of each form."""


def convert(rotation: np.ndarray, form: str, wanted: str) -> np.ndarray:
    """One rotation in another form; the same array when the form is the same."""
    if form == wanted:
        return rotation
    matrix = np.asarray(rotation, dtype=np.float64) if form == "matrix" else to_matrix(rotation, form)
    return from_matrix(matrix, wanted)


def to_matrix(rotation: np.ndarray, form: str) -> np.ndarray:
    """(3, 3) of a rotation; a quaternion or 6d vector need not have unit length."""
    numbers = np.asarray(rotation, dtype=np.float64)
    if form == "euler_xyz":
        (cx, cy, cz), (sx, sy, sz) = np.cos(numbers), np.sin(numbers)
        return np.array(
            [
                [cy * cz, sx * sy * cz - cx * sz, cx * sy * cz + sx * sz],
                [cy * sz, sx * sy * sz + cx * cz, cx * sy * sz - sx * cz],
                [-sy, sx * cy, cx * cy],
            ]
        )
    if form == "axis_angle":
        angle = float(np.linalg.norm(numbers))
        if angle < 1e-12:
            return np.eye(3)
        x, y, z = numbers / angle
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * (cross @ cross)
    if form in ("rot6d_rows", "rot6d_columns"):
        first, second = (numbers[0::2], numbers[1::2]) if form == "rot6d_rows" else (numbers[:3], numbers[3:])
        x = first / np.linalg.norm(first)
        y = second - (x @ second) * x
        y = y / np.linalg.norm(y)
        return np.stack([x, y, np.cross(x, y)], axis=1)
    w, x, y, z = numbers if form == "quaternion_wxyz" else np.roll(numbers, 1)
    w, x, y, z = np.array([w, x, y, z]) / math.sqrt(w * w + x * x + y * y + z * z)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def from_matrix(matrix: np.ndarray, form: str) -> np.ndarray:
    """A rotation matrix (3, 3) in that form; quaternions have w >= 0."""
    if form == "rot6d_rows":
        return matrix[:, :2].reshape(6)
    if form == "rot6d_columns":
        return matrix[:, :2].T.reshape(6)
    if form == "euler_xyz":
        pitch = math.asin(max(-1.0, min(1.0, -matrix[2, 0])))
        if abs(matrix[2, 0]) > 1 - 1e-12:  # roll and yaw turn about the same axis: all of it is yaw
            return np.array([0.0, pitch, math.atan2(-matrix[0, 1], matrix[1, 1])])
        return np.array([math.atan2(matrix[2, 1], matrix[2, 2]), pitch, math.atan2(matrix[1, 0], matrix[0, 0])])
    w, x, y, z = _quaternion(matrix)
    if form == "quaternion_wxyz":
        return np.array([w, x, y, z])
    if form == "quaternion_xyzw":
        return np.array([x, y, z, w])
    length = math.sqrt(x * x + y * y + z * z)
    if length < 1e-15:
        return np.zeros(3)
    return np.array([x, y, z]) / length * (2 * math.atan2(length, w))


def _quaternion(m: np.ndarray) -> tuple[float, float, float, float]:
    """wxyz by the largest of the four, which keeps the others exact."""
    squares = [
        1 + m[0, 0] + m[1, 1] + m[2, 2],
        1 + m[0, 0] - m[1, 1] - m[2, 2],
        1 - m[0, 0] + m[1, 1] - m[2, 2],
        1 - m[0, 0] - m[1, 1] + m[2, 2],
    ]
    largest = int(np.argmax(squares))
    s = 2 * math.sqrt(squares[largest])
    differences = (m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1])
    sums = {(1, 2): m[1, 0] + m[0, 1], (1, 3): m[0, 2] + m[2, 0], (2, 3): m[2, 1] + m[1, 2]}
    if largest == 0:
        found = [s / 4, *(each / s for each in differences)]
    else:
        found = [differences[largest - 1] / s, 0.0, 0.0, 0.0]
        for axis in (1, 2, 3):
            found[axis] = s / 4 if axis == largest else sums[min(axis, largest), max(axis, largest)] / s
    sign = -1.0 if found[0] < 0 else 1.0
    return tuple(sign * float(each) for each in found)  # type: ignore[return-value]
