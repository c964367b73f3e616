"""A second PyBullet client that shows what the physics client computes."""

from __future__ import annotations

from typing import Any

import numpy as np

from vla_bench.envs.calvin.cameras import View
from vla_bench.envs.calvin.memory import give_back_free_memory
from vla_bench.envs.calvin.renderers.look import FLOOR, LIGHT_POSITION, Look
from vla_bench.envs.calvin.world import World

_DIFFUSE, _SPECULAR = 0.35, 0.05
"""TinyRenderer's defaults (PyBullet 3.2.7)."""


class Double:
    """A client with visual shapes, brought to the poses of the physics client before each frame.

    So the physics client can be loaded anew for each episode without its visual shapes, which are
    two thirds of a load's time and, with the OpenGL plugin, 12 MB that Bullet never gives back.
    The pixels are the same.
    """

    def __init__(self, bullet: Any, client: int, world: World, renderer: int) -> None:
        """Loads ``world``'s scene into ``client``; ``renderer`` is one of PyBullet's ``ER_`` constants."""
        self._bullet = bullet
        self.client = client
        self._renderer = renderer
        self._world = World(bullet, client, world.bundle, "relative", clutter=world.clutter_count)
        self._world.load(world.scene)
        self._joints = {body: self._movable(body) for body in (world.robot.body, world.table.body)}
        self._lights: dict[str, int] = {}
        self._light: dict[str, Any] = {}
        self._dyes: dict[tuple[int, int], list[float]] = {}
        give_back_free_memory()

    def _movable(self, body: int) -> list[int]:
        p, client = self._bullet, self.client
        count = p.getNumJoints(body, physicsClientId=client)
        kinds = [p.getJointInfo(body, joint, physicsClientId=client)[2] for joint in range(count)]
        return [joint for joint, kind in enumerate(kinds) if kind != p.JOINT_FIXED]

    def shows(self, world: World) -> bool:
        """Whether it holds ``world``'s scene from the same files, so that following it is enough."""
        return (self._world.bundle.data, self._world.scene) == (world.bundle.data, world.scene)

    def follow(self, world: World) -> None:
        """Brings everything to where it is in ``world``. Bodies have the same ids in both clients."""
        p = self._bullet
        for body, joints in self._joints.items():
            states = p.getJointStates(body, joints, physicsClientId=world.client)
            positions = [[state[0]] for state in states]
            p.resetJointStatesMultiDof(body, joints, positions, physicsClientId=self.client)
        clutter = world.clutter.bodies if world.clutter is not None else ()
        for body in (*world.blocks, *clutter):
            position, quaternion = p.getBasePositionAndOrientation(body, physicsClientId=world.client)
            p.resetBasePositionAndOrientation(body, position, quaternion, physicsClientId=self.client)
        if self._lights != world.table.lights:
            self._lights = dict(world.table.lights)
            self._world.table.show_lights(self._lights)

    def relook(self, look: Look) -> None:
        """Takes the light, where the renderer heeds it, and tints what is seen."""
        p, client = self._bullet, self.client
        self._light = {}
        if look.light_position != LIGHT_POSITION or look.light_strength != 1:
            self._light = {
                "lightDirection": look.light_position,
                "lightDiffuseCoeff": _DIFFUSE * look.light_strength,
                "lightSpecularCoeff": _SPECULAR * look.light_strength,
            }
        if look.tints is None and not self._dyes:
            return
        table = self._world.table
        lamps = {(table.body, link) for link, _ in table.lamps.values()}
        for body in (table.body, FLOOR):
            for shape in p.getVisualShapeData(body, physicsClientId=client):
                if (body, shape[1]) not in lamps:
                    dye = self._dyes.setdefault((body, shape[1]), list(shape[7]))
                    tint = look.tint(body, shape[1])
                    colour = [*(a * b for a, b in zip(dye, tint, strict=False)), dye[3]]
                    p.changeVisualShape(body, shape[1], rgbaColor=colour, physicsClientId=client)

    def image(self, view: View) -> tuple[np.ndarray, np.ndarray | None]:
        """Colours (H, W, 3) uint8 and, if the view asks for it, metric depth (H, W) float32, metres."""
        p = self._bullet
        _, _, rgba, buffer, _ = p.getCameraImage(
            width=view.width,
            height=view.height,
            viewMatrix=view.view,
            projectionMatrix=view.projection,
            # The mask would cost a pass and nobody looks at it; the pixels are the same.
            flags=p.ER_NO_SEGMENTATION_MASK,
            renderer=self._renderer,
            **self._light,
            physicsClientId=self.client,
        )
        shape = view.height, view.width
        rgb = np.ascontiguousarray(np.asarray(rgba, dtype=np.uint8).reshape(*shape, 4)[:, :, :3])
        if not view.depth:
            return rgb, None
        return rgb, view.metric_depth(np.asarray(buffer, dtype=np.float32).reshape(shape))
