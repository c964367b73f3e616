"""Plans for the fixtures: drawer, sliding door, button and switch."""

from __future__ import annotations

import math

import numpy as np

from vla_bench.policies.expert.furniture import (
    BUTTON_TOP,
    DRAWER_BAR_Y,
    DRAWER_BAR_Z,
    DRAWER_FRONT,
    HANDLE_HALF_WIDTH,
    SWITCH_BAR,
    UPHILL,
)
from vla_bench.policies.expert.grasps import (
    CLOSED_GRIPPER,
    FINGER_HALF_THICKNESS,
    FINGER_TIP,
    ROOM,
    SHOULDER,
    best,
    leaning,
)
from vla_bench.policies.expert.motion import CLOSED, Phase
from vla_bench.policies.expert.rotations import about_z
from vla_bench.policies.expert.routes import X, Y, Z, enter, leave, preparing
from vla_bench.policies.expert.view import Pose, View

LEFT, RIGHT = -1.0, 1.0
"""Sides of the table, as signs of x."""
BESIDE = 0.03
"""Distance between tool and thing before it is pushed, metres."""
HALF_FINGERS = 0.031
"""Half of the closed fingers' extent along the line they open on, metres."""
HALF_HAND = 0.125
"""Room that the hand wants to either side of a block in the cabinet, metres: half its width, and what
the tool may be off the block's middle."""
HANDLE_GRIP = np.array((0.0, -0.033, 0.508))
"""Where the tool pushes the sliding door's handle, low on it and clear of the table (y and z), metres."""
PRESS = 0.045
"""Way of the tool when it presses the button, from just above it, metres."""
LEAN_UNDER, LEAN_OVER = 0.5, 0.6
"""How the tool leans, away from the arm, below and above the switch, radians."""


def open_drawer(now: View, start: View, attempt: int) -> list[Phase]:
    """Hooks the closed fingers behind the bar of the handle and pulls."""
    furniture = now.furniture
    gap = (DRAWER_BAR_Y[1] + DRAWER_FRONT) / 2 - furniture.drawer
    hook = _downwards(furniture.layout.drawer, gap, DRAWER_BAR_Z[1] - 0.007)
    still_closed = now.state.joint_ranges["drawer"][1] - furniture.drawer
    return [
        *leave(now),
        *enter(hook, CLOSED),
        Phase("pull", hook.shifted(-(still_closed + BESIDE) * Y), CLOSED),
    ]


def uncover_drawer(now: View) -> list[Phase]:
    """Opens the drawer as far as it goes, if it is not."""
    nearly_open = now.state.joint_ranges["drawer"][1] - 0.01
    return [] if now.held or now.furniture.drawer > nearly_open else preparing(open_drawer(now, now, 0))


def close_drawer(now: View, start: View, attempt: int) -> list[Phase]:
    """Pushes the handle from the front."""
    furniture = now.furniture
    front = DRAWER_BAR_Y[0] - furniture.drawer - FINGER_HALF_THICKNESS
    before = _downwards(furniture.layout.drawer, front - BESIDE, DRAWER_BAR_Z[1] - 0.012)
    return [
        *leave(now),
        *enter(before, CLOSED),
        Phase("push", before.shifted((furniture.drawer + 2 * BESIDE) * Y), CLOSED),
    ]


def move_slider(side: float, now: View, start: View, attempt: int) -> list[Phase]:
    """Pushes the door's handle from the other side, also with a block in the hand."""
    furniture = now.furniture
    low, high = now.state.joint_ranges["slide"]
    ends_at = furniture.layout.door - (high if side == LEFT else low)
    half_fingers = HALF_FINGERS + (now.state.robot_obs[6] / 2 if now.held else 0.0)
    behind = -side * (HANDLE_HALF_WIDTH + half_fingers + BESIDE)
    before = _downwards(furniture.handle_x + behind, *HANDLE_GRIP[1:])
    distance = ends_at - furniture.handle_x + side * 2 * BESIDE
    return [
        *leave(now, carries=now.held),
        *enter(before, CLOSED, carries=now.held),
        Phase("push", before.shifted(distance * X), CLOSED, carries=now.held),
    ]


def uncover(now: View, x: float) -> list[Phase]:
    """Moves the sliding door away from before ``x`` in the cabinet, if it is in the hand's way."""
    furniture = now.furniture
    left, right = furniture.door
    if right < x - HALF_HAND or left > x + HALF_HAND:
        return []
    low, high = now.state.joint_ranges["slide"]
    side = RIGHT if x < sum(furniture.layout.cabinet) / 2 else LEFT
    if abs(furniture.slide - (low if side == RIGHT else high)) < 0.01:
        return []
    return preparing(move_slider(side, now, now, 0))


def press_button(now: View, start: View, attempt: int) -> list[Phase]:
    """Presses with the closed fingers from above."""
    x, y = now.furniture.layout.button
    turns = (0.0, math.pi / 2)
    options = ((_downwards(x, y, BUTTON_TOP + FINGER_TIP + ROOM, turn), 0.0) for turn in turns)
    above = best(options, now.obstacles(), CLOSED_GRIPPER).pose
    return [
        *leave(now),
        *enter(above, CLOSED),
        Phase("press", above.shifted(-PRESS * Z), CLOSED, speed=0.4),
    ]


def switch_on(now: View, start: View, attempt: int) -> list[Phase]:
    """Pushes the bar of the switch up the slope from below."""
    bar = _switch_bar(now)
    below = bar + np.array((0.0, -0.016 - FINGER_HALF_THICKNESS - BESIDE, -0.005))
    before = Pose(below, _outwards(below, LEAN_UNDER))
    top = now.state.joint_ranges["switch"][1] - now.furniture.switch
    return [
        *leave(now),
        *enter(before, CLOSED),
        Phase("push in", before.shifted(2 * BESIDE * Y), CLOSED, speed=0.5),
        Phase("push up", before.shifted(2 * BESIDE * Y + (top + BESIDE) * UPHILL), CLOSED, speed=0.5),
    ]


def switch_off(now: View, start: View, attempt: int) -> list[Phase]:
    """Presses the bar of the switch down the slope from above."""
    top = _switch_bar(now) + 0.02 * Z
    rotation = _outwards(top, LEAN_OVER)
    before = Pose(top + BESIDE * UPHILL - FINGER_TIP * rotation[:, 2], rotation)
    return [
        *leave(now),
        *enter(before, CLOSED),
        Phase("press", before.shifted(-(now.furniture.switch + 2 * BESIDE) * UPHILL), CLOSED, speed=0.5),
    ]


def _switch_bar(now: View) -> np.ndarray:
    return SWITCH_BAR + now.furniture.layout.switch * X + now.furniture.switch * UPHILL


def _downwards(x: float, y: float, z: float, turn: float = 0.0) -> Pose:
    """A tool pointing down, its fingers side by side along x, or turned from that (radians)."""
    position = np.array((x, y, z))
    return Pose(position, about_z(turn) @ leaning(X, Y, 0.0))


def _outwards(position: np.ndarray, lean: float) -> np.ndarray:
    """Rotation of a tool that leans away from the arm's base, which shortens the reach."""
    away = (position - SHOULDER) * (1.0, 1.0, 0.0)
    return leaning(X, away / np.linalg.norm(away), lean)
