"""The dimensions all four tables share, by name.

Lengths are model units (1 unit = 0.8 m after the scaling at load), x to the right, y away from the
viewer, z up. They are those of the tables of calvin_env 797142c, measured from joints and surfaces.
The official moving parts collide as hulls that stand out from what is drawn; the skins say how far.
"""

from __future__ import annotations

import math

import numpy as np

WIDTH, DEPTH, HEIGHT, TOP_THICKNESS = 1.1, 0.45, 0.55, 0.05
"""Table top: x within +-WIDTH/2, y within +-DEPTH/2, its surface at z = HEIGHT."""
LEG_X, LEG_Y = 0.05, 0.04
"""Section of a leg; legs stand flush with the corners of the top."""
CASE_LOW = 0.375
"""z of the underside of the case below the top, which holds the drawer."""
CASE_HALF_X, CASE_HALF_Y, CASE_STEP_X, CASE_STEP_Y = 0.525, 0.2, 0.025, 0.015
"""Half sizes of the case, and how far its corners step back to clear the legs."""

CUPBOARD_FRONT = 0.025
"""y at which the cupboard on the rear of the top begins; its front rises from there at 60 degrees."""
CUPBOARD_HEIGHT = 0.15 * math.sqrt(3)
CUPBOARD_TOP_FRONT = 0.175
"""y of the upper edge of the cupboard's front."""
FRONT_UP = np.array((0.0, 0.5, math.sqrt(0.75)))
"""Unit vector up the cupboard's front."""
FRONT_OUT = np.array((0.0, -math.sqrt(0.75), 0.5))
"""Unit vector out of the cupboard's front."""
FRONT_LENGTH = 0.3
CABINET_HALF, CABINET_FLOOR, CABINET_BACK, CABINET_CEILING = 0.325, 0.525, 0.2, 0.784808
"""The open part of the cupboard: half width, z of the floor below its plank, y of the back, z of the top."""
PLANK_HALF_Y, PLANK_THICKNESS, PLANK_Y = 0.0875, 0.025, 0.1125
"""The plank on the cabinet's floor, flush with the table top."""

SLOT_NEAR, SLOT_FAR, SLOT_DEPTH, SLOT_LOW, SLOT_HIGH = 0.05, 0.075, 0.01, 0.075, 0.225
"""The two slots of the switch: distances from the lever's centre, depth, begin and end up the front."""
LEVER_REACH, LEVER_BREADTH, LEVER_MIDDLE, LEVER_UP, LEVER_TRAVEL = 0.08, 0.04, -0.01, 0.085, 0.11
"""The switch lever: height above the slots, breadth along the slots and its middle in the lever's frame,
where its frame is up the front, and how far it moves."""

DOOR_WIDTH, DOOR_LENGTH, DOOR_THICKNESS, DOOR_UP = 0.35, 0.3, 0.025, 0.1375
"""The sliding door, and how far up the cupboard's front its middle is."""
DOOR_HANDLE_X, DOOR_HANDLE_SPAN, DOOR_HANDLE_REACH = 0.175, 0.2, 0.075

DRAWER_Z, DRAWER_HALF, DRAWER_HEIGHT, DRAWER_BACK, DRAWER_WALL = 0.4, 0.25, 0.1, 0.075, 0.025
"""The drawer's box: z of its underside, half width, height, y of its back, thickness of all walls."""
DRAWER_LENGTH = 0.275
"""From the back to the inner side of the front."""
DRAWER_FRONT_HALF, DRAWER_FRONT_DROP = 0.275, 0.025
"""The front is wider than the box and reaches further down."""
DRAWER_HANDLE_MIDDLE, DRAWER_HANDLE_SPAN, DRAWER_HANDLE_REACH, DRAWER_TRAVEL = 0.05, 0.3, 0.1, 0.275
HANDLE_BREADTH, HANDLE_THICKNESS, HANDLE_EDGE = 0.05, 0.025, 0.01
"""Section of the handles, and the radius of its edges; the lever is as thick."""

BUTTON_RADIUS, BUTTON_HEIGHT, BUTTON_Z, BUTTON_TRAVEL = 0.04, 0.03, 0.575, 0.025
COLLAR_RADIUS, COLLAR_HEIGHT = 0.05, 0.025
"""The collar around the button, on the table top."""
LED_HALF_X, LED_HALF_Y, LED_HEIGHT, LED_Y = 0.1, 0.025, 0.02, 0.2
BULB_RADIUS, BULB_CENTRE, BULB_Y = 0.035, 0.027038, 0.2
"""The light bulb: radius, height of its centre above the cupboard, y."""

HULL_MARGIN = 0.00125
"""Bullet lets convex meshes stand out by 1 mm; boxes in place of official meshes are grown by as much."""
MOVING_SKIN = 0.0025
"""How far the official door and lever collide outside of what is drawn."""
DRAWER_SKIN = 0.003
"""The same for the drawer."""

QUARTER_TURN = np.array(((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0)))
"""Rotation by 90 degrees around x (a joint's y is up, its z towards the viewer)."""
QUARTER_RPY = (math.pi / 2, 0.0, 0.0)


def on_front(x: float, up: float, out: float = 0.0) -> tuple[float, float, float]:
    """A point by x, distance up the cupboard's front and distance out of it."""
    point = np.array((x, CUPBOARD_FRONT, HEIGHT)) + up * FRONT_UP + out * FRONT_OUT
    return (float(point[0]), float(point[1]), float(point[2]))
