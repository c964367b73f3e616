"""The convex shapes the Panda collides with, as circles and corners.

Fitted to the outlines of the official collision shapes: the arm's hulls are within about 2 mm of them
(0.5 mm on average), hand, fingers and gel pads within 1 mm. PyBullet works a link's inertia out of the
bounding box of its collision shape, so the extents matter more than the outlines. Metres, link frames.
"""

from __future__ import annotations

import numpy as np

from vla_bench.envs.calvin.builtin.shapes import Mesh, hull, ring
from vla_bench.envs.calvin.builtin.urdf import Vector

X, Y, Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
Circle = tuple[Vector, Vector, float]
"""Centre, axis, radius."""

ARM_CIRCLES: tuple[tuple[Circle, ...], ...] = (
    (  # The foot, its cable box behind, and the neck.
        ((-0.0272, 0, 0), Z, 0.0945),
        ((-0.0705, 0, 0), Z, 0.0836),
        ((0, 0, 0), Z, 0.0716),
        ((-0.066, 0, 0.027), Z, 0.0835),
        ((0, 0, 0.14), Z, 0.0555),
        ((0.0013, 0, 0.067), X, 0.0672),
    ),
    (  # A column that ends in the shoulder's axis, and the shoulder's dome.
        ((0, 0, -0.192), Z, 0.0552),
        ((0, 0, -0.125), Z, 0.055),
        ((0, 0, 0), Y, 0.055),
        ((0, -0.07, 0), Y, 0.055),
        ((0, -0.11, 0), Y, 0.0458),
        ((0, -0.1294, 0), Y, 0.014),
    ),
    (
        ((0, -0.194, 0), Y, 0.0552),
        ((0, -0.128, 0), Y, 0.055),
        ((0, 0, 0), Z, 0.055),
        ((0, 0, 0.068), Z, 0.055),
        ((0, 0, 0.11), Z, 0.0457),
        ((0, 0, 0.1294), Z, 0.013),
    ),
    (  # The upper arm: from its base out to the elbow's axis, and the elbow's dome.
        ((0, 0, -0.121), Z, 0.055),
        ((0, 0, -0.072), Z, 0.0532),
        ((0, 0, -0.0325), Z, 0.0432),
        ((0.0825, 0, 0), Y, 0.0551),
        ((0.0825, 0.0755, 0), Y, 0.052),
        ((0.0825, 0.096, 0), Y, 0.0439),
        ((0.0825, 0.1111, 0), Y, 0.0105),
    ),
    (
        ((-0.0825, 0.124, 0), Y, 0.0551),
        ((-0.0825, 0.0725, 0), Y, 0.053),
        ((-0.0825, 0.0325, 0), Y, 0.043),
        ((0, 0, 0), Z, 0.0551),
        ((0, 0, 0.0735), Z, 0.0522),
        ((0, 0, 0.0955), Z, 0.0442),
        ((0, 0, 0.111), Z, 0.0112),
    ),
    (  # The forearm down to the wrist's axis, and the wrist's dome.
        ((0, 0, -0.26), Z, 0.055),
        ((0, 0, -0.224), Z, 0.055),
        ((0, 0.0388, -0.1918), Z, 0.0514),
        ((0, 0.0158, 0), Y, 0.0486),
        ((0, 0.1007, 0), Y, 0.052),
        ((0, 0.1234, 0.0013), Y, 0.0315),
        ((0, 0.1298, 0.0062), Y, 0.0101),
    ),
    (  # The wrist: around its own axis, and around the flange's.
        ((0.088, -0.0512, 0), Y, 0.0443),
        ((0.088, 0.0505, 0), Y, 0.0412),
        ((0.0806, 0.0705, 0), Y, 0.0382),
        ((0.0731, 0.0815, 0), Y, 0.0175),
        ((0, 0, -0.015), Z, 0.048),
        ((0, 0, 0.0312), Z, 0.0465),
        ((0.0098, 0, 0.0562), Z, 0.0257),
    ),
    (  # The flange; its connector is among the corners.
        ((0, 0, 0.0521), Z, 0.044),
        ((0, 0, 0.097), Z, 0.044),
        ((0, 0, 0.1068), Z, 0.0311),
    ),
)
"""Circles on the hulls of links 0 to 7."""


def _connector() -> list[Vector]:
    """Corners of the flange's connector, which points to x = y, and of the nub opposite."""
    diagonal, across = np.array((1.0, 1.0, 0.0)) / np.sqrt(2), np.array((1.0, -1.0, 0.0)) / np.sqrt(2)
    profile = (
        (0.0823, 0.0300, 0.0767),
        (0.0800, 0.0298, 0.0960),
        (0.0860, 0.0292, 0.0858),
        (0.0875, 0.0080, 0.0860),
        (-0.0539, 0.0037, 0.0847),
    )
    return [
        tuple(float(value) for value in along * diagonal + sign * side * across + np.array((0.0, 0.0, z)))
        for along, side, z in profile
        for sign in (-1, 1)
    ]


ARM_CORNERS: dict[int, list[Vector]] = {
    0: [(-0.1363, -0.066, 0.0), (-0.1363, 0.066, 0.0)],
    5: [(-0.0497, 0.0, -0.2646)],
    7: _connector(),
}
"""Corners on the hulls besides the circles."""

HAND_PROFILE: tuple[Vector, ...] = (
    (0.0316, -0.0019, 0.0012),
    (0.0310, -0.0061, 0.0141),
    (0.0284, 0.0441, -0.0058),
    (0.0251, 0.0779, -0.0064),
    (0.0231, 0.0894, -0.0003),
    (0.0220, 0.0951, 0.0118),
    (0.0188, 0.0982, 0.0518),
    (0.0145, 0.1004, 0.0558),
    (0.0151, 0.0919, 0.0658),
    (0.0166, -0.0864, -0.0030),
    (0.0166, -0.0936, 0.0088),
    (0.0172, -0.0985, 0.0535),
    (0.0127, -0.1003, 0.0571),
    (0.0154, -0.0922, 0.0658),
    (0.0016, -0.0466, -0.0259),
    (0.0024, -0.0870, -0.0250),
    (0.0023, -0.1005, -0.0152),
    (0.0015, -0.1040, -0.0076),
)
"""Corners of one half of the hand; the other is its mirror image in x. z points to the fingertips."""

FINGER_PROFILE: tuple[Vector, ...] = (
    (0.0104, 0.0062, 0.0002),
    (0.0104, 0.0270, 0.0003),
    (0.0105, 0.0130, 0.0335),
    (0.0105, 0.0216, 0.0342),
    (0.0087, 0.0040, 0.0647),
    (0.0087, 0.0039, 0.0905),
    (0.0087, 0.0065, 0.0912),
    (0.0057, 0.0039, 0.0961),
    (0.0056, 0.0068, 0.0964),
)
"""Corners of one half of the left finger, which closes towards -y."""

PAD_BACK, PAD_FACE = 0.0161, 0.0201
PAD_ROWS = (
    (0.0047, 0.0082, 0.0012),
    (0.0085, 0.0092, 0.0002),
    (0.0235, 0.0092, 0.0002),
    (0.0277, 0.0069, 0.0012),
    (0.0297, 0.0032, 0.0020),
)
"""The gel pad on a fingertip: z, half width, how far its face falls back there."""
PAD_DOME = ((1.0, 0.0017), (0.72, 0.0007), (0.36, 0.0001))
"""Share of the half width, how far the face falls back there."""


def arm_hull(number: int) -> Mesh:
    """Link ``number`` (0 to 7) of the arm."""
    points = [ring(centre, axis, radius) for centre, axis, radius in ARM_CIRCLES[number]]
    points.append(np.array(ARM_CORNERS.get(number, [])).reshape(-1, 3))
    return hull(np.concatenate(points))


def hand_hull() -> Mesh:
    """The hand."""
    return hull(_mirrored(HAND_PROFILE))


def finger_hull(sign: int) -> Mesh:
    """The left (1) or right (-1) finger, without its gel pad."""
    return hull(_mirrored(FINGER_PROFILE) @ np.diag((sign, sign, 1.0)))


def pad_hull() -> Mesh:
    """The gel pad, in the tip's frame: x towards the other finger."""
    points = []
    for z, half, drop in PAD_ROWS:
        points += [(PAD_BACK, side * half, z) for side in (-1, 1)]
        points += [(PAD_FACE - drop - fall, side * share * half, z) for share, fall in PAD_DOME for side in (-1, 1)]
    return hull(np.array(points))


def _mirrored(profile: tuple[Vector, ...]) -> np.ndarray:
    half = np.array(profile)
    return np.concatenate([half, half * (-1.0, 1.0, 1.0)])
