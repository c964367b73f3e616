"""When a task is solved: pure functions of the information at its start and now.

The rules are those of calvin_env 797142c (``conf/tasks/new_playtable_tasks.yaml``), including what
looks like an oversight there: see :class:`PushInto`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

Contact = tuple[int, int]
"""Body and link touched; link -1 is a body's base."""

ROBOT = 0
TABLE = 5
FIRST_BLOCK = 2
"""Body ids follow the official load order: robot 0, its base cylinder 1, blocks 2-4, table 5, plane 6."""
BASE_LINK, DRAWER_LINK, PLANK_LINK = -1, 3, 6
"""Links of the table that hold blocks; the plank is the floor of the sliding cabinet."""
BLOCKS = frozenset(range(FIRST_BLOCK, FIRST_BLOCK + 3))

MAX_ROTATION_SHIFT = 0.1
"""A rotated block may not have moved further than this, metres."""
MAX_TILT = 30.0
"""Nor have tilted about x or y by this much, degrees."""
MAX_STACK_SPEED = 1.0
"""Bound of every component of a stacked block's velocity, m/s and rad/s."""


class Information(Protocol):
    """What the rules look at. A recorded snapshot and the live simulation both provide it."""

    def body(self, block: str) -> int:
        """Body id of a block by name, e.g. ``block_red``."""
        ...

    def position(self, body: int) -> Sequence[float]:
        """World position (3,) of a block, metres."""
        ...

    def quaternion(self, body: int) -> Sequence[float]:
        """World orientation (4,) of a block, x y z w."""
        ...

    def velocity(self, body: int) -> Sequence[float]:
        """Linear (m/s) and angular (rad/s) velocity of a block, six numbers, world frame."""
        ...

    def contacts(self, body: int) -> frozenset[Contact]:
        """What a body touches, near contacts (PyBullet's margin) included."""
        ...

    def joint(self, name: str) -> float:
        """Position of ``slide`` or ``drawer``, metres."""
        ...

    def light(self, name: str) -> int:
        """1 when ``lightbulb`` or ``led`` is on, else 0."""
        ...


def _bodies(contacts: frozenset[Contact]) -> frozenset[int]:
    return frozenset(body for body, _ in contacts)


def _matrix(quaternion: Sequence[float]) -> tuple[tuple[float, float, float], ...]:
    x, y, z, w = quaternion
    norm = x * x + y * y + z * z + w * w
    s = 2.0 / norm
    return (
        (1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w)),
        (s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w)),
        (s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y)),
    )


def rotation_between(start: Sequence[float], end: Sequence[float]) -> tuple[float, float, float]:
    """Rotation from one orientation to another as extrinsic x-y-z angles.

    Args:
        start: quaternion (4,), x y z w.
        end: quaternion (4,), x y z w.

    Returns:
        Angles about the world's x, y and z axis in degrees, of ``end * inverse(start)``.
    """
    a, b = _matrix(end), _matrix(start)

    def element(i: int, j: int) -> float:
        return a[i][0] * b[j][0] + a[i][1] * b[j][1] + a[i][2] * b[j][2]

    x = math.atan2(element(2, 1), element(2, 2))
    y = math.asin(max(-1.0, min(1.0, -element(2, 0))))
    z = math.atan2(element(1, 0), element(0, 0))
    return math.degrees(x), math.degrees(y), math.degrees(z)


class Rule(Protocol):
    """One task's criterion."""

    def solved(self, start: Information, end: Information) -> bool:
        """Whether the change from ``start`` to ``end`` is the task."""
        ...


@dataclass(frozen=True, slots=True)
class Rotate:
    """A block turned about z by more than ``degrees`` (negative: clockwise, called right)."""

    block: str
    degrees: float

    def solved(self, start: Information, end: Information) -> bool:
        body = start.body(self.block)
        x, y, z = rotation_between(start.quaternion(body), end.quaternion(body))
        if self.degrees > 0:
            turned = self.degrees < z < 180.0
        else:
            turned = self.degrees > z > -180.0
        if not turned or abs(x) >= MAX_TILT or abs(y) >= MAX_TILT:
            return False
        if math.dist(start.position(body), end.position(body)) > MAX_ROTATION_SHIFT:
            return False
        return bool(_bodies(end.contacts(body)) - {ROBOT})


@dataclass(frozen=True, slots=True)
class Push:
    """A block moved along x by more than ``distance`` metres (negative: left) on what it lay on."""

    block: str
    distance: float

    def solved(self, start: Information, end: Information) -> bool:
        body = start.body(self.block)
        moved = end.position(body)[0] - start.position(body)[0]
        if not (moved > self.distance if self.distance > 0 else moved < self.distance):
            return False
        support = {contact for contact in start.contacts(body) if contact[0] != ROBOT}
        return bool(support) and support <= end.contacts(body)


@dataclass(frozen=True, slots=True)
class MoveJoint:
    """The sliding door or the drawer moved by more than ``distance`` metres, with its sign."""

    joint: str
    distance: float

    def solved(self, start: Information, end: Information) -> bool:
        moved = end.joint(self.joint) - start.joint(self.joint)
        return moved > self.distance if self.distance > 0 else moved < self.distance


@dataclass(frozen=True, slots=True)
class Lift:
    """A block that touched a table link rose by more than ``height`` metres and touches the robot only."""

    block: str
    height: float
    link: int

    def solved(self, start: Information, end: Information) -> bool:
        body = start.body(self.block)
        if end.position(body)[2] - start.position(body)[2] <= self.height:
            return False
        return (TABLE, self.link) in start.contacts(body) and _bodies(end.contacts(body)) == {ROBOT}


@dataclass(frozen=True, slots=True)
class Place:
    """The block that the robot held, and nothing else, lies on a table link and was let go."""

    link: int

    def solved(self, start: Information, end: Information) -> bool:
        held = _bodies(start.contacts(ROBOT))
        if len(held) != 1:
            return False
        (body,) = held
        return (
            body in BLOCKS
            and (TABLE, self.link) in end.contacts(body)
            and body not in _bodies(end.contacts(ROBOT))
            and _bodies(start.contacts(body)) == {ROBOT}
        )


def _calm(velocity: Sequence[float]) -> bool:
    return all(abs(component) < MAX_STACK_SPEED for component in velocity)


@dataclass(frozen=True, slots=True)
class Stack:
    """A block that touched no block now rests, calm, on nothing but blocks."""

    def solved(self, start: Information, end: Information) -> bool:
        for body in BLOCKS:
            touched = _bodies(end.contacts(body))
            rests = touched and touched <= BLOCKS and _calm(end.velocity(body))
            if rests and not BLOCKS & _bodies(start.contacts(body)):
                return True
        return False


@dataclass(frozen=True, slots=True)
class Unstack:
    """A block that rested, calm, on nothing but blocks touches none of them any more."""

    def solved(self, start: Information, end: Information) -> bool:
        for body in BLOCKS:
            touched = _bodies(start.contacts(body))
            rested = touched and touched <= BLOCKS and _calm(start.velocity(body))
            if rested and not BLOCKS & _bodies(end.contacts(body)):
                return True
        return False


@dataclass(frozen=True, slots=True)
class Toggle:
    """A light went from one state to the other."""

    light: str
    before: int

    def solved(self, start: Information, end: Information) -> bool:
        return start.light(self.light) == self.before and end.light(self.light) == 1 - self.before


@dataclass(frozen=True, slots=True)
class PushInto:
    """Any block that touched the table top, and nothing else, touches the drawer.

    The original also means to ask that the robot does not touch the block, but looks for a body id
    among pairs of body and link, which never matches; so the robot may, and carrying counts.
    """

    def solved(self, start: Information, end: Information) -> bool:
        return any(
            (TABLE, DRAWER_LINK) in end.contacts(body) and start.contacts(body) == {(TABLE, BASE_LINK)}
            for body in BLOCKS
        )
