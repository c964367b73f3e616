"""Plans for putting a block down: in the cabinet, in the drawer, on another block, out of the way."""

from __future__ import annotations

import itertools

import numpy as np

from vla_bench.envs.calvin.oracle import BASE_LINK, ROBOT, TABLE
from vla_bench.policies.expert.fixtures import HALF_HAND, uncover
from vla_bench.policies.expert.furniture import CABINET_Y, DRAWER_FLOOR, TABLE_BACK, TABLE_TOP
from vla_bench.policies.expert.grasps import OPEN_GRIPPER, ROOM, Choice, best, held_points, level_rotations
from vla_bench.policies.expert.handling import ROOM_ATTEMPTS, grasp_of, make_room, take
from vla_bench.policies.expert.motion import CLOSED, Phase
from vla_bench.policies.expert.routes import Z, leave, preparing, release, travel, wait
from vla_bench.policies.expert.view import Pose, View

DROP = 0.003
"""Height above a surface at which a block is let go, metres."""
WALL_MARGIN, DOOR_MARGIN, NEIGHBOUR_MARGIN = 0.078, 0.105, 0.10
"""A block is put this far from the cabinet's side wall, from the door's edge and from other blocks, so
that a finger or the hand fits between when it is taken again, metres."""
ELSEWHERE = 5.0
"""Cost of stacking on a block that does not lie on the table top."""
FARTHER, CRAMPED, CROWDED = 10.0, 12.0, 24.0
"""Cost of putting a block down a metre from where it might be put down nearest; a metre short of the
margin to wall or door; and to another block, which cannot be taken then either."""


def place(surface: str, now: View, start: View, attempt: int) -> list[Phase]:
    """Puts the held block into the cabinet (``slider``) or the drawer."""
    if start.held is None:
        return wait()
    if now.held != start.held:
        return _take_again(now, start.held, attempt)
    if surface == "slider":
        low, high = now.furniture.cabinet_opening
        if high - low < 2 * HALF_HAND and attempt < ROOM_ATTEMPTS and (phases := uncover(now, (low + high) / 2)):
            return phases
    return _put(now, now.held, _spots(now, surface), attempt)


def push_into_drawer(now: View, start: View, attempt: int) -> list[Phase]:
    """Takes a block from the table top over its edge and down into the drawer."""
    lying = [name for name in start.blocks if start.touched[name] == {(TABLE, BASE_LINK)}]
    if not lying:
        return wait()
    if now.held in lying:
        return _put(now, now.held, _spots(now, "drawer"), attempt)
    block = max(lying, key=lambda name: grasp_of(now, name).score)
    return _take_again(now, block, attempt)


def stack(now: View, start: View, attempt: int) -> list[Phase]:
    """Puts the held block on another one, preferably one that lies on the table top."""
    block = now.held
    if block is None:
        return _take_again(now, start.held, attempt) if start.held else wait()
    choices = []
    for name, below in now.blocks.items():
        if name == block or _covered(now, name, block):
            continue
        choice = _putting_pose(now, block, [np.array((*below.centre[:2], below.top))], attempt)
        choices.append((choice.score - ELSEWHERE * (below.centre[1] > TABLE_BACK), choice))
    if not choices:
        return wait()
    return _set_down(now, block, max(choices, key=lambda scored: scored[0])[1].pose)


def _covered(now: View, block: str, held: str) -> bool:
    """Whether another block than the held one lies on this one."""
    below = now.blocks[block]
    return any(
        other.bottom > below.centre[2] and np.hypot(*(other.centre - below.centre)[:2]) < below.half[0]
        for name, other in now.blocks.items()
        if name not in (block, held)
    )


def _take_again(now: View, block: str, attempt: int) -> list[Phase]:
    """Takes a block, as the first part of putting it somewhere; where it goes is planned after that."""
    return make_room(now, block, attempt) or preparing(take(now, block, grasp_of(now, block, attempt).pose))


def put_away(now: View) -> list[Phase]:
    """Puts a block that the task has no use for in the hand down where it is free."""
    box = now.blocks[now.held]
    if any(body != ROBOT for body, _ in now.touched[now.held]):
        return release(now.tool)
    return _put(now, now.held, _spots(now, "table"), 0, near=box.centre)


def _spots(now: View, surface: str) -> list[np.ndarray]:
    """Points (3,) of a surface where a block might be put, in a grid."""
    furniture = now.furniture
    if surface == "slider":
        low, high = furniture.cabinet_opening
        xs, ys, height = np.linspace(low + 0.045, high - 0.045, 9), (0.075, 0.09, 0.10), TABLE_TOP
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


def _put(now: View, block: str, spots: list[np.ndarray], attempt: int, near: np.ndarray | None = None) -> list[Phase]:
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
        (Pose(spot + height * Z - rotation @ grip, rotation), _drawback(now, block, spot, near))
        for spot, rotation in itertools.product(spots, rotations)
    )
    return best(options, now.obstacles(block), points, attempt)


def _drawback(now: View, block: str, spot: np.ndarray, near: np.ndarray | None) -> float:
    """What speaks against a spot apart from the way the tool gets there."""
    cost = 0.0 if near is None else FARTHER * float(np.hypot(*(spot - near)[:2]))
    for name, other in now.blocks.items():
        # The block that another is stacked on is no neighbour.
        if name != block and spot[2] < other.centre[2]:
            cost += CROWDED * max(0.0, NEIGHBOUR_MARGIN - float(np.hypot(*(spot - other.centre)[:2])))
    if spot[1] > CABINET_Y[0]:
        low, high = now.furniture.cabinet_opening
        walls = now.furniture.layout.cabinet
        left, right = (WALL_MARGIN if end in walls else DOOR_MARGIN for end in (low, high))
        cost += CRAMPED * (max(0.0, left - (spot[0] - low)) + max(0.0, right - (high - spot[0])))
    return cost


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
