"""What the Panda looks like: turned hubs and smooth tubes, white with dark seams.

Sizes follow the collision hulls; the look is our own and keeps the triangles few.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vla_bench.envs.calvin.builtin.files import MeshFiles
from vla_bench.envs.calvin.builtin.panda_hulls import X, Y, Z, arm_hull, finger_hull, hand_hull, pad_hull
from vla_bench.envs.calvin.builtin.shapes import Mesh, bevelled_box, hull, joined, ring, smoothed, turned
from vla_bench.envs.calvin.builtin.urdf import Colour, Geometry, Vector

Visuals = tuple[tuple[Geometry, Colour], ...]
Profile = Sequence[tuple[float, float]]
SHELL: Colour = (0.96, 0.96, 0.95)
SEAM: Colour = (0.20, 0.21, 0.23)
METAL: Colour = (0.86, 0.87, 0.88)
RUBBER: Colour = (0.16, 0.16, 0.17)
SEGMENTS = 20

SHOULDER: Profile = ((0.055, 0.0), (0.055, 0.0645), (0.0515, 0.09), (0.0463, 0.1075))
"""(Radius, distance along the axis) of the large hubs up to their dark ring."""
SHOULDER_RING: Profile = ((0.0463, 0.1075), (0.0375, 0.1165))
SHOULDER_CAP: Profile = ((0.0375, 0.1165), (0.0178, 0.127), (0.0, 0.1294))
ELBOW: Profile = ((0.055, 0.0), (0.055, 0.066), (0.052, 0.0755), (0.0439, 0.096))
ELBOW_RING: Profile = ((0.0439, 0.096), (0.035, 0.1025))
ELBOW_CAP: Profile = ((0.035, 0.1025), (0.0105, 0.1105), (0.0, 0.1111))
WRIST: Profile = ((0.044, 0.0158), (0.0486, 0.02), (0.052, 0.1007), (0.046, 0.111))
WRIST_RING: Profile = ((0.046, 0.111), (0.0365, 0.119))
WRIST_CAP: Profile = ((0.0365, 0.119), (0.0101, 0.1295), (0.0, 0.1299))


class _Paint:
    """Collects the shell and the seams of one link, each drawn as one mesh of one colour."""

    def __init__(self, files: MeshFiles, name: str) -> None:
        self._files = files
        self._name = name
        self._parts: dict[str, tuple[Colour, list[Mesh]]] = {}

    def add(self, kind: str, colour: Colour, *meshes: Mesh) -> None:
        self._parts.setdefault(kind, (colour, []))[1].extend(meshes)

    def visuals(self) -> Visuals:
        return tuple(
            (self._files.plain(f"{self._name}_{kind}", joined(meshes)), colour)
            for kind, (colour, meshes) in self._parts.items()
        )


def link_visuals(files: MeshFiles, number: int) -> Visuals:
    """Link ``number`` (0 to 7) of the arm."""
    paint = _Paint(files, f"link{number}")
    LINKS[number](paint)
    return paint.visuals()


def _foot(paint: _Paint) -> None:
    paint.add("shell", SHELL, smoothed(arm_hull(0), 50))
    paint.add("seam", SEAM, turned(((0.0575, 0.129), (0.0575, 0.1405), (0.0, 0.1405)), "z", SEGMENTS))


def _column(paint: _Paint, along: str, length: float, toward: str, sign: int) -> None:
    """A column from below up to a hub that stands across it."""
    dome = [(0.055 * np.cos(a), 0.055 * np.sin(a)) for a in np.radians((0, 30, 60, 90))]
    base = (0.0, -length), (0.055, -length), (0.055, 0.012 - length)
    paint.add("seam", SEAM, turned(base, along, SEGMENTS))
    paint.add("shell", SHELL, turned([base[-1], *dome[:-1], (0.0, 0.055)], along, SEGMENTS))
    _hub(paint, toward, sign, SHOULDER, SHOULDER_RING, SHOULDER_CAP)


def _hub(
    paint: _Paint, axis: str, sign: int, body: Profile, band: Profile, cap: Profile, at: Vector = (0, 0, 0)
) -> None:
    """A turned joint housing with a dark ring around its cap."""
    for kind, colour, profile in (("shell", SHELL, body), ("seam", SEAM, band), ("shell", SHELL, cap)):
        points = [(radius, sign * height) for radius, height in profile][::sign]
        paint.add(kind, colour, turned(points, axis, SEGMENTS).moved(shift=at))


def _tube(*circles: tuple[Vector, Vector, float]) -> Mesh:
    """A smooth convex body through circles."""
    points = [ring(centre, axis, radius, SEGMENTS) for centre, axis, radius in circles]
    return smoothed(hull(np.concatenate(points)), 45)


def _shoulder(paint: _Paint) -> None:
    _column(paint, "z", 0.192, "y", -1)


def _upper_arm_base(paint: _Paint) -> None:
    _column(paint, "y", 0.194, "z", 1)


def _upper_arm(paint: _Paint) -> None:
    paint.add("seam", SEAM, turned(((0.0, -0.121), (0.055, -0.121), (0.055, -0.11)), "z", SEGMENTS))
    paint.add(
        "shell",
        SHELL,
        _tube(
            ((0, 0, -0.11), Z, 0.055),
            ((0, 0, -0.072), Z, 0.0532),
            ((0, 0, -0.03), Z, 0.043),
            ((0.03, 0.03, 0), X, 0.04),
        ),
        _tube(((0, 0, -0.06), Z, 0.045), ((0.0825, 0.012, 0), Y, 0.05), ((0.0825, 0.075, 0), Y, 0.048)),
    )
    _hub(paint, "y", 1, ELBOW, ELBOW_RING, ELBOW_CAP, (0.0825, 0, 0))


def _elbow(paint: _Paint) -> None:
    paint.add(
        "seam",
        SEAM,
        turned(((0.055, 0.113), (0.055, 0.124), (0.0, 0.124)), "y", SEGMENTS).moved(shift=(-0.0825, 0, 0)),
    )
    paint.add(
        "shell",
        SHELL,
        _tube(
            ((-0.0825, 0.113, 0), Y, 0.055),
            ((-0.0825, 0.0725, 0), Y, 0.053),
            ((-0.0825, 0.033, 0), Y, 0.043),
            ((-0.05, 0, 0.03), X, 0.04),
        ),
        _tube(((-0.0825, 0.06, 0), Y, 0.045), ((0, 0, 0.012), Z, 0.05), ((0, 0, 0.075), Z, 0.048)),
    )
    _hub(paint, "z", 1, ELBOW, ELBOW_RING, ELBOW_CAP)


def _forearm(paint: _Paint) -> None:
    paint.add("seam", SEAM, turned(((0.0, -0.26), (0.055, -0.26), (0.055, -0.249)), "z", SEGMENTS))
    paint.add(
        "shell",
        SHELL,
        _tube(
            ((0, 0, -0.249), Z, 0.055),
            ((0, 0, -0.225), Z, 0.055),
            ((0, 0.0388, -0.19), Z, 0.051),
            ((0, 0.048, -0.13), Z, 0.042),
        ),
        _tube(((0, 0.045, -0.19), Z, 0.042), ((0, 0.035, 0), Y, 0.042), ((0, 0.098, 0), Y, 0.047)),
    )
    _hub(paint, "y", 1, WRIST, WRIST_RING, WRIST_CAP)


def _wrist(paint: _Paint) -> None:
    hub = ((0.0, -0.0148), (0.0475, -0.0148), (0.0475, 0.031), (0.04, 0.042))
    paint.add("shell", SHELL, turned(hub, "z", SEGMENTS))
    paint.add("seam", SEAM, turned(((0.04, 0.042), (0.033, 0.049)), "z", SEGMENTS))
    paint.add("shell", SHELL, turned(((0.033, 0.049), (0.02, 0.0555), (0.0, 0.0562)), "z", SEGMENTS))
    paint.add(
        "shell",
        SHELL,
        _tube(((0.02, 0, 0.008), X, 0.035), ((0.088, -0.03, 0), Y, 0.04), ((0.088, 0.03, 0), Y, 0.04)),
    )
    nose = ((0.044, -0.04), (0.044, 0.02), (0.0405, 0.0505), (0.036, 0.0705), (0.0175, 0.0810), (0.0, 0.0815))
    paint.add("shell", SHELL, turned(nose, "y", SEGMENTS).moved(shift=(0.088, 0, 0)))
    paint.add(
        "seam",
        SEAM,
        turned(((0.0, -0.0512), (0.0435, -0.0512), (0.044, -0.04)), "y", SEGMENTS).moved(shift=(0.088, 0, 0)),
    )


def _flange(paint: _Paint) -> None:
    paint.add("shell", SHELL, turned(((0.0, 0.052), (0.044, 0.052), (0.044, 0.097)), "z", SEGMENTS))
    paint.add("seam", SEAM, turned(((0.044, 0.097), (0.0311, 0.1068), (0.0, 0.1068)), "z", SEGMENTS))
    turn = np.array(((1, -1, 0), (1, 1, 0), (0, 0, np.sqrt(2)))) / np.sqrt(2)
    paint.add("shell", SHELL, bevelled_box((0.02, -0.03, 0.0767), (0.0875, 0.03, 0.096), 0.005).moved(turn))


LINKS = (_foot, _shoulder, _upper_arm_base, _upper_arm, _elbow, _forearm, _wrist, _flange)


def hand_visuals(files: MeshFiles) -> Visuals:
    """The hand, with the rail of the fingers."""
    paint = _Paint(files, "hand")
    paint.add("shell", SHELL, smoothed(hand_hull(), 40))
    paint.add("seam", SEAM, bevelled_box((-0.0125, -0.082, 0.05), (0.0125, 0.082, 0.0672), 0.002))
    return paint.visuals()


def finger_visuals(files: MeshFiles, side: str, sign: int) -> Visuals:
    """A finger without its gel pad."""
    return ((files.plain(f"{side}_finger", finger_hull(sign)), METAL),)


def pad_visuals(files: MeshFiles) -> Visuals:
    """A gel pad."""
    return ((files.plain("pad", smoothed(pad_hull(), 35)), RUBBER),)
