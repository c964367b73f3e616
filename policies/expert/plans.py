"""The plan of each task: a list of phases made from the scene as it is now.

A plan is made anew whenever the scene turns out otherwise than the last plan relied on, so each
function starts from wherever the arm is, and says what to do next to get the task done.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from functools import partial

import numpy as np

from envs.calvin.oracle import BASE_LINK, BLOCKS, TABLE, rotation_between
from policies.expert.boxes import distances
from policies.expert.furniture import (
    BUTTON_TOP,
    CABINET_Y,
    DRAWER_BAR_Y,
    DRAWER_BAR_Z,
    DRAWER_FLOOR,
    DRAWER_FRONT,
    HANDLE_HALF_WIDTH,
    SWITCH_BAR,
    TABLE_FRONT,
    TABLE_TOP,
    TABLE_X,
    UPHILL,
)
from policies.expert.grasps import (
    CLOSED_GRIPPER,
    FINGER_TIP,
    OPEN_GRIPPER,
    ROOM,
    SHOULDER,
    Choice,
    best,
    cost_of,
    grasps,
    held_points,
    leaning,
    level_rotations,
)
from policies.expert.motion import CLOSED, OPEN, Phase
from policies.expert.rotations import about_z
from policies.expert.routes import close, enter, leave, release, travel
from policies.expert.view import Pose, View

X, Y, Z = np.eye(3)
LEFT, RIGHT = -1.0, 1.0
HALF_FINGERS = 0.031
"""Half of the closed fingers' extent along the line they open on, metres."""
HALF_HAND = 0.09
"""Half of the hand's width, less a little that it may push the door aside by, metres."""
FARTHER = 10.0
"""Cost of putting a block down a metre from where it might be put down nearest."""
WALL_MARGIN, DOOR_MARGIN = 0.078, 0.105
"""A block in the cabinet is put this far from its side wall and from the door's edge, so that a
finger and the hand fit between when it is taken out again, metres."""
HALF_FINGER = 0.014
"""Half of it across, metres."""
DROP = 0.003
"""Height above a surface at which a block is let go, metres."""
HOVER = 0.015
"""How far a block, perhaps a little tilted in the hand, is held to be off the table, metres."""
LIFT = 0.09
"""How far a block is lifted, metres; the tasks ask for up to 0.05."""
PUSH = 0.1
"""How far the push tasks ask for, metres."""
TURN = math.radians(60)
"""How far the rotation tasks ask for."""
SURPLUS_PUSH, SURPLUS_TURN = 0.02, math.radians(18)
"""Aimed for beyond what is asked, since blocks slip."""
HOP = 0.045
"""The same where it passes over the rim of the button, metres."""
LAST_BIT = 0.04
"""The end of a drag is done off the table, so that the task is solved when the hand lets go, metres."""
OPENED = 0.1
"""A drawer that is pulled out further than this counts as open, metres."""
BESIDE = 0.03
"""Distance between tool and thing before it is pushed, metres."""

Plan = Callable[[View, View, int], list[Phase]]
"""From the scene now, the scene when the subtask began, and the number of attempts before this one."""


# Fixtures -----------------------------------------------------------------------------------------


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
    return [] if now.held or now.furniture.drawer > nearly_open else _preparing(open_drawer(now, now, 0))


def close_drawer(now: View, start: View, attempt: int) -> list[Phase]:
    """Pushes the handle from the front."""
    furniture = now.furniture
    front = DRAWER_BAR_Y[0] - furniture.drawer - HALF_FINGER
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
    before = _downwards(furniture.handle_x + behind, -0.033, 0.508)
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
    return _preparing(move_slider(side, now, now, 0))


def press_button(now: View, start: View, attempt: int) -> list[Phase]:
    """Presses with the closed fingers from above."""
    x, y = now.furniture.layout.button
    turns = (0.0, math.pi / 2)
    options = ((_downwards(x, y, BUTTON_TOP + FINGER_TIP + ROOM, turn), 0.0) for turn in turns)
    above = best(options, now.obstacles(), CLOSED_GRIPPER).pose
    return [
        *leave(now),
        *enter(above, CLOSED),
        Phase("press", above.shifted(-0.045 * Z), CLOSED, speed=0.4),
    ]


def switch_on(now: View, start: View, attempt: int) -> list[Phase]:
    """Pushes the bar of the switch up the slope from below."""
    bar = _switch_bar(now)
    below = bar + np.array((0.0, -0.016 - HALF_FINGER - BESIDE, -0.005))
    before = Pose(below, _outwards(below, 0.5))
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
    rotation = _outwards(top, 0.6)
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


# Blocks -------------------------------------------------------------------------------------------


def take(now: View, block: str, attempt: int, then: Callable[[Pose], Pose] | None = None) -> list[Phase]:
    """Goes to a block and grasps it. ``then``: where the grasping pose will be moved afterwards."""
    box = now.blocks[block]
    if box.centre[1] > CABINET_Y[0] and (phases := uncover(now, box.centre[0])):
        return phases
    if (
        box.bottom < TABLE_TOP - 0.02
        and box.centre[1] > TABLE_FRONT - HALF_FINGER
        and (phases := uncover_drawer(now))
    ):
        return phases
    pose = _grasp(now, block, attempt, then).pose
    return [*leave(now), *enter(pose, OPEN, seeks=block), close(pose)]


def _grasp(now: View, block: str, attempt: int = 0, then: Callable[[Pose], Pose] | None = None) -> Choice:
    options = grasps(now.blocks[block])
    if then:
        options = ((pose, cost + cost_of(then(pose))) for pose, cost in options)
    return best(options, now.obstacles(block), OPEN_GRIPPER, attempt)


def lift(block: str, now: View, start: View, attempt: int) -> list[Phase]:
    """Grasps the block and backs out with it."""
    phases = take(now, block, attempt)
    if phases[-1].name != "grasp":
        return phases
    grasp = phases[-1].pose
    height = LIFT / max(0.5, -grasp.approach[2])
    return [*phases, Phase("lift", grasp.withdrawn(height), CLOSED, speed=0.5, carries=block)]


def rotate(block: str, sign: float, now: View, start: View, attempt: int) -> list[Phase]:
    """Grasps the block, turns it barely off the table, and lets it go."""
    before, after = start.state.block_quaternions[block], now.state.block_quaternions[block]
    turned = math.radians(rotation_between(before, after)[2])
    angle = sign * (TURN + SURPLUS_TURN) - turned
    centre = now.blocks[block].centre

    def then(pose: Pose) -> Pose:
        turn = about_z(angle)
        return Pose(centre + turn @ (pose.position - centre) + HOVER * Z, turn @ pose.rotation)

    phases = take(now, block, attempt, then)
    if phases[-1].name != "grasp":
        return phases
    grasp = phases[-1].pose
    return [
        *phases,
        Phase("lift off", grasp.shifted(HOVER * Z), CLOSED, speed=0.4, tolerance=0.004, carries=block),
        Phase("turn", then(grasp), CLOSED, speed=0.6, tolerance=0.006, carries=block),
        *release(then(grasp)),
    ]


def push(block: str, side: float, now: View, start: View, attempt: int) -> list[Phase]:
    """Pushes the block with the closed fingers side by side, or drags it.

    It is dragged where there is no room to push, and where it might have to go into the drawer
    next: that counts only for a block that the hand does not touch at the start, and a push ends
    with the hand on the block.
    """
    box = now.blocks[block]
    distance = side * (PUSH + SURPLUS_PUSH) - float(box.centre[0] - start.blocks[block].centre[0])
    behind = _behind(now, block, side, distance)
    if behind is None or attempt % 2 == 1 or _alone_before_open_drawer(now, block):
        return drag(now, block, distance, attempt // 2)
    return [
        *leave(now),
        *enter(behind, CLOSED, seeks=block),
        Phase("push", behind.shifted((distance + side * BESIDE) * X), CLOSED, speed=0.4),
    ]


def drag(now: View, block: str, distance: float, attempt: int) -> list[Phase]:
    """Drags the block along x by ``distance`` (metres), the last bit off the table, and lets it go."""
    last_bit = math.copysign(min(LAST_BIT, abs(distance)), distance)
    aside = _sidestep(now, block, distance)

    def then(pose: Pose) -> Pose:
        return pose.shifted(distance * X + aside * Y + HOP * Z)

    phases = take(now, block, attempt, then)
    if phases[-1].name != "grasp":
        return phases
    grasp = phases[-1].pose
    dragged = grasp.shifted((distance - last_bit) * X + 0.8 * aside * Y)
    end = then(grasp)
    low = end.shifted((HOVER - HOP) * Z)
    return [
        *phases,
        Phase("drag", dragged, CLOSED, speed=0.4, carries=block),
        Phase("lift off", dragged.shifted(HOP * Z), CLOSED, speed=0.5, carries=block),
        Phase("carry on", end, CLOSED, speed=0.5, carries=block),
        Phase("lower", low, CLOSED, speed=0.5, carries=block),
        *release(low),
    ]


def _sidestep(now: View, block: str, distance: float) -> float:
    """How far to go aside in y, at least, so that the dragged block ends where it is free, metres."""
    box = now.blocks[block]
    obstacles = now.obstacles(block)
    _, front, _ = now.state.scene.table[0]
    _, back, _ = now.state.scene.table[1]
    for aside in (0.0, 0.03, -0.03, 0.05, -0.05, 0.07, -0.07, 0.085):
        end = dataclasses.replace(box, centre=box.centre + distance * X + aside * Y)
        within = front - 0.01 <= end.centre[1] <= back
        if within and float(distances(end.corners + ROOM * Z, obstacles).min()) > 0.003:
            return aside
    return 0.0


def _behind(now: View, block: str, side: float, distance: float) -> Pose | None:
    """The pose of the closed fingers behind the block, if the block can be pushed from there."""
    box = now.blocks[block]
    obstacles = now.obstacles(block)
    path = (
        dataclasses.replace(box, centre=box.centre + part * distance * X) for part in (0.25, 0.5, 0.75, 1.0)
    )
    corners = np.concatenate([place.corners for place in path]) + ROOM * Z
    if float(distances(corners, obstacles).min()) < 0.002 or abs(box.centre[0] + distance) > TABLE_X - 0.02:
        return None
    position = box.centre - side * (box.reach(X) + HALF_FINGER + BESIDE) * X + 0.004 * Z
    options = ((Pose(position, leaning(Y, side * X, lean)), 0.0) for lean in (0.0, 0.25, 0.5, -0.25))
    chosen = best(options, [*obstacles, box], CLOSED_GRIPPER)
    return chosen.pose if chosen.clearance > 0.0 else None


def _alone_before_open_drawer(now: View, block: str) -> bool:
    others = (touched for name, touched in now.touched.items() if name != block)
    return now.furniture.drawer > OPENED and all((TABLE, BASE_LINK) not in touched for touched in others)


def unstack(now: View, start: View, attempt: int) -> list[Phase]:
    """Takes the upper block off the lower one."""
    upper = _block_on_blocks(start)
    return lift(upper, now, start, attempt) if upper else _wait()


def _block_on_blocks(view: View) -> str | None:
    """The block that touches nothing but blocks, if any."""
    for name in view.blocks:
        touched = {body for body, _ in view.touched[name]}
        if touched and touched <= BLOCKS:
            return name
    return None


# Putting down -------------------------------------------------------------------------------------


def place(surface: str, now: View, start: View, attempt: int) -> list[Phase]:
    """Puts the held block into the cabinet (``slider``) or the drawer."""
    if start.held is None:
        return _wait()
    if now.held != start.held:
        return _preparing(take(now, start.held, attempt))
    if surface == "slider":
        low, high = now.furniture.cabinet_opening
        if high - low < 2 * HALF_HAND and attempt < 3 and (phases := uncover(now, (low + high) / 2)):
            return phases
    return _put(now, now.held, _spots(now, surface), attempt)


def push_into_drawer(now: View, start: View, attempt: int) -> list[Phase]:
    """Takes a block from the table top over its edge and down into the drawer."""
    lying = [name for name in start.blocks if start.touched[name] == {(TABLE, BASE_LINK)}]
    if not lying:
        return _wait()
    if now.held in lying:
        return _put(now, now.held, _spots(now, "drawer"), attempt)
    block = max(lying, key=lambda name: _grasp(now, name).score)
    return take(now, block, attempt)


def stack(now: View, start: View, attempt: int) -> list[Phase]:
    """Puts the held block on another one, preferably one that lies on the table top."""
    block = now.held
    if block is None:
        return take(now, start.held, attempt) if start.held else _wait()
    choices = []
    for name, below in now.blocks.items():
        buried = any(
            other.centre[2] > below.centre[2] + 0.02 and np.hypot(*(other.centre - below.centre)[:2]) < 0.05
            for key, other in now.blocks.items()
            if key not in (name, block)
        )
        if name == block or buried:
            continue
        spot = np.array((*below.centre[:2], below.top))
        choice = _putting_pose(now, block, [spot], attempt)
        choices.append((choice.score - 5.0 * (below.centre[1] > 0.0), choice))
    if not choices:
        return _wait()
    return _set_down(now, block, max(choices, key=lambda scored: scored[0])[1].pose)


def put_away(now: View) -> list[Phase]:
    """Puts a block that the task has no use for in the hand down where it is free."""
    box = now.blocks[now.held]
    if any(body != 0 for body, _ in now.touched[now.held]):
        return release(now.tool)
    return _put(now, now.held, _spots(now, "table"), 0, near=box.centre)


def _spots(now: View, surface: str) -> list[np.ndarray]:
    """Points (3,) of a surface where a block might be put, in a grid."""
    furniture = now.furniture
    if surface == "slider":
        low, high = furniture.cabinet_opening
        from_wall, from_door = WALL_MARGIN, DOOR_MARGIN
        if low > furniture.layout.cabinet[0]:
            from_wall, from_door = from_door, from_wall
        left, right = low + from_wall, high - from_door
        xs = np.linspace(left, right, 5) if left < right else ((low + high) / 2,)
        ys, height = (0.075, 0.09, 0.10), TABLE_TOP
    elif surface == "drawer":
        (left, front), (right, back) = furniture.drawer_space
        xs, ys, height = np.linspace(left + 0.06, right - 0.06, 6), _between(front, back, 0.05), DRAWER_FLOOR
    else:
        (left, front, _), (right, back, _) = now.state.scene.table
        xs, ys, height = np.linspace(left, right, 8), np.linspace(front, back, 4), TABLE_TOP
    return [np.array((x, y, height)) for x, y in itertools.product(xs, ys)]


def _between(low: float, high: float, margin: float) -> np.ndarray:
    middle, half = (low + high) / 2, max(0.0, (high - low) / 2 - margin)
    return middle + np.linspace(-half, half, 3)


def _put(
    now: View, block: str, spots: list[np.ndarray], attempt: int, near: np.ndarray | None = None
) -> list[Phase]:
    return _set_down(now, block, _putting_pose(now, block, spots, attempt, near).pose)


def _putting_pose(
    now: View, block: str, spots: list[np.ndarray], attempt: int, near: np.ndarray | None = None
) -> Choice:
    """The best tool pose with the held block level, ``ROOM`` above one of the spots (3,).

    ``near``: if given, the spots near this point (3,) are preferred.
    """
    tool, box = now.tool, now.blocks[block]
    grip = tool.rotation.T @ (box.centre - tool.position)
    upright = int(np.argmax(np.abs(box.axes[2])))
    height = float(box.half[upright]) + ROOM
    points = np.concatenate((OPEN_GRIPPER, held_points(tool, box)))
    rotations = list(level_rotations(tool, box, np.radians(np.arange(-180, 180, 30))))
    options = (
        (Pose(spot + height * Z - rotation @ grip, rotation), FARTHER * _across(spot, near))
        for spot, rotation in itertools.product(spots, rotations)
    )
    return best(options, now.obstacles(block), points, attempt)


def _across(spot: np.ndarray, near: np.ndarray | None) -> float:
    return 0.0 if near is None else float(np.hypot(*(spot - near)[:2]))


def _set_down(now: View, block: str, above: Pose) -> list[Phase]:
    """Carries the held block to a pose just above where it is to lie, and lets it go there."""
    down = above.shifted(-(ROOM - DROP) * Z)
    return [
        *leave(now, carries=block),
        *travel(above.withdrawn(0.06), CLOSED, carries=block),
        Phase("lower", above, CLOSED, speed=0.5, tolerance=0.006, carries=block),
        Phase("set down", down, CLOSED, speed=0.2, tolerance=0.003, carries=block),
        *release(down),
    ]


def _preparing(phases: list[Phase]) -> list[Phase]:
    return [*phases[:-1], dataclasses.replace(phases[-1], prepares=True)]


def _wait() -> list[Phase]:
    """Nothing can be done about the task as things are."""
    return [Phase("wait", None, OPEN, steps=30)]


# The list -----------------------------------------------------------------------------------------


def _plans() -> dict[str, Plan]:
    plans: dict[str, Plan] = {
        "open_drawer": open_drawer,
        "close_drawer": close_drawer,
        "move_slider_left": partial(move_slider, LEFT),
        "move_slider_right": partial(move_slider, RIGHT),
        "turn_on_led": press_button,
        "turn_off_led": press_button,
        "turn_on_lightbulb": switch_on,
        "turn_off_lightbulb": switch_off,
        "place_in_slider": partial(place, "slider"),
        "place_in_drawer": partial(place, "drawer"),
        "push_into_drawer": push_into_drawer,
        "stack_block": stack,
        "unstack_block": unstack,
    }
    for colour in ("red", "blue", "pink"):
        block = f"block_{colour}"
        for surface in ("table", "slider", "drawer"):
            plans[f"lift_{colour}_block_{surface}"] = partial(lift, block)
        for side, direction in (("left", LEFT), ("right", RIGHT)):
            plans[f"push_{colour}_block_{side}"] = partial(push, block, direction)
            # Turning left is counterclockwise, a positive angle about the vertical.
            plans[f"rotate_{colour}_block_{side}"] = partial(rotate, block, -direction)
    return plans


PLANS = _plans()
"""The plan of every task."""

NEEDS_HELD = frozenset(("place_in_slider", "place_in_drawer", "stack_block"))
"""Tasks that begin with a block in the hand."""


def plan(task: str, now: View, start: View, attempt: int) -> list[Phase]:
    """What to do next for ``task``; first rids the hand of a block the task does not want there."""
    if now.held and now is start and task not in NEEDS_HELD:
        return _preparing(put_away(now))
    return PLANS[task](now, start, attempt)
