"""How a scene looks otherwise than its files say: where the light is, how strong, and what is tinted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vla_bench.envs.calvin.oracle import TABLE

LIGHT_POSITION = (-5.0, -40.0, 200.0)
"""Of PyBullet's light, world, metres; see :mod:`vla_bench.envs.calvin.renderers.fast.light`."""
FLOOR = TABLE + 1
"""Body id of the plane, which is loaded after the table."""
WHITE = (1.0, 1.0, 1.0)
_LIGHT, _COLOUR = 41, 42
"""Of the seeds: each draws for itself."""
_LINKS = 64
"""At most so many links has a table."""


@dataclass(frozen=True, slots=True)
class Look:
    """The light and the tints of one episode."""

    light_position: tuple[float, ...] = LIGHT_POSITION
    light_strength: float = 1.0
    tints: Mapping[tuple[int, int], tuple[float, ...]] | None = None
    """By body and link: factors of red, green and blue; white where none is named."""

    def tint(self, body: int, link: int) -> tuple[float, ...]:
        """The factors of one part."""
        return (self.tints or {}).get((body, link), WHITE)


def drawn_look(seed: int, light_turn: float, light_strength: float, colours: float) -> Look:
    """The look of an episode: the light turned by ``light_turn`` degrees to a drawn side and stronger by the share
    ``light_strength``; the floor and each link of the table tinted, by ``colours`` of the way to a drawn colour."""
    around = np.random.default_rng((seed, _LIGHT)).uniform(0, 2 * math.pi)
    axis = np.array([math.cos(around), math.sin(around), 0.0])
    position, angle = np.array(LIGHT_POSITION), math.radians(light_turn)
    turned = (
        position * math.cos(angle)
        + np.cross(axis, position) * math.sin(angle)
        + axis * axis.dot(position) * (1 - math.cos(angle))
    )
    drawn = np.random.default_rng((seed, _COLOUR)).uniform(0.1, 1.0, (_LINKS + 1, 3))
    factors = 1 - colours + colours * drawn
    tints = {(TABLE, link - 1): tuple(factors[link].tolist()) for link in range(_LINKS)}
    tints[FLOOR, -1] = tuple(factors[_LINKS].tolist())
    where = tuple(turned.tolist()) if light_turn else LIGHT_POSITION
    return Look(where, 1 + light_strength, tints if colours else None)
