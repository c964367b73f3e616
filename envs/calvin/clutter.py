"""Objects that take part in nothing, on the table where nothing is to be done: for :mod:`vla_bench.envs.stress`."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vla_bench.envs.calvin.scenes import BLOCK_HALF_WIDTH

if TYPE_CHECKING:
    from vla_bench.envs.calvin.world import World

MASS = 0.03
"""Of each object, kilograms: light enough to be pushed aside."""
_TOP = (-0.41, 0.41), (-0.155, -0.065), 0.44
"""Where objects may stand on the table top: x, y, height of the surface (0.8 of 0.55, see
:mod:`vla_bench.envs.calvin.builtin.dimensions`), metres; off its edges and clear of the sliding door's handle."""
_CUPBOARD = (-0.41, 0.41), (0.16, 0.16), 0.647846
"""The same on the cupboard, along the middle of its top, for what has no place on the table top (0.8 of
0.55 + 0.15 sqrt(3))."""
_FROM_BLOCK, _FROM_FITTING, _FROM_EACH_OTHER, _FROM_ARM = 0.11, 0.09, 0.055, 0.06
"""Between an object and a block, a button, a switch or a light, another object, the arm; metres, between centres
(blocks and objects) or surfaces."""
_PUSHED, _LANE = 0.18, 0.075
"""A block on the table top is pushed sideways by 0.1 m and more, with half of its length (0.04 m at most) before it and
half of an object's (0.022 m) at the end; and towards the viewer into the drawer. So nothing stands within so many
metres to either side of it, nor anywhere in front of it, in a lane this wide to either side of its centre."""
_ON_TOP, _REAR = 0.03, 0.02
"""Blocks whose centre is within so many metres of the height of those on the table top, and no further back than this
y, lie on it: not in the drawer nor behind the door."""
_TRIES = 300
_PARKED = -3.0
"""z of what has no place, metres."""
_NEAR = 0.04
"""An object stands fast until the arm, a block or another object that does not is so near, metres, by their boxes: the
tool moves by 0.02 m in a control step. So the world is the unchanged one, almost to the last bit, until then:
everything that can move is in one system of equations, which is solved to a residual."""
_CLUTTER = 31
"""Of the seeds: keeps the draws of clutter apart from others."""


@dataclass(frozen=True, slots=True)
class Thing:
    """The shape and the look of an object."""

    half_sizes: tuple[float, float, float]
    """Metres; of a cylinder radius, radius and half of the height."""
    colour: tuple[float, float, float, float]
    round: bool = False
    """Whether it is a cylinder, else a box."""


THINGS = (
    Thing((0.016, 0.016, 0.025), (0.15, 0.5, 0.2, 1.0), round=True),
    Thing((0.018, 0.013, 0.016), (0.85, 0.75, 0.1, 1.0)),
    Thing((0.02, 0.02, 0.012), (0.9, 0.9, 0.88, 1.0), round=True),
    Thing((0.013, 0.013, 0.03), (0.35, 0.35, 0.38, 1.0)),
    Thing((0.022, 0.016, 0.01), (0.85, 0.45, 0.1, 1.0)),
    Thing((0.013, 0.013, 0.018), (0.4, 0.25, 0.15, 1.0), round=True),
)
"""None looks like a block."""


class Clutter:
    """So many objects in one client, from the first of :data:`THINGS` on, and over again."""

    def __init__(self, bullet: Any, client: int, count: int, visuals: bool) -> None:
        """Makes them where nobody sees them."""
        self._bullet, self._client = bullet, client
        self.bodies = [self._make(THINGS[index % len(THINGS)], visuals) for index in range(count)]
        self._fast: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        """Boxes around those that stand fast, a little larger than they are."""

    def _make(self, thing: Thing, visuals: bool) -> int:
        p, client = self._bullet, self._client
        shape = p.GEOM_CYLINDER if thing.round else p.GEOM_BOX
        solid: dict[str, Any] = {"halfExtents": thing.half_sizes}
        seen: dict[str, Any] = solid
        if thing.round:
            radius, height = thing.half_sizes[0], 2 * thing.half_sizes[2]
            solid, seen = {"radius": radius, "height": height}, {"radius": radius, "length": height}
        visual = p.createVisualShape(shape, rgbaColor=thing.colour, physicsClientId=client, **seen) if visuals else -1
        collision = p.createCollisionShape(shape, physicsClientId=client, **solid)
        body: int = p.createMultiBody(0, collision, visual, (0, 0, _PARKED), physicsClientId=client)
        return body

    def place(self, world: World, seed: int) -> None:
        """Puts each where it is in the way of nothing; what finds no place stays away, and does not fall."""
        p, client = self._bullet, self._client
        generator = np.random.default_rng((seed, _CLUTTER))
        standing: list[np.ndarray] = []
        self._fast = {}
        for index, body in enumerate(self.bodies):
            p.changeDynamics(body, -1, mass=0, physicsClientId=client)
            half = THINGS[index % len(THINGS)].half_sizes[2]
            for (x, y, height), _ in itertools.product((_TOP, _CUPBOARD), range(_TRIES)):
                place = np.array([generator.uniform(*x), generator.uniform(*y), height + half])
                turn = p.getQuaternionFromEuler((0, 0, generator.uniform(-math.pi, math.pi)))
                if self._is_free(world, place, standing):
                    p.resetBasePositionAndOrientation(body, place, turn, physicsClientId=client)
                    if not self._touches(world, body):
                        standing.append(place)
                        low, high = p.getAABB(body, physicsClientId=client)
                        self._fast[body] = np.array(low) - _NEAR, np.array(high) + _NEAR
                        break
            else:
                p.resetBasePositionAndOrientation(body, (0, 0, _PARKED), (0, 0, 0, 1), physicsClientId=client)

    def loosen(self, world: World) -> None:
        """Lets those move that something has come near to. To be called before each control step."""
        p, client = self._bullet, self._client
        movers = {world.robot.body, *world.blocks, *(body for body in self.bodies if body not in self._fast)}
        for body, (low, high) in list(self._fast.items()):
            near = p.getOverlappingObjects(low, high, physicsClientId=client) or ()
            if any(other in movers for other, _ in near):
                p.changeDynamics(body, -1, mass=MASS, physicsClientId=client)
                del self._fast[body]

    def _is_free(self, world: World, place: np.ndarray, standing: list[np.ndarray]) -> bool:
        blocks = [np.array(world.position(body)) for body in world.blocks]
        on_cupboard = place[1] >= _CUPBOARD[1][0]
        return (on_cupboard or not any(in_the_way(place, each) for each in blocks)) and all(
            np.linalg.norm(place[:2] - each[:2]) > _FROM_EACH_OTHER for each in standing
        )

    def _touches(self, world: World, body: int) -> bool:
        p, client = self._bullet, self._client
        fittings = p.getClosestPoints(body, world.table.body, _FROM_FITTING, physicsClientId=client)
        if any(point[4] in world.table.fittings for point in fittings):
            return True
        return bool(p.getClosestPoints(body, world.robot.body, _FROM_ARM, physicsClientId=client))


def in_the_way(place: np.ndarray, block: np.ndarray) -> bool:
    """Whether an object at ``place`` (x, y, metres) would hinder grasping, turning or pushing ``block`` (x, y, z)."""
    sideways, ahead = abs(float(place[0] - block[0])), float(place[1] - block[1])
    near = math.hypot(sideways, ahead) <= _FROM_BLOCK
    if abs(float(block[2]) - _TOP[2] - BLOCK_HALF_WIDTH) > _ON_TOP or block[1] > _REAR:
        return near
    return near or (sideways <= _PUSHED and abs(ahead) <= _LANE) or (sideways <= _LANE and ahead < 0)
