"""PyBullet's own software renderer."""

from __future__ import annotations

from typing import Any

import numpy as np

from vla_bench.envs.calvin.cameras import View
from vla_bench.envs.calvin.renderers.double import Double
from vla_bench.envs.calvin.renderers.look import Look
from vla_bench.envs.calvin.world import World


class TinyRenderer:
    """PyBullet's TinyRenderer: runs anywhere; no shadows; not what CALVIN's data was made with."""

    def __init__(self, bullet: Any) -> None:
        self._bullet = bullet
        self._double: Double | None = None
        self._world: World | None = None

    def load(self, world: World) -> None:
        """See :class:`vla_bench.envs.calvin.renderers.Renderer`."""
        if self._double is None or not self._double.shows(world):
            self.close()
            p = self._bullet
            self._double = Double(p, p.connect(p.DIRECT), world, p.ER_TINY_RENDERER)
        self._world = world

    def relook(self, look: Look) -> None:
        """See :class:`vla_bench.envs.calvin.renderers.Renderer`."""
        if self._double is None:
            raise RuntimeError("relook() before load()")
        self._double.relook(look)

    def render(self, view: View) -> tuple[np.ndarray, np.ndarray | None]:
        """See :class:`vla_bench.envs.calvin.renderers.Renderer`."""
        if self._world is None:
            raise RuntimeError("render() before load()")
        self._double.follow(self._world)
        return self._double.image(view)

    def describe(self) -> dict[str, str]:
        """See :class:`vla_bench.envs.calvin.renderers.Renderer`."""
        return {"name": "tiny", "renderer": "PyBullet TinyRenderer (software, no shadows)"}

    def close(self) -> None:
        """Ends the client."""
        if self._double is not None:
            double, self._double = self._double, None
            self._bullet.disconnect(double.client)
