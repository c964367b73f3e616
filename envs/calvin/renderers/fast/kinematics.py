"""Where links are, from the base's pose and the positions of joints.

PyBullet's own link poses are one substep old after a step, while its renderer draws the current ones;
asking PyBullet to refresh them would disturb the physics.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vla_bench.envs.calvin.renderers.fast.compiled import kernel

_FIXED, _REVOLUTE, _PRISMATIC = 0, 1, 2


class Skeleton:
    """The links of one body."""

    def __init__(self, bullet: Any, client: int, body: int, grid: float = 0.0) -> None:
        """Reads the body's joints, once. Positions are rounded to multiples of ``grid``, 0 for none."""
        self._bullet, self.body, self._grid = bullet, body, grid
        count = bullet.getNumJoints(body, physicsClientId=client)
        infos = [bullet.getJointInfo(body, joint, physicsClientId=client) for joint in range(count)]
        self.names = {info[12].decode(): info[0] for info in infos}
        """Link index by name."""
        kinds = {bullet.JOINT_REVOLUTE: _REVOLUTE, bullet.JOINT_PRISMATIC: _PRISMATIC}
        self._kinds = np.array([kinds.get(info[2], _FIXED) for info in infos], dtype=np.int64)
        self._movable = [int(joint) for joint in np.flatnonzero(self._kinds)]
        self._parents = np.array([info[16] for info in infos], dtype=np.int64)
        self._axes = np.array([info[13] for info in infos], dtype=np.float64).reshape(-1, 3)
        # From the parent's centre of mass to the joint; PyBullet gives the rotation inverted.
        self._joints = _stacked([frame(bullet, info[14], (*(-x for x in info[15][:3]), info[15][3])) for info in infos])
        self._inertial = _stacked(
            [frame(bullet, *bullet.getDynamicsInfo(body, info[0], physicsClientId=client)[3:5]) for info in infos]
        )
        self._positions = np.zeros(count)
        self._scratch = np.zeros((3, 3, 4))
        self.frames = np.zeros((1 + count, 3, 4))
        """World frames of the centres of mass (1 + links, 3, 4), base first, as of ``update``."""

    @property
    def moving(self) -> frozenset[int]:
        """The links that a joint can move."""
        moving: set[int] = set()
        for link, parent in enumerate(self._parents):
            if link in self._movable or parent in moving:
                moving.add(link)
        return frozenset(moving)

    def update(self, client: int) -> None:
        """Reads the body's pose in ``client`` and computes ``frames``."""
        p = self._bullet
        base = p.getBasePositionAndOrientation(self.body, physicsClientId=client)
        self.frames[0] = frame(p, *base)
        if self._movable:
            states = p.getJointStates(self.body, self._movable, physicsClientId=client)
            positions = np.array([state[0] for state in states])
            if self._grid:
                positions = np.round(positions / self._grid) * self._grid
            self._positions[self._movable] = positions
        if len(self._parents):
            _chain(
                self._kinds,
                self._parents,
                self._axes,
                self._joints,
                self._inertial,
                self._positions,
                self._scratch,
                self.frames,
            )


def frame(bullet: Any, position: Any, quaternion: Any) -> np.ndarray:
    """A pose as a (3, 4) matrix: rotation and translation."""
    matrix = np.empty((3, 4))
    matrix[:, :3] = np.array(bullet.getMatrixFromQuaternion(quaternion)).reshape(3, 3)
    matrix[:, 3] = position
    return matrix


def inverse(pose: np.ndarray) -> np.ndarray:
    """The pose (3, 4) that undoes ``pose``."""
    rotation = pose[:, :3].T
    return np.column_stack([rotation, -rotation @ pose[:, 3]])


def _stacked(frames: list[np.ndarray]) -> np.ndarray:
    return np.array(frames, dtype=np.float64).reshape(-1, 3, 4)


@kernel
def compose(a, b, out):
    """``out`` (3, 4) becomes ``a`` after ``b``, each with a last row of 0 0 0 1 understood."""
    for i in range(3):
        for j in range(4):
            value = a[i, 0] * b[0, j] + a[i, 1] * b[1, j] + a[i, 2] * b[2, j]
            out[i, j] = value + a[i, 3] if j == 3 else value


@kernel
def _chain(kinds, parents, axes, joints, inertial, positions, scratch, frames):
    joint, motion, moved = scratch[0], scratch[1], scratch[2]
    for link in range(len(parents)):
        compose(frames[parents[link] + 1], joints[link], joint)
        if kinds[link] == 0:
            compose(joint, inertial[link], frames[link + 1])
            continue
        x, y, z = axes[link, 0], axes[link, 1], axes[link, 2]
        value = positions[link]
        motion[:] = 0
        if kinds[link] == 1:
            c, s = math.cos(value), math.sin(value)
            k = 1 - c
            motion[0, 0], motion[0, 1], motion[0, 2] = c + x * x * k, x * y * k - z * s, x * z * k + y * s
            motion[1, 0], motion[1, 1], motion[1, 2] = y * x * k + z * s, c + y * y * k, y * z * k - x * s
            motion[2, 0], motion[2, 1], motion[2, 2] = z * x * k - y * s, z * y * k + x * s, c + z * z * k
        else:
            motion[0, 0] = motion[1, 1] = motion[2, 2] = 1
            motion[0, 3], motion[1, 3], motion[2, 3] = x * value, y * value, z * value
        compose(joint, motion, moved)
        compose(moved, inertial[link], frames[link + 1])
