"""Commands that say where the tool shall be, as the changes that the WidowX's controller takes.

The controller adds each change to its own target: the position in the base frame, the rotation about the base's axes
(``align2``), beginning with where the tool is at the first step. So the change is the way from the last commanded pose
to this one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vla_bench.envs.simpler.rotations import (
    conjugate,
    euler_to_quaternion,
    product,
    quaternion_to_axis_angle,
    rotation_matrix,
)


class PoseTarget:
    """The last commanded pose of one trial."""

    def __init__(self, seen: Mapping[str, np.ndarray]) -> None:
        """Begins where the tool is: ``tcp_pose`` and ``base_pose`` (7,) of an observation, world frame, wxyz."""
        base, tool = (np.asarray(seen[name], dtype=np.float64) for name in ("base_pose", "tcp_pose"))
        self._position = rotation_matrix(base[3:]).T @ (tool[:3] - base[:3])
        self._quaternion = product(conjugate(base[3:]), tool[3:])

    def change_to(self, action: np.ndarray) -> np.ndarray:
        """The change (7,) that leads to a pose (7,): metres and Euler angles in the base frame, gripper command."""
        numbers = np.asarray(action, dtype=np.float64)
        quaternion = euler_to_quaternion(numbers[3:6])
        turn = product(quaternion, conjugate(self._quaternion))
        if turn[0] < 0:  # the shorter way round
            turn = -turn
        change = np.concatenate([numbers[:3] - self._position, quaternion_to_axis_angle(turn), numbers[6:]])
        self._position, self._quaternion = numbers[:3].copy(), quaternion
        return change
