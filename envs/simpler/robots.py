"""The two robots: how they are controlled, what they see, and what the numbers of an action mean.

The control facts are those of ManiSkill2_real2sim ef7a4d4 (``agents/configs``) and of the
evaluation scripts of SimplerEnv 4ab7178.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vla_bench.envs.action_spec import ActionSpec


@dataclass(frozen=True, slots=True)
class Robot:
    """One embodiment."""

    name: str
    control_mode: str
    """Controller of the original package."""
    control_hz: int
    physics_hz: int
    camera: str
    """The camera policies look through; the only one that is rendered."""
    height: int
    width: int
    """Pixels of that camera."""
    start_height: float
    """Metres of the base above the world's origin, where a task does not say otherwise."""
    actions: tuple[ActionSpec, ...]
    """Conventions it understands. A delta is in the base frame about the end effector, metres and
    radians, never normalised or clipped. WidowX adds it to the previous target pose and takes the
    gripper command as it is (+1 opens to 38 mm, -1 closes); the Google Robot adds it to the measured
    pose and moves the gripper by the command (+1 closes by 1.31 rad a step). ``bridge_pose`` says where the tool
    shall be, and becomes the change from where it was told to be last (:mod:`.pose_target`)."""


def _conventions(name: str, gripper_open: float, gripper: str) -> tuple[ActionSpec, ...]:
    return tuple(
        ActionSpec(
            name=name + suffix,
            size=7,
            control="tcp_delta",
            frame="base",
            rotation=rotation,
            gripper_open=gripper_open,
            gripper_closed=-gripper_open,
            gripper=gripper,  # type: ignore[arg-type]
        )
        for suffix, rotation in (("", "axis_angle"), ("_euler", "euler_xyz"))
    )


WIDOWX_JOINTS = 8


def closedness(qpos: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """How far the gripper is closed, (1,) float32 from 0 (open) to 1: the mean of both fingers.

    ``get_gripper_closedness`` of ManiSkill2_real2sim's robots: the WidowX's last two joints between their limits, the
    Google Robot's fingers (fourth and third from the end) as a share of the upper limit.

    Args:
        qpos: joint positions (8,) or (11,).
        limits: (8, 2) or (11, 2), lower and upper.
    """
    if len(qpos) == WIDOWX_JOINTS:
        fingers, low, high = qpos[-2:], limits[-2:, 0], limits[-2:, 1]
        shares = (high - fingers) / (high - low)
    else:
        shares = qpos[-4:-2] / limits[-4:-2, 1]
    return np.array([max(float(np.mean(shares)), 0.0)], dtype=np.float32)


# Where the tool shall be in the base frame; only for a controller whose target stays where it was commanded.
_POSE = ActionSpec("bridge_pose", 7, "tcp_pose", "base", "euler_xyz")

WIDOWX = Robot(
    name="widowx",
    control_mode="arm_pd_ee_target_delta_pose_align2_gripper_pd_joint_pos",
    control_hz=5,
    physics_hz=500,
    camera="3rd_view_camera",
    height=480,
    width=640,
    start_height=0.870,
    actions=(*_conventions("bridge", 1.0, "absolute"), _POSE),
)

# The Octo script of pick coke can, visual matching, has 501 Hz; all others, RT-1's included, have 513.
GOOGLE_ROBOT = Robot(
    name="google_robot",
    control_mode="arm_pd_ee_delta_pose_align_interpolate_by_planner_gripper_pd_joint_target_delta_pos_"
    "interpolate_by_planner",
    control_hz=3,
    physics_hz=513,
    camera="overhead_camera",
    height=512,
    width=640,
    start_height=0.06205 + 0.017,
    actions=_conventions("fractal", -1.0, "relative"),
)

ROBOTS = {robot.name: robot for robot in (WIDOWX, GOOGLE_ROBOT)}
