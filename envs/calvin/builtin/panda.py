"""The Panda arm with longer fingers: kinematics, masses, limits, and what it collides with.

Joint frames and limits are Franka Emika's published ones; masses, centres of mass, contact constants,
the gripper camera's mount and the tool centre point are those of the robot in calvin_env 797142c.
Lengths are metres; the robot is loaded unscaled.

PyBullet works a link's inertia out of the bounding box of its collision shape, so the hulls below
keep the extents of the official ones, not only their outlines.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import numpy as np

from envs.calvin.builtin.files import MeshFiles
from envs.calvin.builtin.panda_look import finger_visuals, hand_visuals, link_visuals
from envs.calvin.builtin.shapes import Mesh, hull, ring
from envs.calvin.builtin.urdf import WHITE, Box, Inertial, Joint, Link, Vector, document

X, Y, Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
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

RINGS: tuple[tuple[tuple[Vector, Vector, float], ...], ...] = (
    (((-0.09, 0, 0), Z, 0.064), ((0, 0, 0), Z, 0.0716), ((0, 0, 0.14), Z, 0.06)),
    (
        ((0, 0, -0.192), Z, 0.055),
        ((0, 0, 0), Z, 0.055),
        ((0, -0.1294, 0), Y, 0.055),
        ((0, 0.055, 0), Y, 0.03),
    ),
    (
        ((0, -0.194, 0), Y, 0.055),
        ((0, 0, 0), Y, 0.055),
        ((0, 0, 0.1294), Z, 0.055),
        ((0, 0, -0.055), Z, 0.03),
    ),
    (
        ((0, 0, -0.121), Z, 0.055),
        ((0, 0, 0.055), Z, 0.03),
        ((0.0825, 0.1111, 0), Y, 0.055),
        ((0.0825, -0.055, 0), Y, 0.03),
    ),
    (
        ((-0.0825, 0.124, 0), Y, 0.055),
        ((-0.0825, -0.055, 0), Y, 0.03),
        ((0, 0, 0.1111), Z, 0.055),
        ((0, 0, -0.055), Z, 0.03),
    ),
    (
        ((0, 0, -0.2646), Z, 0.055),
        ((0, 0, -0.03), Z, 0.055),
        ((0, 0.1299, 0), Y, 0.052),
        ((0, -0.055, 0), Y, 0.03),
    ),
    (
        ((0, 0, -0.044), Z, 0.047),
        ((0, 0, 0.056), Z, 0.047),
        ((0.088, 0.0816, 0), Y, 0.044),
        ((0.088, -0.04, 0), Y, 0.03),
    ),
    (((0, 0, 0.052), Z, 0.044), ((0, 0, 0.1068), Z, 0.044)),
)
"""Collision hulls of links 0 to 7: circles by centre, axis and radius."""

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
        (f"panda_link{n}", Inertial(joint.mass, joint.centre, LINK_INERTIA))
        for n, joint in enumerate(ARM, start=1)
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


def arm_hull(number: int) -> Mesh:
    """The convex shape that link ``number`` of the arm collides with."""
    return hull(np.concatenate([ring(centre, axis, radius) for centre, axis, radius in RINGS[number]]))


def _hand(files: MeshFiles) -> list[Link | Joint]:
    shape = files.hulls("hand_hull", [hull(hand_points())])
    return [
        Link("panda_link8", Inertial(0.0, inertia=LINK_INERTIA)),
        Joint("panda_joint8", "fixed", "panda_link7", "panda_link8", (0, 0, 0.107)),
        Link("panda_hand", Inertial(0.81, (0, 0, 0.04), LINK_INERTIA), hand_visuals(files), (shape,)),
        Joint("panda_hand_joint", "fixed", "panda_link8", "panda_hand", (0, 0, 0), (0, 0, -pi / 4)),
    ]


def hand_points() -> np.ndarray:
    """Corners (N, 3) of the hand's hull, in its frame: z towards the fingertips, fingers along y."""
    return np.array(
        [
            (sx * x, sy * y, z)
            for x, y, z in (
                (0.0316, 0.1, 0.02),
                (0.0316, 0.1, 0.055),
                (0.025, 0.1022, 0.04),
                (0.025, 0.09, 0.066),
                (0.02, 0.09, -0.02),
                (0.0316, 0.03, -0.0259),
            )
            for sx in (-1, 1)
            for sy in (-1, 1)
        ]
    )


def finger_points() -> np.ndarray:
    """Corners (N, 3) of a finger's hull, in the left finger's frame: it closes towards -y."""
    half_base, half_tip = 0.0104, 0.0087
    profile = (
        (half_base, 0.0062, 0.0002),
        (half_base, 0.0269, 0.0003),
        (half_base, 0.0130, 0.0335),
        (half_base, 0.0216, 0.0342),
        (half_tip, 0.0040, 0.0647),
        (half_tip, 0.0040, 0.0905),
        (half_tip, 0.0065, 0.0912),
        (0.0056, 0.0039, 0.0961),
        (0.0056, 0.0068, 0.0964),
    )
    return np.array([(sign * x, y, z) for x, y, z in profile for sign in (-1, 1)])


def tip_points() -> np.ndarray:
    """Corners (N, 3) of a gel pad's hull, in the tip's frame: x towards the other finger."""
    rows = ((0.0047, 0.0082), (0.008, 0.0092), (0.0245, 0.0092), (0.0277, 0.0069), (0.0297, 0.0030))
    dome = ((0.0161, 1.0), (0.0184, 1.0), (0.0196, 0.7), (0.0201, 0.3))
    points = []
    for z, half in rows:
        # The pad bulges in both directions: its height falls off towards the ends as to the sides.
        drop = 0.0015 if z in (rows[0][0], rows[-1][0]) else 0.0
        points += [(max(x - drop, 0.0161), side * share * half, z) for x, share in dome for side in (-1, 1)]
    return np.array(points)


def _fingers(files: MeshFiles) -> list[Link | Joint]:
    members: list[Link | Joint] = []
    for side, name, sign in (("left", "finger_joint1", 1.0), ("right", "finger_joint2", -1.0)):
        turn = np.diag((sign, sign, 1.0))
        shape = files.hulls(f"{side}_finger_hull", [hull(finger_points() @ turn)])
        link = Link(
            f"panda_{side}finger",
            Inertial(0.1, (0.0, sign * 0.01, 0.02), LINK_INERTIA),
            finger_visuals(files, side, hull(finger_points() @ turn)),
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
        Link("gripper_cam", Inertial(0.2, inertia=LINK_INERTIA), visuals=((camera, WHITE),)),
        Joint("camera_joint", "fixed", "panda_hand", "gripper_cam", CAMERA_MOUNT, CAMERA_RPY),
        Link("tcp", Inertial(0.00001, inertia=LINK_INERTIA)),
        Joint("tcp_joint", "fixed", "panda_hand", "tcp", (0, 0, TCP_Z)),
    ]


def _tips(files: MeshFiles) -> list[Link | Joint]:
    members: list[Link | Joint] = []
    for side, sign in (("left", 1.0), ("right", -1.0)):
        name = f"finger_{side}_tip"
        pad = hull(tip_points())
        shape, x, y, z = files.hulls("tip", [pad]), *TIP_MOUNT
        members += [
            Link(name, Inertial(0.0001, inertia=(1, 1, 1)), ((shape, WHITE),), (shape,), TIP_CONTACT),
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
