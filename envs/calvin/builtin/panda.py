"""The Panda arm with longer fingers: kinematics, masses, limits, and what it collides with.

Joint frames and limits are Franka Emika's published ones; masses, centres of mass, contact constants,
the gripper camera's mount and the tool centre point are those of the robot in calvin_env 797142c.
Lengths are metres; the robot is loaded unscaled.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

from vla_bench.envs.calvin.builtin.files import MeshFiles
from vla_bench.envs.calvin.builtin.panda_hulls import arm_hull, finger_hull, hand_hull, pad_hull
from vla_bench.envs.calvin.builtin.panda_look import (
    SEAM,
    finger_visuals,
    hand_visuals,
    link_visuals,
    pad_visuals,
)
from vla_bench.envs.calvin.builtin.urdf import Box, Inertial, Joint, Link, Vector, document

X, Z = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
LINK_INERTIA = (0.1, 0.1, 0.1)


@dataclass(frozen=True, slots=True)
class ArmJoint:
    """One of the seven arm joints and the link it carries."""

    xyz: Vector
    roll: float
    limits: tuple[float, float]
    effort: float
    velocity: float
    mass: float
    centre: Vector


ARM = (
    ArmJoint((0, 0, 0.333), 0, (-2.9671, 2.9671), 87, 2.175, 2.7, (0, -0.04, -0.05)),
    ArmJoint((0, 0, 0), -pi / 2, (-1.8326, 1.8326), 87, 2.175, 2.73, (0, -0.04, 0.06)),
    ArmJoint((0, -0.316, 0), pi / 2, (-2.9671, 2.9671), 87, 2.175, 2.04, (0.01, 0.01, -0.05)),
    ArmJoint((0.0825, 0, 0), pi / 2, (-3.1416, 0.0), 87, 2.175, 2.08, (-0.03, 0.03, 0.02)),
    ArmJoint((-0.0825, 0.384, 0), -pi / 2, (-2.9671, 2.9671), 12, 2.61, 3.0, (0, 0.04, -0.12)),
    ArmJoint((0, 0, 0), pi / 2, (-0.0873, 3.8223), 12, 2.61, 1.3, (0.04, 0, 0)),
    ArmJoint((0.088, 0, 0), pi / 2, (-2.9671, 2.9671), 12, 2.61, 0.2, (0, 0, 0.08)),
)
"""Joints 1 to 7. Limits are the wider ones of the official file (rad); speeds rad/s, efforts N m."""

FINGER_JOINT_Z, FINGER_TRAVEL = 0.0584, 0.04
CAMERA_MOUNT, CAMERA_RPY = (-0.1, 0.0, 0.0), (1.3, 0.0, -1.57)
TCP_Z, GRASP_TARGET_Z = 0.14, 0.105
TIP_MOUNT, TIP_TURN = (0.0009, 0.021, 0.066), 1.57
FINGER_CONTACT = {
    "friction_anchor": None,
    "stiffness": 30000.0,
    "damping": 1000.0,
    "spinning_friction": 0.1,
    "lateral_friction": 1.0,
}
TIP_CONTACT = {"lateral_friction": 1.0, "spinning_friction": 0.001}


def panda_files() -> dict[str, str]:
    """The robot's URDF and meshes, by path below ``data/``."""
    files = MeshFiles("franka_panda/meshes", "meshes")
    members = [*_arm(files), *_hand(files), *_fingers(files), *_frames(), *_tips(files)]
    return files.texts | {"franka_panda/panda_longer_finger.urdf": document("panda", members)}


def _arm(files: MeshFiles) -> list[Link | Joint]:
    links = [("panda_link0", Inertial(2.9, (0, 0, 0.05), LINK_INERTIA))]
    links += [
        (f"panda_link{n}", Inertial(joint.mass, joint.centre, LINK_INERTIA)) for n, joint in enumerate(ARM, start=1)
    ]
    members: list[Link | Joint] = []
    for number, (name, inertial) in enumerate(links):
        shape = files.hulls(f"link{number}_hull", [arm_hull(number)])
        members.append(Link(name, inertial, link_visuals(files, number), (shape,)))
    for number, joint in enumerate(ARM, start=1):
        members.append(
            Joint(
                f"panda_joint{number}",
                "revolute",
                f"panda_link{number - 1}",
                f"panda_link{number}",
                joint.xyz,
                (joint.roll, 0.0, 0.0),
                Z,
                limits=joint.limits,
                effort=joint.effort,
                velocity=joint.velocity,
            )
        )
    return members


def _hand(files: MeshFiles) -> list[Link | Joint]:
    shape = files.hulls("hand_hull", [hand_hull()])
    return [
        Link("panda_link8", Inertial(0.0, inertia=LINK_INERTIA)),
        Joint("panda_joint8", "fixed", "panda_link7", "panda_link8", (0, 0, 0.107)),
        Link("panda_hand", Inertial(0.81, (0, 0, 0.04), LINK_INERTIA), hand_visuals(files), (shape,)),
        Joint("panda_hand_joint", "fixed", "panda_link8", "panda_hand", (0, 0, 0), (0, 0, -pi / 4)),
    ]


def _fingers(files: MeshFiles) -> list[Link | Joint]:
    members: list[Link | Joint] = []
    for side, name, sign in (("left", "finger_joint1", 1), ("right", "finger_joint2", -1)):
        shape = files.hulls(f"{side}_finger_hull", [finger_hull(sign)])
        link = Link(
            f"panda_{side}finger",
            Inertial(0.1, (0.0, sign * 0.01, 0.02), LINK_INERTIA),
            finger_visuals(files, side, sign),
            (shape,),
            contact=FINGER_CONTACT,
        )
        joint = Joint(
            f"panda_{name}",
            "prismatic",
            "panda_hand",
            link.name,
            (0.0, 0.0, FINGER_JOINT_Z),
            axis=(0.0, sign, 0.0),
            limits=(0.0, FINGER_TRAVEL),
            effort=20.0,
            velocity=0.2,
            mimic="" if sign > 0 else "panda_finger_joint1",
        )
        members += [link, joint]
    return members


def _frames() -> list[Link | Joint]:
    """Frames without a body: grasp target, gripper camera, tool centre point."""
    camera = Box((-0.04, -0.0125, -0.005), (0.04, 0.0125, 0.005))
    return [
        Link("panda_grasptarget", Inertial(0.0, inertia=LINK_INERTIA)),
        Joint("panda_grasptarget_hand", "fixed", "panda_hand", "panda_grasptarget", (0, 0, GRASP_TARGET_Z)),
        Link("gripper_cam", Inertial(0.2, inertia=LINK_INERTIA), visuals=((camera, SEAM),)),
        Joint("camera_joint", "fixed", "panda_hand", "gripper_cam", CAMERA_MOUNT, CAMERA_RPY),
        Link("tcp", Inertial(0.00001, inertia=LINK_INERTIA)),
        Joint("tcp_joint", "fixed", "panda_hand", "tcp", (0, 0, TCP_Z)),
    ]


def _tips(files: MeshFiles) -> list[Link | Joint]:
    members: list[Link | Joint] = []
    for side, sign in (("left", 1.0), ("right", -1.0)):
        name = f"finger_{side}_tip"
        shape, x, y, z = files.hulls("pad_hull", [pad_hull()]), *TIP_MOUNT
        members += [
            Link(name, Inertial(0.0001, inertia=(1, 1, 1)), pad_visuals(files), (shape,), TIP_CONTACT),
            Joint(
                f"joint_finger_tip_{side}",
                "fixed",
                f"panda_{side}finger",
                name,
                (sign * x, sign * y, z),
                (0.0, 0.0, -sign * TIP_TURN),
                X,
                effort=100.0,
                velocity=100.0,
                dynamics=(100.0, 100.0),
            ),
        ]
    return members
