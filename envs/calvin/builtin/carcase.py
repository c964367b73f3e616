"""The part of the table that does not move: top, legs, drawer case, cupboard, and the button's collar.

All of it is ``base_link``. It collides as convex boxes and prisms rather than as one concave mesh,
which Bullet handles faster and without catching on inner edges.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import HalfspaceIntersection

from vla_bench.envs.calvin.builtin import dimensions as d
from vla_bench.envs.calvin.builtin.files import MeshFiles
from vla_bench.envs.calvin.builtin.layouts import Layout
from vla_bench.envs.calvin.builtin.shapes import (
    Mesh,
    bevelled_box,
    box,
    exposed,
    facets,
    grained,
    hull,
    joined,
    prism,
    without_face,
)
from vla_bench.envs.calvin.builtin.urdf import Box, Colour, Inertial, Link

BODY: Colour = (0.90, 0.89, 0.88)
SHADE: Colour = (0.72, 0.71, 0.70)
BRASS: Colour = (0.60, 0.49, 0.30)
WOOD_REPEAT = 0.55
"""Length one texture covers."""
CUPBOARD_WOOD = (0.15, 0.35)
"""Where on the texture the cupboard's parts are cut from."""
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
            (files.textured("carcase", _body(layout), layout.body.name), BODY),
            (files.textured("cabinet_back", _back_face(layout), layout.body.name), SHADE),
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


def _body(layout: Layout) -> Mesh:
    """Everything that is drawn in the body's wood, without the faces that others hide."""
    front, rear = _top()
    back = _back(layout)
    boards = [_edged_board(front), *(box(board.low, board.high) for board in (rear, *_case(layout)))]
    cupboard = [_beam(layout), without_face(box(back.low, back.high), np.array((0.0, -1.0, 0.0)))]
    slotted = []
    for low, high in _pillar_spans(layout):
        pillar = _pillar(low, high)
        if low < layout.switch < high:
            pillar = without_face(pillar, d.FRONT_OUT)
            slotted.append(grained(_slotted_front(low, high, layout.switch), "x", WOOD_REPEAT, CUPBOARD_WOOD))
        cupboard.append(pillar)
    solids = [(board, "x", (0.0, 0.0)) for board in boards]
    solids += [(part, "x", CUPBOARD_WOOD) for part in cupboard]
    solids += [
        (bevelled_box(leg.low, leg.high, EDGE / 2), "z", (0.0, 0.23 * number)) for number, leg in enumerate(_legs())
    ]
    covers = [solid for solid, _, _ in solids] + [_plank_space(layout)]
    shown = [
        grained(exposed(solid, [other for other in covers if other is not solid]), grain, WOOD_REPEAT, shift)
        for solid, grain, shift in solids
    ]
    return joined(shown + slotted)


def _plank_space(layout: Layout) -> Mesh:
    """The space below the table's surface that the cabinet's plank fills."""
    left, right = layout.cabinet - d.CABINET_HALF, layout.cabinet + d.CABINET_HALF
    return box((left, d.CUPBOARD_FRONT, d.CABINET_FLOOR), (right, d.CABINET_BACK, d.HEIGHT))


def _back_face(layout: Layout) -> Mesh:
    """The cabinet's back as seen through its opening; drawn darker, for want of light."""
    left, right = layout.cabinet - d.CABINET_HALF, layout.cabinet + d.CABINET_HALF
    y, low, high = d.CABINET_BACK, d.HEIGHT, d.CABINET_CEILING
    face = np.array(((left, y, low), (right, y, low), (right, y, high), (left, y, high)))
    return grained(facets([face]), "x", WOOD_REPEAT, (0.4, 0.1))


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


def _pillar_spans(layout: Layout) -> list[tuple[float, float]]:
    """x from and to of the parts of the cupboard beside the cabinet."""
    return [
        (-d.WIDTH / 2, layout.cabinet - d.CABINET_HALF),
        (layout.cabinet + d.CABINET_HALF, d.WIDTH / 2),
    ]


def _prisms(layout: Layout) -> list[Mesh]:
    """The sloping parts: the pillars on both sides of the cabinet and the beam above it.

    Where the switch is, the pillar is a core with slats around the two slots.
    """
    parts = [_beam(layout)]
    for low, high in _pillar_spans(layout):
        if low < layout.switch < high:
            parts.append(_pillar(low, high, recess=d.SLOT_DEPTH))
            parts += [
                hull(np.array([d.on_front(x, up, out) for x in xs for up in ups for out in (-d.SLOT_DEPTH, 0)]))
                for xs, ups in _slats(low, high, layout.switch)
            ]
        else:
            parts.append(_pillar(low, high))
    return parts


def _slats(low: float, high: float, switch: float) -> list[tuple[tuple, tuple]]:
    """(x from, to), (up from, to) of the rectangles a front consists of around the slots of a switch."""
    edges = [low, *(switch + x for x in (-d.SLOT_FAR, -d.SLOT_NEAR, d.SLOT_NEAR, d.SLOT_FAR)), high]
    whole = [((edges[k], edges[k + 1]), (0.0, d.FRONT_LENGTH)) for k in (0, 2, 4)]
    ends = ((0.0, d.SLOT_LOW), (d.SLOT_HIGH, d.FRONT_LENGTH))
    return whole + [((edges[k], edges[k + 1]), end) for k in (1, 3) for end in ends]


def _slotted_front(low: float, high: float, switch: float) -> Mesh:
    """The front of the pillar that holds the switch, with the bottoms and walls of its slots."""
    faces = [_rectangle(xs, ups, 0.0) for xs, ups in _slats(low, high, switch)]
    for near, far in ((-d.SLOT_FAR, -d.SLOT_NEAR), (d.SLOT_NEAR, d.SLOT_FAR)):
        bottom = _rectangle((switch + near, switch + far), (d.SLOT_LOW, d.SLOT_HIGH), -d.SLOT_DEPTH)
        rim = _rectangle((switch + near, switch + far), (d.SLOT_LOW, d.SLOT_HIGH), 0.0)
        walls = [np.array([rim[k], rim[(k + 1) % 4], bottom[(k + 1) % 4], bottom[k]]) for k in range(4)]
        faces += [bottom, *walls]
    return facets(faces)


def _rectangle(xs: tuple[float, float], ups: tuple[float, float], out: float) -> np.ndarray:
    corners = ((xs[0], ups[0]), (xs[1], ups[0]), (xs[1], ups[1]), (xs[0], ups[1]))
    return np.array([d.on_front(x, up, out) for x, up in corners])


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


def _beam(layout: Layout) -> Mesh:
    left, right = layout.cabinet - d.CABINET_HALF, layout.cabinet + d.CABINET_HALF
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
