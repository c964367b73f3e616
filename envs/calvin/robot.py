"""The Panda arm: inverse kinematics, motors, and the ways to command it.

Constants are those of calvin_env 797142c (``conf/robot/panda*.yaml``, ``robot.py``, ``mixed_ik.py``)
with the published ``merged_config.yaml`` (null space on, IKFast off, Euler observations).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vla_bench.envs.action_spec import ActionSpec
from vla_bench.envs.calvin.scenes import ROBOT_BASE

ARM_JOINTS = tuple(range(7))
FINGER_JOINTS = (9, 11)
GRIPPER_CAMERA_LINK = 14
TCP_LINK = 15
REST_JOINTS = (-1.21779206, 1.03987646, 2.11978261, -2.34205014, -0.87015947, 1.64119353, 0.55344866)
FINGER_OPEN = 0.04
"""Travel of one finger, metres."""
LOWER_LIMITS = np.array((-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973))
UPPER_LIMITS = np.array((2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973))
"""The inverse kinematics' answer is clipped to these, radians."""
ARM_FORCE, ARM_SPEED = 200.0, 2.0
GRIPPER_FORCE, GRIPPER_SPEED = 200.0, 1.0
OPENING_FORCE = GRIPPER_FORCE / 100
"""The gripper opens a hundred times more gently than it closes."""
POSITION_UNIT, ROTATION_UNIT = 0.02, 0.05
"""Metres and radians per unit of a relative action."""

ACTIONS = (
    ActionSpec("relative", 7, "tcp_delta", "world", "euler_xyz", POSITION_UNIT, ROTATION_UNIT, bounded=True),
    ActionSpec("absolute", 7, "tcp_pose", "world", "euler_xyz", exact_gripper=True),
    ActionSpec("absolute_quaternion", 8, "tcp_pose", "world", "quaternion_xyzw", exact_gripper=True),
    ActionSpec("absolute_axis_angle", 7, "tcp_pose", "world", "axis_angle", exact_gripper=True),
    ActionSpec("accumulated", 7, "tcp_delta", "world", "euler_xyz", exact_gripper=True, restarts=True),
    ActionSpec("joint_relative", 8, "joint_delta", "joint", "none", exact_gripper=True),
    ActionSpec("joint_absolute", 8, "joint_position", "joint", "none", exact_gripper=True),
)
"""Conventions the arm understands. ``relative`` moves an accumulated *target* pose in the world
frame, its angles added component by component to the target's Euler angles; the absolute ones do
not touch that target. ``accumulated`` does the same in metres and radians, but its target starts at each
subtask from ``robot_obs`` and its angles are brought into [-π, π) (``_process_delta_action`` of vla-eval 0.8.0).
Joint numbers are radians."""


def accumulated(pose: np.ndarray, action: np.ndarray) -> np.ndarray:
    """The next pose (6,) float64 of the convention ``accumulated``: metres, and Euler angles in [-π, π)."""
    moved = pose + action[:6]
    moved[3:] = (moved[3:] + np.pi) % (2 * np.pi) - np.pi
    return moved


def axis_angle_to_quaternion(turn: np.ndarray) -> np.ndarray:
    """xyzw (4,) float64 of axis times angle (3,)."""
    turn = np.asarray(turn, dtype=np.float64)
    angle = float(np.linalg.norm(turn))
    axis = turn / angle if angle else turn
    return np.array([*(axis * np.sin(angle / 2)), np.cos(angle / 2)])


class Panda:
    """The arm in one physics client. Loaded anew with every world, since body ids are per load."""

    def __init__(
        self, bullet: Any, client: int, data: Path, action: str, flags: int, use_target_pose: bool = True
    ) -> None:
        """Loads the arm, its base cylinder and the constraint that keeps the fingers centred.

        ``flags`` are those of PyBullet's loadURDF. Without ``use_target_pose`` (the original's switch of that name)
        relative actions are added to the measured pose of the tool.
        """
        self._bullet = bullet
        self._use_target_pose = use_target_pose
        self._client = client
        p = bullet
        self.body = p.loadURDF(
            str(data / "franka_panda/panda_longer_finger.urdf"),
            ROBOT_BASE,
            p.getQuaternionFromEuler((0, 0, 0)),
            useFixedBase=True,
            flags=flags,
            physicsClientId=client,
        )
        self._add_base_cylinder()
        gear = p.createConstraint(
            self.body,
            FINGER_JOINTS[0],
            self.body,
            FINGER_JOINTS[1],
            jointType=p.JOINT_GEAR,
            jointAxis=(1, 0, 0),
            parentFramePosition=(0, 0, 0),
            childFramePosition=(0, 0, 0),
            physicsClientId=client,
        )
        p.changeConstraint(gear, gearRatio=-1, erp=0.1, maxForce=50, physicsClientId=client)
        freedoms = p.computeDofCount(self.body, physicsClientId=client)
        self._null_space = {
            "lowerLimits": [-7] * freedoms,
            "upperLimits": [7] * freedoms,
            "jointRanges": [7] * freedoms,
            "restPoses": [*REST_JOINTS, FINGER_OPEN, FINGER_OPEN],
        }
        self.gripper_command: Any = 1
        self.target_position = np.zeros(3)
        self.target_euler = np.zeros(3)
        self.use_convention(action)
        self.reset(None)

    def use_convention(self, action: str) -> None:
        """Reads further commands as the convention of that name in ``ACTIONS``."""
        self._command: Callable[[np.ndarray], None] = getattr(self, f"_command_{action}")
        self._accumulates = action == "accumulated"

    def _add_base_cylinder(self) -> None:
        x, y, height = ROBOT_BASE
        cylinder = self._bullet.createVisualShape(
            shapeType=self._bullet.GEOM_CYLINDER,
            rgbaColor=(1, 1, 1, 1),
            radius=0.13,
            length=height,
            visualFramePosition=(x - 0.05, y, height / 2),
            physicsClientId=self._client,
        )
        self._bullet.createMultiBody(baseVisualShapeIndex=cylinder, physicsClientId=self._client)

    def reset(self, robot_obs: np.ndarray | None) -> None:
        """Puts the joints and fingers where ``robot_obs`` (15,) has them; None: rest pose, open.

        The tool pose and the gripper command in ``robot_obs`` are ignored, as in the original. The
        fingers hold their opening until the first action.
        """
        joints = REST_JOINTS if robot_obs is None else robot_obs[7:14]
        finger = FINGER_OPEN if robot_obs is None else robot_obs[6] / 2
        p = self._bullet
        for joint, value in zip(ARM_JOINTS, joints, strict=True):
            p.resetJointState(self.body, joint, value, physicsClientId=self._client)
            self._drive(joint, value, ARM_FORCE, ARM_SPEED)
        for joint in FINGER_JOINTS:
            p.resetJointState(self.body, joint, finger, physicsClientId=self._client)
            self._drive(joint, finger, GRIPPER_FORCE, GRIPPER_SPEED)
        self.target_position, self.target_euler = self.measured()

    def command(self, action: np.ndarray) -> None:
        """Sets the motors' targets for the next control step. ``action``: (7,) or (8,), see ``ACTIONS``.

        Raises:
            ValueError: if the gripper number is neither -1 (close) nor 1 (open).
        """
        gripper = action[-1]
        if gripper != 1 and gripper != -1:
            raise ValueError(f"the gripper number of an action must be -1 (close) or 1 (open), not {gripper!r}")
        self.gripper_command = gripper
        self._command(action)

    def _command_relative(self, action: np.ndarray) -> None:
        # Scaled in the action's own dtype, then added to the float64 target: that is what the
        # original does, and float32 actions give other bits than float64 ones.
        if not self._use_target_pose:
            self.target_position, self.target_euler = self.measured()
        self.target_position += action[:3] * POSITION_UNIT
        self.target_euler += action[3:6] * ROTATION_UNIT
        self._command_pose(self.target_position, self._bullet.getQuaternionFromEuler(self.target_euler))

    def measured(self) -> tuple[np.ndarray, np.ndarray]:
        """Position (3,) and Euler angles (3,) of the tool in the world, one substep old (:meth:`observation`)."""
        position, quaternion = self._bullet.getLinkState(self.body, TCP_LINK, physicsClientId=self._client)[:2]
        return np.array(position), np.array(self._bullet.getEulerFromQuaternion(quaternion))

    def begin_subtask(self) -> None:
        """Lets an accumulated target start from where the tool is."""
        if self._accumulates:
            pose = self.observation()[:6]
            self.target_position, self.target_euler = pose[:3], pose[3:]

    def _command_accumulated(self, action: np.ndarray) -> None:
        pose = accumulated(np.concatenate([self.target_position, self.target_euler]), action)
        self.target_position, self.target_euler = pose[:3], pose[3:]
        self._command_absolute(pose.astype(np.float32))  # vla-eval hands it on as a float32 tensor

    def _command_absolute_axis_angle(self, action: np.ndarray) -> None:
        self._command_pose(action[:3], axis_angle_to_quaternion(action[3:6]))

    def _command_absolute(self, action: np.ndarray) -> None:
        self._command_pose(action[:3], self._bullet.getQuaternionFromEuler(action[3:6]))

    def _command_absolute_quaternion(self, action: np.ndarray) -> None:
        self._command_pose(action[:3], action[3:7])

    def _command_joint_relative(self, action: np.ndarray) -> None:
        states = self._bullet.getJointStates(self.body, ARM_JOINTS, physicsClientId=self._client)
        self._command_joints(np.array([state[0] for state in states]) + action[:7])

    def _command_joint_absolute(self, action: np.ndarray) -> None:
        self._command_joints(action[:7])

    def _command_pose(self, position: Any, quaternion: Any) -> None:
        joints = self._bullet.calculateInverseKinematics(
            self.body, TCP_LINK, position, quaternion, **self._null_space, physicsClientId=self._client
        )
        self._command_joints(np.clip(joints[:7], LOWER_LIMITS, UPPER_LIMITS))

    def _command_joints(self, joints: np.ndarray) -> None:
        for joint in ARM_JOINTS:
            self._drive(joint, joints[joint], ARM_FORCE, ARM_SPEED)
        opening = self.gripper_command == 1
        for joint in FINGER_JOINTS:
            self._drive(
                joint,
                FINGER_OPEN if opening else 0.0,
                OPENING_FORCE if opening else GRIPPER_FORCE,
                GRIPPER_SPEED,
            )

    def _drive(self, joint: int, target: float, force: float, speed: float) -> None:
        self._bullet.setJointMotorControl2(
            self.body,
            joint,
            self._bullet.POSITION_CONTROL,
            targetPosition=target,
            force=force,
            maxVelocity=speed,
            physicsClientId=self._client,
        )

    def observation(self) -> np.ndarray:
        """``robot_obs`` (15,) float64, named by :data:`vla_bench.envs.calvin.state.ROBOT_OBS`.

        The tool pose is one substep old: PyBullet does not recompute link frames after a step
        unless asked, and the original does not ask. The joints are current.
        """
        p = self._bullet
        position, quaternion = p.getLinkState(self.body, TCP_LINK, physicsClientId=self._client)[:2]
        states = p.getJointStates(self.body, (*FINGER_JOINTS, *ARM_JOINTS), physicsClientId=self._client)
        left, right, *arm = (state[0] for state in states)
        euler = p.getEulerFromQuaternion(quaternion)
        return np.array((*position, *euler, left + right, *arm, self.gripper_command), dtype=np.float64)
