"""Objects that take part in nothing, on the free part of the table top: for :mod:`vla_bench.envs.stress`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from vla_bench.envs.calvin.world import World

MASS = 0.03
"""Of each object, kilograms: light enough to be pushed aside."""
_TOP = 0.44
"""Height of the table top, metres (0.8 of 0.55, see :mod:`vla_bench.envs.calvin.builtin.dimensions`)."""
_X, _Y = (-0.41, 0.41), (-0.155, -0.065)
"""Where objects may stand, metres: on the top, off its edges and clear of the sliding door's handle."""
_ROOM = -0.03
"""Around where blocks lie on the table, metres: what it takes to push, turn and grasp them."""
_FROM_BLOCK, _FROM_FITTING, _FROM_EACH_OTHER, _FROM_ARM = 0.11, 0.09, 0.055, 0.06
"""Between an object and a block, a button or switch, another object, the arm; metres, centres or surfaces."""
_TRIES = 300
_PARKED = -3.0
"""z of what has no place, metres."""
_CLUTTER = 31
"""Of the seeds: keeps the draws of clutter apart from others."""

# Kind, half sizes (box) or radius and height (cylinder) in metres, colour; none looks like a block.
OBJECTS = (
    ("cylinder", (0.016, 0.05), (0.15, 0.5, 0.2, 1.0)),
    ("box", (0.018, 0.013, 0.016), (0.85, 0.75, 0.1, 1.0)),
    ("cylinder", (0.02, 0.024), (0.9, 0.9, 0.88, 1.0)),
    ("box", (0.013, 0.013, 0.03), (0.35, 0.35, 0.38, 1.0)),
    ("box", (0.022, 0.016, 0.01), (0.85, 0.45, 0.1, 1.0)),
    ("cylinder", (0.013, 0.036), (0.4, 0.25, 0.15, 1.0)),
)


class Clutter:
    """So many objects in one client, from the first of :data:`OBJECTS` on, and over again."""

    def __init__(self, bullet: Any, client: int, count: int, visuals: bool) -> None:
        """Makes them where nobody sees them."""
        self._bullet, self._client = bullet, client
        self.bodies = [self._make(*OBJECTS[index % len(OBJECTS)], visuals) for index in range(count)]

    def _make(self, kind: str, size: tuple[float, ...], colour: tuple[float, ...], visuals: bool) -> int:
        p, client = self._bullet, self._client
        if kind == "box":
            shape, solid, seen = p.GEOM_BOX, {"halfExtents": size}, {"halfExtents": size}
        else:
            radius, height = size
            shape = p.GEOM_CYLINDER
            solid, seen = {"radius": radius, "height": height}, {"radius": radius, "length": height}
        visual = p.createVisualShape(shape, rgbaColor=colour, physicsClientId=client, **seen) if visuals else -1
        collision = p.createCollisionShape(shape, physicsClientId=client, **solid)
        return p.createMultiBody(MASS, collision, visual, (0, 0, _PARKED), physicsClientId=client)

    def place(self, world: World, seed: int) -> None:
        """Puts each where it is in the way of nothing; what finds no place stays away, and does not fall."""
        p, client = self._bullet, self._client
        generator = np.random.default_rng((seed, _CLUTTER))
        standing: list[np.ndarray] = []
        for index, body in enumerate(self.bodies):
            kind, size, _ = OBJECTS[index % len(OBJECTS)]
            half = size[2] if kind == "box" else size[1] / 2
            for _ in range(_TRIES):
                place = np.array([generator.uniform(*_X), generator.uniform(*_Y), _TOP + half])
                turn = p.getQuaternionFromEuler((0, 0, generator.uniform(-math.pi, math.pi)))
                if self._is_free(world, place, standing):
                    p.resetBasePositionAndOrientation(body, place, turn, physicsClientId=client)
                    if not self._touches(world, body):
                        standing.append(place)
                        break
            else:
                p.resetBasePositionAndOrientation(body, (0, 0, _PARKED), (0, 0, 0, 1), physicsClientId=client)
                p.changeDynamics(body, -1, mass=0, physicsClientId=client)

    def _is_free(self, world: World, place: np.ndarray, standing: list[np.ndarray]) -> bool:
        low, high = np.array(world.scene.table)[:, :2]
        if ((place[:2] > low - _ROOM) & (place[:2] < high + _ROOM)).all():
            return False
        blocks = [np.array(world.position(body)) for body in world.blocks]
        return all(np.linalg.norm(place[:2] - each[:2]) > _FROM_BLOCK for each in blocks) and all(
            np.linalg.norm(place[:2] - each[:2]) > _FROM_EACH_OTHER for each in standing
        )

    def _touches(self, world: World, body: int) -> bool:
        p, client = self._bullet, self._client
        fittings = p.getClosestPoints(body, world.table.body, _FROM_FITTING, physicsClientId=client)
        moving = {world.table.button, world.table.switch}
        if any(point[4] in moving for point in fittings):
            return True
        return bool(p.getClosestPoints(body, world.robot.body, _FROM_ARM, physicsClientId=client))
