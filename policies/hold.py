"""The action that changes nothing, in each convention: the arm stays, the gripper is left open."""

from __future__ import annotations

import numpy as np

from vla_bench.envs.action_spec import ActionSpec
from vla_bench.envs.observation import Observation
from vla_bench.policies.errors import PolicyError

# Where an environment's state vectors hold what an absolute convention repeats, by control and
# size of the arm part. CALVIN's robot_obs: position 0-2, Euler angles 3-5, joints 7-13.
_POSES: dict[tuple[str, str, int], tuple[str, slice]] = {
    ("tcp_pose", "none", 3): ("state", slice(0, 3)),
    ("tcp_pose", "euler_xyz", 6): ("robot_obs", slice(0, 6)),
    ("joint_position", "none", 7): ("robot_obs", slice(7, 14)),
}


def needs_pose(action: ActionSpec) -> bool:
    """True when standing still takes knowing where one stands: the convention commands values."""
    return action.control in ("tcp_pose", "joint_position")


def holding_action(action: ActionSpec, observation: Observation | None = None) -> np.ndarray:
    """The action (A,) float64 that stays where ``observation`` was taken, gripper open.

    ``observation`` may be None for a convention that commands changes. PolicyError: the
    convention, or the state vector it needs, is not known here.
    """
    still = np.zeros(action.size)
    still[-1] = action.gripper_open
    if needs_pose(action):
        still[:-1] = _pose(action, observation)
    return still


def _pose(action: ActionSpec, observation: Observation | None) -> np.ndarray:
    arm = action.size - 1
    if (action.control, action.rotation, arm) == ("tcp_pose", "quaternion_xyzw", 7):
        pose = _pose_numbers("robot_obs", slice(0, 6), observation)
        return np.concatenate([pose[:3], _quaternion(pose[3:])])
    if (action.control, action.rotation, arm) == ("tcp_pose", "axis_angle", 6):
        pose = _pose_numbers("robot_obs", slice(0, 6), observation)
        x, y, z, w = _quaternion(pose[3:])
        length = float(np.linalg.norm((x, y, z)))
        turn = np.array([x, y, z]) / length * (2 * np.arctan2(length, w)) if length else np.zeros(3)
        return np.concatenate([pose[:3], turn])
    try:
        name, part = _POSES[action.control, action.rotation, arm]
    except KeyError:
        raise PolicyError(
            f"cannot hold still in the convention {action.name!r} ({action.control}, {action.rotation}): "
            "no state vector says where the robot is; choose a convention of changes, e.g. tcp_delta"
        ) from None
    return _pose_numbers(name, part, observation)


def _pose_numbers(name: str, part: slice, observation: Observation | None) -> np.ndarray:
    if observation is None or name not in observation:
        raise PolicyError(f"cannot hold still without the state vector {name!r}, which is not observed")
    return observation[name][part]


def _quaternion(euler: np.ndarray) -> np.ndarray:
    """xyzw of extrinsic xyz Euler angles in radians (Bullet's convention)."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(euler / 2), np.sin(euler / 2)
    return np.array(
        [
            sx * cy * cz - cx * sy * sz,
            cx * sy * cz + sx * cy * sz,
            cx * cy * sz - sx * sy * cz,
            cx * cy * cz + sx * sy * sz,
        ]
    )
