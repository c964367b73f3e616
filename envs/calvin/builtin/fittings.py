"""The parts of the table that move or light up: door, drawer, switch, button, LED, bulb, and the plank."""

from __future__ import annotations

from functools import cache

import numpy as np

from vla_bench.envs.calvin.builtin import dimensions as d
from vla_bench.envs.calvin.builtin.carcase import WOOD_REPEAT
from vla_bench.envs.calvin.builtin.files import MeshFiles
from vla_bench.envs.calvin.builtin.layouts import Layout
from vla_bench.envs.calvin.builtin.shapes import (
    Mesh,
    bevelled_box,
    box,
    grained,
    hull,
    joined,
    lofted,
    rounded_rectangle,
    sweep_rings,
    turned,
)
from vla_bench.envs.calvin.builtin.urdf import (
    WHITE,
    Box,
    Colour,
    Cylinder,
    Inertial,
    Joint,
    Link,
    Sphere,
    Vector,
)

Pair = tuple[Link, Joint]
STEEL: Colour = (0.27, 0.28, 0.30)
BLACK: Colour = (0.03, 0.03, 0.03)


def button(files: MeshFiles, layout: Layout) -> Pair:
    """The button: down 0.025 toggles the LED. Its frame's y is up."""
    rim = d.BUTTON_RADIUS - 0.005
    profile = [
        (0, 0),
        (d.BUTTON_RADIUS, 0),
        (d.BUTTON_RADIUS, 0.024),
        (rim, d.BUTTON_HEIGHT),
        (0, d.BUTTON_HEIGHT),
    ]
    cylinder = Cylinder(d.BUTTON_RADIUS, d.BUTTON_HEIGHT, centre=(0.0, d.BUTTON_HEIGHT / 2, 0.0), rpy=d.QUARTER_RPY)
    link = Link(
        "button_link",
        Inertial(0.153812376, (0.0, 0.015, 0.0), (7.30608788e-05, 0.000123049901, 7.30608788e-05)),
        visuals=((files.plain("button", turned(profile, "y", 24)), BLACK),),
        collisions=(cylinder,),
    )
    x, y = layout.button
    return link, _slider("base__button", link, (x, y, d.BUTTON_Z), d.QUARTER_RPY, (0, -1, 0), d.BUTTON_TRAVEL)


def switch(files: MeshFiles, layout: Layout) -> Pair:
    """The lever in the cupboard's front: up turns the bulb on. Its frame: y outwards, z down the front."""
    span = 2 * d.SLOT_FAR
    # The bow's plane is x-y, its breadth lies along z.
    pose = np.array(((1.0, 0, 0), (0, 0, 1.0), (0, -1.0, 0)))
    shift = (0.0, 0.0, d.LEVER_MIDDLE)
    drawn = _bow(span, d.LEVER_REACH, d.LEVER_BREADTH).moved(pose, shift)
    hulls = [part.moved(pose, shift) for part in _bow_hulls(span, d.LEVER_REACH, d.LEVER_BREADTH)]
    link = Link(
        "switch_link",
        Inertial(0.238786704, (0.0, 0.0501954389, -0.01), (0.000149903695, 0.000673716537, 0.000767827686)),
        visuals=((files.plain("switch", drawn), STEEL),),
        collisions=(files.hulls("switch_hulls", hulls),),
    )
    origin = d.on_front(layout.switch, d.LEVER_UP, -d.SLOT_DEPTH)
    turn = (np.radians(150), 0.0, 0.0)
    return link, _slider("base__switch", link, origin, turn, (0, 0, -1), d.LEVER_TRAVEL)


def slide(files: MeshFiles, layout: Layout) -> Pair:
    """The sliding door before the cabinet. Its frame: y up the cupboard's front, z outwards."""
    half = d.DOOR_LENGTH / 2
    low, high = (0.0, -half, 0.0), (d.DOOR_WIDTH, half, d.DOOR_THICKNESS)
    panel = grained(bevelled_box(low, high, 0.004), "y", WOOD_REPEAT, (0.3, 0.17))
    # The handle's bow is in the y-z plane, its breadth along x.
    pose = np.array(((0, -1.0, 0), (1.0, 0, 0), (0, 0, 1.0)))
    shift = (d.DOOR_HANDLE_X, 0.0, d.DOOR_THICKNESS)
    size = (d.DOOR_HANDLE_SPAN, d.DOOR_HANDLE_REACH, d.HANDLE_BREADTH)
    hulls = [part.moved(pose, shift) for part in _bow_hulls(*size)]
    link = Link(
        "slide_link",
        Inertial(1.5434914, (layout.slide_mass, 0.0, 0.0204147302), (0.0102407244, 0.0146074021, 0.0232176607)),
        visuals=(
            (files.textured("door", panel, layout.fronts.name), WHITE),
            (files.plain("door_handle", _bow(*size).moved(pose, shift)), STEEL),
        ),
        collisions=(_grown(low, high, d.MOVING_SKIN), files.hulls("door_handle_hulls", hulls)),
    )
    origin = d.on_front(layout.slide, d.DOOR_UP)
    return link, _slider("base__slide", link, origin, (np.radians(60), 0.0, 0.0), (-1, 0, 0), layout.slide_range)


def drawer(files: MeshFiles, layout: Layout) -> Pair:
    """The drawer, an open box. Its frame: y up, z towards the viewer, origin below the table's middle."""
    half, wall, back, front = d.DRAWER_HALF, d.DRAWER_WALL, -d.DRAWER_BACK, d.DRAWER_LENGTH - d.DRAWER_BACK
    boards = [
        ((-half, 0.0, back), (half, wall, front)),
        ((-half, wall, back), (half, d.DRAWER_HEIGHT, back + wall)),
        ((-half, wall, back + wall), (wall - half, d.DRAWER_HEIGHT, front)),
        ((half - wall, wall, back + wall), (half, d.DRAWER_HEIGHT, front)),
    ]
    face = (
        (-d.DRAWER_FRONT_HALF, -d.DRAWER_FRONT_DROP, front),
        (d.DRAWER_FRONT_HALF, d.DRAWER_HEIGHT, front + wall),
    )
    wood = [grained(box(*board), "x", WOOD_REPEAT, (0.1, 0.4)) for board in boards]
    wood.append(grained(bevelled_box(*face, 0.004), "x", WOOD_REPEAT, (0.55, 0.23)))
    shift = (0.0, d.DRAWER_HANDLE_MIDDLE, front + wall)
    size = (d.DRAWER_HANDLE_SPAN, d.DRAWER_HANDLE_REACH, d.HANDLE_BREADTH)
    hulls = [part.moved(shift=shift) for part in _bow_hulls(*size, skin=d.DRAWER_SKIN)]
    link = Link(
        "drawer_link",
        Inertial(4.23128078, (0.0, 0.0331980543, 0.0988554042), (0.0592167746, 0.163752586, 0.111990265)),
        visuals=(
            (files.textured("drawer", joined(wood), layout.fronts.name), WHITE),
            (files.plain("drawer_handle", _bow(*size).moved(shift=shift)), STEEL),
        ),
        collisions=(
            *(_grown(*board, d.DRAWER_SKIN) for board in [*boards, face]),
            files.hulls("drawer_handle_hulls", hulls),
        ),
    )
    return link, _slider(
        "base__drawer", link, (layout.drawer, 0.0, d.DRAWER_Z), d.QUARTER_RPY, (0, 0, 1), d.DRAWER_TRAVEL
    )


def led(files: MeshFiles, layout: Layout) -> Pair:
    """The LED, a bar on the cupboard. Its frame's y is up."""
    low = (-d.LED_HALF_X, 0.0, -d.LED_HALF_Y)
    high = (d.LED_HALF_X, d.LED_HEIGHT, d.LED_HALF_Y)
    link = Link(
        "led_link",
        Inertial(0.204, (0.0, 0.01, 0.0), (4.93e-05, 0.0007225, 0.0006868)),
        visuals=((files.plain("led", bevelled_box(low, high, 0.006)), WHITE),),
        collisions=(_grown(low, high, d.HULL_MARGIN),),
    )
    origin = (layout.led, d.LED_Y, d.HEIGHT + d.CUPBOARD_HEIGHT)
    return link, Joint("base__led", "fixed", "base_link", link.name, origin, d.QUARTER_RPY)


def light(files: MeshFiles, layout: Layout) -> Pair:
    """The light bulb on the cupboard. Its frame's y is up, its z towards the viewer."""
    x, y = layout.light
    mass, height = layout.light_mass
    centre = (0.0, d.BULB_CENTRE, y - d.BULB_Y)
    angles = np.radians(np.linspace(-50, 90, 9))
    profile = [(d.BULB_RADIUS * np.cos(a), d.BULB_CENTRE + d.BULB_RADIUS * np.sin(a)) for a in angles]
    profile[-1] = (0.0, profile[-1][1])
    bulb = turned(profile, "y", 20).moved(shift=(0.0, 0.0, centre[2]))
    link = Link(
        "light_link",
        Inertial(mass, (0.0, height, centre[2]), (8.23031896e-05, 8.73804888e-05, 8.23031896e-05)),
        visuals=((files.plain("bulb", bulb), WHITE),),
        collisions=(Sphere(d.BULB_RADIUS + d.HULL_MARGIN, centre),),
    )
    origin = (x, y, d.HEIGHT + d.CUPBOARD_HEIGHT)
    return link, Joint("base__light", "fixed", "base_link", link.name, origin, d.QUARTER_RPY)


def plank(files: MeshFiles, layout: Layout) -> Pair:
    """The plank on the cabinet's floor, on which blocks behind the door lie. Its frame's y is up."""
    low = (-d.CABINET_HALF, 0.0, -d.PLANK_HALF_Y)
    high = (d.CABINET_HALF, d.PLANK_THICKNESS, d.PLANK_HALF_Y)
    board = grained(box(low, high), "x", WOOD_REPEAT, (0.2, 0.6))
    link = Link(
        "plank_link",
        Inertial(2.84375, (0.0, 0.0125, 0.0), (0.00740559896, 0.107381185, 0.10027181)),
        visuals=((files.textured("plank", board, layout.body.name), WHITE),),
        collisions=(_grown(low, high, d.HULL_MARGIN),),
    )
    origin = (layout.cabinet, d.PLANK_Y, d.CABINET_FLOOR)
    return link, Joint("base__plank", "fixed", "base_link", link.name, origin, d.QUARTER_RPY)


def _slider(name: str, link: Link, xyz: Vector, rpy: Vector, axis: Vector, travel: float) -> Joint:
    return Joint(name, "prismatic", "base_link", link.name, xyz, rpy, axis, limits=(0.0, travel))


def _grown(low: Vector, high: Vector, skin: float) -> Box:
    """A box with every face moved outwards."""
    return Box(tuple(value - skin for value in low), tuple(value + skin for value in high))


def _bow_rings(span: float, reach: float, breadth: float, corner: float, skin: float = 0.0) -> list[np.ndarray]:
    """Six sections of a bow-shaped handle: legs at both ends of ``span`` along x, out to z = ``reach``.

    Its breadth lies along y, z = 0 is where it is mounted. ``corner`` is the cut across its centre
    line's corners.
    """
    thickness = d.HANDLE_THICKNESS + 2 * skin
    section = rounded_rectangle(breadth + 2 * skin, thickness, d.HANDLE_EDGE)
    half, top = span / 2 + skin - thickness / 2, reach + skin - thickness / 2
    left = [(-half, 0.0), (-half, top - corner), (corner - half, top)]
    path = left + [(-x, z) for x, z in reversed(left)]
    return sweep_rings(section, np.array([(x, 0.0, z) for x, z in path]), (0, 1, 0))


@cache
def _bow(span: float, reach: float, breadth: float) -> Mesh:
    """The handle as it is drawn: its inner corners are sharp, its outer ones cut."""
    return lofted(_bow_rings(span, reach, breadth, corner=d.HANDLE_THICKNESS * np.tan(np.pi / 8)))


@cache
def _bow_hulls(span: float, reach: float, breadth: float, skin: float = d.MOVING_SKIN) -> tuple[Mesh, ...]:
    """The handle as it collides: leg, bar, leg."""
    rings = _bow_rings(span, reach, breadth, corner=0.002, skin=skin - d.HULL_MARGIN)
    return tuple(hull(np.concatenate(rings[first : last + 1])) for first, last in ((0, 2), (2, 3), (3, 5)))
