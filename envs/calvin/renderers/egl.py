"""PyBullet's OpenGL renderer, which CALVIN's data was made with."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from vla_bench.envs.calvin.cameras import View
from vla_bench.envs.calvin.renderers import egl_plugin
from vla_bench.envs.calvin.renderers.double import Double
from vla_bench.envs.calvin.renderers.egl_devices import VARIABLE
from vla_bench.envs.calvin.renderers.look import LIGHT_POSITION, Look
from vla_bench.envs.calvin.world import World
from vla_bench.envs.errors import RendererError

_WARM_UP = 2
"""The plugin's first two frames have no shadows: it makes its shadow map anew at the start of the second."""


class EglRenderer:
    """Renders in a client of its own, loaded anew for another scene: pixels must not depend on which
    scenes were shown before.
    """

    def __init__(self, bullet: Any) -> None:
        """Tries the driver in a child process.

        Raises:
            RendererError: when EGL does not work here.
        """
        self._bullet = bullet
        self._driver = egl_plugin.probe()
        if self._driver.device:
            os.environ[VARIABLE] = self._driver.device
        self._double: Double | None = None
        self._world: World | None = None

    def load(self, world: World) -> None:
        """See :class:`vla_bench.envs.calvin.renderers.Renderer`."""
        if self._double is None or not self._double.shows(world):
            self._open(world)
        self._world = world

    def _open(self, world: World) -> None:
        self.close()
        p = self._bullet
        client = p.connect(p.DIRECT)
        self._driver = egl_plugin.load(p, client)
        self._double = Double(p, client, world, p.ER_BULLET_HARDWARE_OPENGL)
        self._cold = True

    def relook(self, look: Look) -> None:
        """See :class:`vla_bench.envs.calvin.renderers.Renderer`; what is refused is in
        :data:`vla_bench.envs.calvin.stress.EGL_CANNOT`."""
        if look.light_position != LIGHT_POSITION or look.light_strength != 1 or look.patterns is not None:
            raise RendererError(
                "stress of light or textures: PyBullet's OpenGL renderer shows neither; type benchmark.renderer=fast"
            )
        if self._double is None:
            raise RuntimeError("relook() before load()")
        self._double.relook(look)

    def render(self, view: View) -> tuple[np.ndarray, np.ndarray | None]:
        """See :class:`vla_bench.envs.calvin.renderers.Renderer`."""
        if self._world is None:
            raise RuntimeError("render() before load()")
        self._double.follow(self._world)
        if self._cold:
            with egl_plugin.quiet():
                for _ in range(_WARM_UP):
                    self._double.image(view)
            self._cold = False
        return self._double.image(view)

    def describe(self) -> dict[str, str]:
        """See :class:`vla_bench.envs.calvin.renderers.Renderer`."""
        driver = self._driver
        return {
            "name": "egl",
            "renderer": "PyBullet OpenGL renderer through EGL",
            "gl_vendor": driver.vendor,
            "gl_renderer": driver.renderer,
            "gl_version": driver.version,
            "egl_device": driver.device or "default",
        }

    def close(self) -> None:
        """Ends the client and with it the OpenGL context."""
        if self._double is not None:
            double, self._double = self._double, None
            egl_plugin.disconnect(self._bullet, double.client)
