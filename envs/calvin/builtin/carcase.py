"""The part of the table that does not move: top, legs, drawer case, cupboard, and the button's collar.

All of it is ``base_link``. It collides as convex boxes and prisms rather than as one concave mesh,
which Bullet handles faster and without catching on inner edges.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import HalfspaceIntersection

from envs.calvin.builtin import dimensions as d
from envs.calvin.builtin.files import MeshFiles
from envs.calvin.builtin.layouts import Layout
from envs.calvin.builtin.shapes import Mesh, box, grained, hull, joined, prism
from envs.calvin.builtin.urdf import WHITE, Box, Inertial, Link

WOOD_REPEAT = 0.55
"""Length one texture covers."""


def base_link(files: MeshFiles, layout: Layout) -> Link:
    """The fixed part of a table."""
    boxes, prisms = _boxes(layout), _prisms(layout)
    solids = [box(part.low, part.high) for part in boxes] + prisms
    collar = prism(_circle(layout.button, d.COLLAR_RADIUS), d.HEIGHT, d.HEIGHT + d.COLLAR_HEIGHT, "z")
    wood = [grained(solid, "x", WOOD_REPEAT) for solid in solids]
    hulls = [_shrunk(part) for part in [*prisms, collar]]
    return Link(
        "base_link",
        Inertial(mass=0.0),
        visuals=((files.textured("carcase", joined([*wood, collar])), WHITE),),
        collisions=[*boxes, files.hulls("carcase_hulls", hulls)],
    )


def _boxes(layout: Layout) -> list[Box]:
    """Top, legs and case as boxes."""
    half_x, half_y = d.WIDTH / 2, d.DEPTH / 2
    under_top = d.HEIGHT - d.TOP_THICKNESS
    legs = [
        Box((x, y, 0.0), (x + d.LEG_X, y + d.LEG_Y, under_top))
        for x in (-half_x, half_x - d.LEG_X)
        for y in (-half_y, half_y - d.LEG_Y)
    ]
    case_x, case_y = d.CASE_HALF_X - d.CASE_STEP_X, d.CASE_HALF_Y
    left, right = layout.drawer - d.DRAWER_HALF, layout.drawer + d.DRAWER_HALF
    side_y = d.CASE_HALF_Y - d.CASE_STEP_Y
    case = [
        Box((-case_x, -case_y, d.CASE_LOW), (case_x, case_y, d.DRAWER_Z)),
        Box((-case_x, -case_y, d.DRAWER_Z), (left, case_y, under_top)),
        Box((right, -case_y, d.DRAWER_Z), (case_x, case_y, under_top)),
        Box((left, d.DRAWER_BACK, d.DRAWER_Z), (right, case_y, under_top)),
        Box((-d.CASE_HALF_X, -side_y, d.CASE_LOW), (-case_x, side_y, under_top)),
        Box((case_x, -side_y, d.CASE_LOW), (d.CASE_HALF_X, side_y, under_top)),
    ]
    top = [
        Box((-half_x, -half_y, under_top), (half_x, d.CUPBOARD_FRONT, d.HEIGHT)),
        Box((-half_x, d.CUPBOARD_FRONT, under_top), (half_x, half_y, d.CABINET_FLOOR)),
    ]
    back = Box(
        (layout.cabinet - d.CABINET_HALF, d.CABINET_BACK, d.CABINET_FLOOR),
        (layout.cabinet + d.CABINET_HALF, half_y, d.HEIGHT + d.CUPBOARD_HEIGHT),
    )
    return [*top, *legs, *case, back]


def _prisms(layout: Layout) -> list[Mesh]:
    """The sloping parts: the pillars on both sides of the cabinet and the beam above it."""
    left, right = layout.cabinet - d.CABINET_HALF, layout.cabinet + d.CABINET_HALF
    parts = [_beam(left, right)]
    for low, high in ((-d.WIDTH / 2, left), (right, d.WIDTH / 2)):
        parts += _pillar_parts(low, high, layout.switch)
    return parts


def _pillar_parts(low: float, high: float, switch: float) -> list[Mesh]:
    """A pillar as one prism, or, where the switch is, as a core with slats around the two slots."""
    if not low < switch < high:
        return [_pillar(low, high)]
    core = _pillar(low, high, recess=d.SLOT_DEPTH)
    edges = [low, *(switch + x for x in (-d.SLOT_FAR, -d.SLOT_NEAR, d.SLOT_NEAR, d.SLOT_FAR)), high]
    slats = [(edges[k], edges[k + 1], 0.0, d.FRONT_LENGTH) for k in (0, 2, 4)]
    for k in (1, 3):
        slats += [
            (edges[k], edges[k + 1], 0.0, d.SLOT_LOW),
            (edges[k], edges[k + 1], d.SLOT_HIGH, d.FRONT_LENGTH),
        ]
    return [core, *(_slat(*slat) for slat in slats)]


def _front_section(recess: float = 0.0) -> list[tuple[float, float]]:
    """Lower and upper (y, z) of the cupboard's front, set back by ``recess``."""
    foot = d.on_front(0.0, 0.0, -recess)
    head = d.on_front(0.0, d.FRONT_LENGTH, -recess)
    # Along the slope to the heights of the table top and the cupboard's top.
    slope = 1 / np.sqrt(3)
    top = d.HEIGHT + d.CUPBOARD_HEIGHT
    return [
        (foot[1] + (d.HEIGHT - foot[2]) * slope, d.HEIGHT),
        (head[1] + (top - head[2]) * slope, top),
    ]


def _pillar(low: float, high: float, recess: float = 0.0) -> Mesh:
    (foot_y, foot_z), (head_y, head_z) = _front_section(recess)
    back = d.DEPTH / 2
    # The pillar reaches down to the boards of the top, which are only cut out at the cabinet.
    section = [
        (foot_y, d.CABINET_FLOOR),
        (back, d.CABINET_FLOOR),
        (back, head_z),
        (head_y, head_z),
        (foot_y, foot_z),
    ]
    return prism(np.array(section), low, high)


def _slat(low: float, high: float, start: float, end: float) -> Mesh:
    corners = [
        d.on_front(x, up, out) for x in (low, high) for up in (start, end) for out in (-d.SLOT_DEPTH, 0)
    ]
    return hull(np.array(corners))


def _beam(left: float, right: float) -> Mesh:
    top, slope = d.HEIGHT + d.CUPBOARD_HEIGHT, 1 / np.sqrt(3)
    ceiling_front = d.CUPBOARD_FRONT + (d.CABINET_CEILING - d.HEIGHT) * slope
    section = [
        (ceiling_front, d.CABINET_CEILING),
        (d.CABINET_BACK, d.CABINET_CEILING),
        (d.CABINET_BACK, top),
        (d.CUPBOARD_TOP_FRONT, top),
    ]
    return prism(np.array(section), left, right)


def _circle(centre: tuple[float, float], radius: float, segments: int = 24) -> np.ndarray:
    angles = 2 * np.pi * np.arange(segments) / segments
    return np.stack([centre[0] + radius * np.cos(angles), centre[1] + radius * np.sin(angles)], axis=1)


def _shrunk(mesh: Mesh) -> Mesh:
    """A convex mesh with every face moved inwards by Bullet's margin, which puts it back in place."""
    offsets = np.einsum("ij,ij->i", mesh.normals, mesh.points)
    planes = np.unique(np.round(np.c_[mesh.normals, offsets], 9), axis=0)
    halfspaces = np.c_[planes[:, :3], d.HULL_MARGIN - planes[:, 3]]
    corners = HalfspaceIntersection(halfspaces, mesh.points.mean(axis=0)).intersections
    return hull(np.unique(np.round(corners, 7), axis=0))
