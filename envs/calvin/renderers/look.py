"""How a scene looks otherwise than its files say: where the light is, how strong, what is tinted, and textures."""

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
GIVEN, ANY = "given", "any"
"""Of textures: those of the files, and of whichever kind is drawn."""
WHITE = (1.0, 1.0, 1.0)
KINDS = ("checker", "noise", "stripes", "wood")
"""Of patterns, see :mod:`vla_bench.envs.calvin.renderers.patterns`."""
VARIANTS = 12
"""Patterns of each kind: few, since PyBullet keeps every texture that it was ever given."""
_TABLE_PERIOD, _FLOOR_PERIOD = 0.12, 1.0
"""Metres from one square of a pattern to the next of its colour."""
_LIGHT, _COLOUR, _TEXTURE = 41, 42, 43
"""Of the seeds: each draws for itself."""
_LINKS = 64
"""At most so many links has a table."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A texture that code draws."""

    kind: str
    """One of :data:`KINDS`."""
    variant: int
    """Which of them: its colours, and what else its kind draws."""
    period: float
    """Metres on the surface after which it comes again."""


@dataclass(frozen=True, slots=True)
class Look:
    """The light, the tints and the textures of one episode."""

    light_position: tuple[float, ...] = LIGHT_POSITION
    light_strength: float = 1.0
    tints: Mapping[tuple[int, int], tuple[float, ...]] | None = None
    """By body and link: factors of red, green and blue; white where none is named."""

    patterns: Mapping[int, Pattern] | None = None
    """By body: in place of all its textures; its own where none is named. What has no texture gets none."""

    def pattern(self, body: int) -> Pattern | None:
        """The texture of a body's parts, if it is not their own."""
        return (self.patterns or {}).get(body)

    def tint(self, body: int, link: int) -> tuple[float, ...]:
        """The factors of one part."""
        return (self.tints or {}).get((body, link), WHITE)


def drawn_look(seed: int, light_turn: float, light_strength: float, colours: float, textures: str = GIVEN) -> Look:
    """The look of an episode: the light turned by ``light_turn`` degrees to a drawn side and stronger by the share
    ``light_strength``; the floor and each link of the table tinted, by ``colours`` of the way to a drawn colour; other
    textures on both, of the kind ``textures`` or of any."""
    around = np.random.default_rng((seed, _LIGHT)).uniform(0, 2 * math.pi)
    position, angle = np.array(LIGHT_POSITION), math.radians(light_turn)
    first = np.cross(position, (1.0, 0.0, 0.0))
    first *= math.sqrt(position.dot(position) / first.dot(first))
    second = np.cross(first, position) / math.sqrt(position.dot(position))
    turned = position * math.cos(angle) + (math.cos(around) * first + math.sin(around) * second) * math.sin(angle)
    drawn = np.random.default_rng((seed, _COLOUR)).uniform(0.1, 1.0, (_LINKS + 1, 3))
    factors = 1 - colours + colours * drawn
    tints = {(TABLE, link - 1): tuple(factors[link].tolist()) for link in range(_LINKS)}
    tints[FLOOR, -1] = tuple(factors[_LINKS].tolist())
    where = tuple(turned.tolist()) if light_turn else LIGHT_POSITION
    return Look(where, 1 + light_strength, tints if colours else None, _drawn_patterns(seed, textures))


def _drawn_patterns(seed: int, textures: str) -> dict[int, Pattern] | None:
    if textures == GIVEN:
        return None
    generator = np.random.default_rng((seed, _TEXTURE))
    patterns = {}
    for body, period in ((TABLE, _TABLE_PERIOD), (FLOOR, _FLOOR_PERIOD)):
        kind, variant = KINDS[generator.integers(len(KINDS))], int(generator.integers(VARIANTS))
        patterns[body] = Pattern(kind if textures == ANY else textures, variant, period)
    return patterns
