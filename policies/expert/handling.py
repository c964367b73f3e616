"""Plans for blocks: take, lift, turn, push, drag, take off another."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from vla_bench.envs.calvin.oracle import BASE_LINK, BLOCKS, TABLE, rotation_between
from vla_bench.policies.expert.boxes import distances
from vla_bench.policies.expert.fixtures import BESIDE, uncover, uncover_drawer
from vla_bench.policies.expert.furniture import CABINET_Y, TABLE_FRONT, TABLE_TOP, TABLE_X
from vla_bench.policies.expert.grasps import (
    CLOSED_GRIPPER,
    FINGER_HALF_THICKNESS,
    OPEN_GRIPPER,
    ROOM,
    Choice,
    best,
    cost_of,
    grasps,
    leaning,
)
from vla_bench.policies.expert.motion import CLOSED, OPEN, Phase
from vla_bench.policies.expert.rotations import about_z
from vla_bench.policies.expert.routes import X, Y, Z, close, enter, leave, release, wait
from vla_bench.policies.expert.view import Pose, View

LIFT = 0.09
"""How far a block is lifted, metres; the tasks ask for up to 0.05."""
PUSH, TURN = 0.1, math.radians(60)
"""How far the push and the rotation tasks ask for, metres and radians."""
SURPLUS_PUSH, SURPLUS_TURN = 0.02, math.radians(18)
"""Aimed for beyond what is asked, since blocks slip."""
HOVER = 0.015
"""How far a block, perhaps a little tilted in the hand, is held to be off the table, metres."""
HOP = 0.045
"""The same where it passes over the rim of the button, metres."""
LAST_BIT = 0.04
"""The end of a drag is done off the table, so that the task is solved when the hand lets go, metres."""
ROOM_ATTEMPTS = 3
"""Attempts after which the door and the drawer are left as they are."""
BEHIND_LEANS = (0.0, 0.25, 0.5, -0.25)
"""Leans, in the direction of the push, with which the fingers may stand behind a block, radians."""
OFF_TABLE = 0.004
"""How far the fingertips are kept off the table while they push, metres."""
SIDESTEPS = (0.0, 0.03, -0.03, 0.05, -0.05, 0.07, -0.07, 0.085, 0.1)
"""Ways aside that a dragged block may take, metres."""
ENOUGH = 0.003
"""Clearance with which a block passes, or is put down beside, something else, metres."""
EDGE = TABLE_X - 0.02
"""A block is not pushed further out in x than this, metres."""
OPENED = 0.1
"""A drawer that is pulled out further than this counts as open, metres."""


def make_room(now: View, block: str, attempt: int) -> list[Phase]:
    """Moves the door or the drawer so that the hand can get at the block; nothing if it can, or if
    moving them has not helped."""
    box = now.blocks[block]
    if attempt >= ROOM_ATTEMPTS:
        return []
    if box.centre[2] < TABLE_TOP:
        return uncover_drawer(now) if box.centre[1] > TABLE_FRONT - FINGER_HALF_THICKNESS else []
    return uncover(now, box.centre[0]) if box.centre[1] > CABINET_Y[0] else []


def grasp_of(
    now: View, block: str, attempt: int = 0, through: Callable[[Pose], Sequence[Pose]] = lambda pose: ()
) -> Choice:
    """The best grasp of a block. ``through``: where the tool goes with it, which must suit the arm and
    be clear too."""
    options = (
        (pose, cost + sum(cost_of(place) for place in through(pose)[-1:])) for pose, cost in grasps(now.blocks[block])
    )
    return best(options, now.obstacles(block), OPEN_GRIPPER, attempt, through)


def take(now: View, block: str, grasp: Pose) -> list[Phase]:
    """Goes to a block and closes the fingers on it."""
    return [*leave(now), *enter(grasp, OPEN, seeks=block), close(grasp)]


def lift(block: str, now: View, start: View, attempt: int) -> list[Phase]:
    """Grasps the block and backs out with it."""
    if room := make_room(now, block, attempt):
        return room
    grasp = grasp_of(now, block, attempt).pose
    height = LIFT / max(0.5, -grasp.approach[2])
    return [
        *take(now, block, grasp),
        Phase("lift", grasp.withdrawn(height), CLOSED, speed=0.5, carries=block),
    ]


def rotate(block: str, sign: float, now: View, start: View, attempt: int) -> list[Phase]:
    """Grasps the block, turns it barely off the table, and lets it go."""
    before, after = start.state.block_quaternions[block], now.state.block_quaternions[block]
    turned = math.radians(rotation_between(before, after)[2])
    angle = sign * (TURN + SURPLUS_TURN) - turned
    centre = now.blocks[block].centre

    def then(pose: Pose) -> Pose:
        turn = about_z(angle)
        return Pose(centre + turn @ (pose.position - centre) + HOVER * Z, turn @ pose.rotation)

    if room := make_room(now, block, attempt):
        return room
    grasp = grasp_of(now, block, attempt, lambda pose: (then(pose),)).pose
    return [
        *take(now, block, grasp),
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

    if room := make_room(now, block, attempt):
        return room
    grasp = grasp_of(now, block, attempt, lambda pose: (pose.shifted(0.5 * distance * X), then(pose))).pose
    dragged = grasp.shifted((distance - last_bit) * X + 0.8 * aside * Y)
    end = then(grasp)
    low = end.shifted((HOVER - HOP) * Z)
    return [
        *take(now, block, grasp),
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
    (_, front, _), (_, back, _) = now.state.scene.table

    def merit(aside: float) -> tuple[float, float]:
        end = dataclasses.replace(box, centre=box.centre + distance * X + aside * Y)
        clearance = float(distances(end.lattice + ROOM * Z, obstacles).min())
        return min(clearance, ENOUGH), -abs(aside)

    ways = [a for a in SIDESTEPS if front - 0.01 <= box.centre[1] + a <= back + 0.01]
    return max(ways or [0.0], key=merit)


def _behind(now: View, block: str, side: float, distance: float) -> Pose | None:
    """The pose of the closed fingers behind the block, if the block can be pushed from there."""
    box = now.blocks[block]
    obstacles = now.obstacles(block)
    path = (dataclasses.replace(box, centre=box.centre + part * distance * X) for part in (0.25, 0.5, 0.75, 1.0))
    points = np.concatenate([place.lattice for place in path]) + ROOM * Z
    if float(distances(points, obstacles).min()) < ENOUGH or abs(box.centre[0] + distance) > EDGE:
        return None
    position = box.centre - side * (box.reach(X) + FINGER_HALF_THICKNESS + BESIDE) * X + OFF_TABLE * Z
    options = ((Pose(position, leaning(Y, side * X, lean)), 0.0) for lean in BEHIND_LEANS)

    def through(pose: Pose) -> list[Pose]:
        return [pose.shifted(part * distance * X) for part in (0.25, 0.5, 0.75, 1.0)]

    chosen = best(options, obstacles, CLOSED_GRIPPER, through=through)
    return chosen.pose if chosen.clearance > 0.0 else None


def _alone_before_open_drawer(now: View, block: str) -> bool:
    others = (touched for name, touched in now.touched.items() if name != block)
    return now.furniture.drawer > OPENED and all((TABLE, BASE_LINK) not in touched for touched in others)


def unstack(now: View, start: View, attempt: int) -> list[Phase]:
    """Takes the upper block off the lower one."""
    upper = _block_on_blocks(start)
    return lift(upper, now, start, attempt) if upper else wait()


def _block_on_blocks(view: View) -> str | None:
    """The block that touches nothing but blocks, if any."""
    for name in view.blocks:
        touched = {body for body, _ in view.touched[name]}
        if touched and touched <= BLOCKS:
            return name
    return None
