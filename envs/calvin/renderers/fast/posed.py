"""A loaded world as a draw list that is brought up to date: poses of the links, colours of the lamps.

It also says which parts are at rest. They can be drawn once and kept, by a camera that does not move
and in the shadow map. What is at rest decides how long a frame takes, never what it shows: poses are
compared to the last bit.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

from vla_bench.envs.calvin.memory import give_back_free_memory
from vla_bench.envs.calvin.renderers import patterns
from vla_bench.envs.calvin.renderers.fast.kinematics import Skeleton
from vla_bench.envs.calvin.renderers.fast.library import Library
from vla_bench.envs.calvin.renderers.fast.scene import Part, draw_list, packed, parts_of
from vla_bench.envs.calvin.renderers.fast.textures import Texture, mip_pyramid
from vla_bench.envs.calvin.renderers.look import Look, Pattern
from vla_bench.envs.calvin.table import LIGHTS, OFF_COLOUR
from vla_bench.envs.calvin.world import World

_PATIENCE = 8
"""Frames for which a part must not have moved to be taken for at rest."""
_TABLE_GRID = 2.0**-16
"""The table's joints are drawn at multiples of this, metres: a drawer that nobody touches creeps by less
than a micrometre, which nobody sees and which would have it drawn anew."""


class PosedScene:
    """What one scene of one bundle shows, whichever time it was loaded: ids and shapes are the same."""

    def __init__(self, bullet: Any, world: World, library: Library) -> None:
        """Takes in the world's bodies; ``update`` makes the draw list current."""
        client = world.client
        bodies = range(bullet.getNumBodies(physicsClientId=client))
        grids = {world.table.body: _TABLE_GRID}
        self._skeletons = [Skeleton(bullet, client, body, grids.get(body, 0.0)) for body in bodies]
        parts = _visible_parts(bullet, world, library)
        self.scene = draw_list(parts)
        """Current as of the last ``update``."""
        starts = np.cumsum([0, *(len(skeleton.frames) for skeleton in self._skeletons)])
        self._frames = np.zeros((starts[-1], 3, 4))
        for skeleton, start in zip(self._skeletons, starts, strict=False):
            skeleton.frames = self._frames[start : start + len(skeleton.frames)]
        self._links = np.array([starts[part.body] + part.link + 1 for part in parts])
        """Which of the frames each part has."""
        links = self._skeletons[world.table.body].names
        lamps = {(world.table.body, links[link]): name for name, (link, _) in LIGHTS.items()}
        self._lamps = {
            index: lamps[part.body, part.link] for index, part in enumerate(parts) if (part.body, part.link) in lamps
        }
        restless = [
            part.body in world.blocks
            or (part.body == world.robot.body and part.link in self._skeletons[part.body].moving)
            for part in parts
        ]
        self._may_rest = np.logical_not(restless)
        self.places = [(part.body, part.link) for part in parts]
        """Body and link of each part."""
        self._covers = [(part.body, part.image, part.file, part.scale) for part in parts]
        self._patterned = False
        self.begin(world)

    def begin(self, world: World) -> None:
        """Takes ``world``, loaded anew; it is looked at as it will be at the next ``update``."""
        self._world = world
        self._fresh = True

    def cover(self, look: Look) -> None:
        """Gives every part that has an image the pattern of its body, or its own image."""
        patterned = any(look.pattern(body) is not None for body, _ in self.places)
        if patterned or self._patterned:
            self.scene = self.scene._replace(**packed([_image(look, *cover) for cover in self._covers]))
        self._patterned = patterned

    @property
    def world(self) -> World:
        """What it shows."""
        return self._world

    epoch = 0
    """Goes up when the parts at rest, or their looks, are others than before."""
    frame = 0
    """Goes up when anything has moved."""

    @property
    def at_rest(self) -> np.ndarray:
        """Parts at rest, (N,) int, ascending."""
        return np.flatnonzero(self._resting)

    @property
    def moving(self) -> np.ndarray:
        """All other parts."""
        return np.flatnonzero(~self._resting)

    def update(self) -> None:
        """Reads where everything is and whether the lamps are lit."""
        worlds, colours = self.scene.worlds, self.scene.colours
        before = worlds.copy(), colours.copy()
        for skeleton in self._skeletons:
            skeleton.update(self._world.client)
        np.take(self._frames, self._links, axis=0, out=worlds, mode="clip")
        for index, name in self._lamps.items():
            colours[index] = LIGHTS[name][1] if self._world.table.lights[name] else OFF_COLOUR
        changed = (before[0] != worlds).any(axis=(1, 2)) | (before[1] != colours).any(axis=1)
        if self._fresh:
            self._fresh = False
            self._quiet = np.full(len(worlds), _PATIENCE)
            self._resting = self._may_rest
            self.epoch += 1
            self.frame += 1
        elif changed.any():
            self._quiet = np.where(changed, 0, self._quiet + 1)
            resting = self._may_rest & ~changed & (self._resting | (self._quiet >= _PATIENCE))
            if not np.array_equal(resting, self._resting):
                self._resting = resting
                self.epoch += 1
            self.frame += 1


def _image(look: Look, body: int, image: Texture | None, file: Path | None, scale: tuple[float, ...]) -> Texture | None:
    pattern = look.pattern(body)
    if image is None or pattern is None or file is None:
        return image
    return _pyramid(pattern, patterns.periods_on(pattern, file, scale))


@functools.lru_cache(maxsize=64)
def _pyramid(pattern: Pattern, periods: patterns.Periods) -> Texture:
    return mip_pyramid(patterns.drawn(pattern, periods)[::-1])


def _visible_parts(bullet: Any, world: World, library: Library) -> list[Part]:
    """The visual shapes of ``world``'s scene, from a client that lives just long enough to tell them.

    The client that does the physics is loaded without.
    """
    client = bullet.connect(bullet.DIRECT)
    try:
        World(bullet, client, world.bundle, "relative", clutter=world.clutter_count).load(world.scene)
        return parts_of(bullet, client, range(bullet.getNumBodies(physicsClientId=client)), library)
    finally:
        bullet.disconnect(client)
        give_back_free_memory()
