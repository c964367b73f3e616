"""PyBullet's OpenGL renderer, which CALVIN's data was made with."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from envs.calvin.cameras import View
from envs.calvin.renderers import egl_plugin
from envs.calvin.renderers.egl_devices import VARIABLE
from envs.calvin.world import World

_WARM_UP = 2
"""The plugin's first two frames have no shadows: it makes its shadow map anew at the start of the second."""


class EglRenderer:
    """Renders in a client of its own, which is brought to the poses of the physics client.

    So the physics client can be loaded anew for each episode, which with the plugin in it would lose
    12 MB each time, and needs no visual shapes. Another scene gets another client: pixels must not
    depend on which scenes were shown before.
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
        self._client: int | None = None
        self._double: World | None = None
        self._world: World | None = None

    def load(self, world: World) -> None:
        """See :class:`envs.calvin.renderers.Renderer`."""
        if self._double is None or self._double.scene != world.scene:
            self._open(world)
        self._world = world

    def _open(self, world: World) -> None:
        self.close()
        p = self._bullet
        self._client = p.connect(p.DIRECT)
        self._driver = egl_plugin.load(p, self._client)
        self._double = World(p, self._client, world.bundle, "relative")
        self._double.load(world.scene)
        self._joints = {body: self._movable(body) for body in (world.robot.body, world.table.body)}
        self._lights: dict[str, int] = {}
        self._cold = True

    def _movable(self, body: int) -> list[int]:
        p, client = self._bullet, self._client
        count = p.getNumJoints(body, physicsClientId=client)
        kinds = [p.getJointInfo(body, joint, physicsClientId=client)[2] for joint in range(count)]
        return [joint for joint, kind in enumerate(kinds) if kind != p.JOINT_FIXED]

    def _follow(self, world: World) -> None:
        """Brings everything to where it is in the physics client. Bodies have the same ids in both."""
        p = self._bullet
        for body, joints in self._joints.items():
            states = p.getJointStates(body, joints, physicsClientId=world.client)
            positions = [[state[0]] for state in states]
            p.resetJointStatesMultiDof(body, joints, positions, physicsClientId=self._client)
        for body in world.blocks:
            position, quaternion = p.getBasePositionAndOrientation(body, physicsClientId=world.client)
            p.resetBasePositionAndOrientation(body, position, quaternion, physicsClientId=self._client)
        if self._lights != world.table.lights:
            self._lights = dict(world.table.lights)
            self._double.table.show_lights(self._lights)

    def render(self, view: View) -> tuple[np.ndarray, np.ndarray | None]:
        """See :class:`envs.calvin.renderers.Renderer`."""
        if self._world is None:
            raise RuntimeError("render() before load()")
        self._follow(self._world)
        if self._cold:
            with egl_plugin.quiet():
                for _ in range(_WARM_UP):
                    self._image(view)
            self._cold = False
        rgba, buffer = self._image(view)
        shape = view.height, view.width
        rgb = np.ascontiguousarray(np.asarray(rgba, dtype=np.uint8).reshape(*shape, 4)[:, :, :3])
        if not view.depth:
            return rgb, None
        return rgb, view.metric_depth(np.asarray(buffer, dtype=np.float32).reshape(shape))

    def _image(self, view: View) -> tuple[Any, Any]:
        p = self._bullet
        _, _, rgba, buffer, _ = p.getCameraImage(
            width=view.width,
            height=view.height,
            viewMatrix=view.view,
            projectionMatrix=view.projection,
            # The mask would cost a pass and nobody looks at it; the pixels are the same.
            flags=p.ER_NO_SEGMENTATION_MASK,
            renderer=p.ER_BULLET_HARDWARE_OPENGL,
            physicsClientId=self._client,
        )
        return rgba, buffer

    def describe(self) -> dict[str, str]:
        """See :class:`envs.calvin.renderers.Renderer`."""
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
        if self._client is not None:
            client, self._client, self._double = self._client, None, None
            egl_plugin.disconnect(self._bullet, client)
