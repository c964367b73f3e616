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
from envs.calvin.builtin.shapes import Mesh, bevelled_box, box, grained, hull, joined, prism
from envs.calvin.builtin.urdf import Box, Colour, Inertial, Link

BODY: Colour = (0.90, 0.89, 0.88)
SHADE: Colour = (0.72, 0.71, 0.70)
BRASS: Colour = (0.60, 0.49, 0.30)
WOOD_REPEAT = 0.55
"""Length one texture covers."""
EDGE = 0.008
"""Cut along the front edges of the top."""


def base_link(files: MeshFiles, layout: Layout) -> Link:
    """The fixed part of a table."""
    prisms = _prisms(layout)
    collar = prism(_circle(layout.button, d.COLLAR_RADIUS), d.HEIGHT, d.HEIGHT + d.COLLAR_HEIGHT, "z")
    return Link(
        "base_link",
        Inertial(mass=0.0),
        visuals=(
            (files.textured("carcase", _body(layout, prisms), layout.body.name), BODY),
            (
                files.textured("cabinet_back", _grained_box(_back(layout), (0.4, 0.1)), layout.body.name),
                SHADE,
            ),
            (files.plain("collar", collar), BRASS),
        ),
        collisions=[
            *_top(),
            *_legs(),
            *_case(layout),
            _back(layout),
            files.hulls("carcase_hulls", [_shrunk(part) for part in [*prisms, collar]]),
        ],
    )


def _body(layout: Layout, prisms: list[Mesh]) -> Mesh:
    """Everything that is drawn in the body's wood."""
    front, rear = _top()
    parts = [grained(_edged_board(front), "x", WOOD_REPEAT), _grained_box(rear)]
    parts += [_grained_box(board) for board in _case(layout)]
    for number, leg in enumerate(_legs()):
        shape = bevelled_box(leg.low, leg.high, EDGE / 2)
        parts.append(grained(shape, "z", WOOD_REPEAT, (0.0, 0.23 * number)))
    parts += [grained(part, "x", WOOD_REPEAT, (0.15, 0.35)) for part in prisms]
    return joined(parts)


def _grained_box(board: Box, shift: tuple[float, float] = (0.0, 0.0)) -> Mesh:
    return grained(box(board.low, board.high), "x", WOOD_REPEAT, shift)


def _edged_board(board: Box) -> Mesh:
    """The board with its front edges cut."""
    (x0, y0, z0), (x1, y1, z1) = board.low, board.high
    section = [(y0 + EDGE, z0), (y1, z0), (y1, z1), (y0 + EDGE, z1), (y0, z1 - EDGE), (y0, z0 + EDGE)]
    return prism(np.array(section), x0, x1)


def _top() -> tuple[Box, Box]:
    """The table top's front board, and the thinner one behind, below the cupboard."""
    half_x, half_y, under_top = d.WIDTH / 2, d.DEPTH / 2, d.HEIGHT - d.TOP_THICKNESS
    return (
        Box((-half_x, -half_y, under_top), (half_x, d.CUPBOARD_FRONT, d.HEIGHT)),
        Box((-half_x, d.CUPBOARD_FRONT, under_top), (half_x, half_y, d.CABINET_FLOOR)),
    )


def _legs() -> list[Box]:
    half_x, half_y, under_top = d.WIDTH / 2, d.DEPTH / 2, d.HEIGHT - d.TOP_THICKNESS
    return [
        Box((x, y, 0.0), (x + d.LEG_X, y + d.LEG_Y, under_top))
        for x in (-half_x, half_x - d.LEG_X)
        for y in (-half_y, half_y - d.LEG_Y)
    ]


def _case(layout: Layout) -> list[Box]:
    """The case below the top: floor, left, right and rear of the drawer's opening, and both flanks."""
    under_top = d.HEIGHT - d.TOP_THICKNESS
    x, y = d.CASE_HALF_X - d.CASE_STEP_X, d.CASE_HALF_Y
    left, right = layout.drawer - d.DRAWER_HALF, layout.drawer + d.DRAWER_HALF
    flank_x, flank_y = d.CASE_HALF_X, d.CASE_HALF_Y - d.CASE_STEP_Y
    return [
        Box((-x, -y, d.CASE_LOW), (x, y, d.DRAWER_Z)),
        Box((-x, -y, d.DRAWER_Z), (left, y, under_top)),
        Box((right, -y, d.DRAWER_Z), (x, y, under_top)),
        Box((left, d.DRAWER_BACK, d.DRAWER_Z), (right, y, under_top)),
        Box((-flank_x, -flank_y, d.CASE_LOW), (-x, flank_y, under_top)),
        Box((x, -flank_y, d.CASE_LOW), (flank_x, flank_y, under_top)),
    ]


def _back(layout: Layout) -> Box:
    """The cabinet's back."""
    left, right = layout.cabinet - d.CABINET_HALF, layout.cabinet + d.CABINET_HALF
    return Box((left, d.CABINET_BACK, d.CABINET_FLOOR), (right, d.DEPTH / 2, d.HEIGHT + d.CUPBOARD_HEIGHT))


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
