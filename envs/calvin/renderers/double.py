"""A second PyBullet client that shows what the physics client computes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vla_bench.envs.calvin.cameras import View
from vla_bench.envs.calvin.memory import give_back_free_memory
from vla_bench.envs.calvin.renderers import patterns
from vla_bench.envs.calvin.renderers.look import FLOOR, LIGHT_POSITION, Look, Pattern
from vla_bench.envs.calvin.world import World

_DIFFUSE, _SPECULAR = 0.35, 0.05
"""TinyRenderer's defaults (PyBullet 3.2.7)."""


class _Surface(NamedTuple):
    """A visual shape of the table or of the floor."""

    body: int
    link: int
    number: int
    """Among the shapes of its link."""
    rgba: tuple[float, ...]
    texture: int
    """The client's id of its own; below 0: none."""
    file: Path
    scale: tuple[float, ...]


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
        self._parts = self._surfaces()
        self._textures: dict[tuple[Pattern, patterns.Periods], int] = {}
        """Patterns that the client holds: it gives none back."""
        self._tinted = self._patterned = False
        give_back_free_memory()

    def _movable(self, body: int) -> list[int]:
        p, client = self._bullet, self.client
        count = p.getNumJoints(body, physicsClientId=client)
        kinds = [p.getJointInfo(body, joint, physicsClientId=client)[2] for joint in range(count)]
        return [joint for joint, kind in enumerate(kinds) if kind != p.JOINT_FIXED]

    def shows(self, world: World) -> bool:
        """Whether it holds the same bodies from the same files, so that following it is enough."""
        return self._world.shown == world.shown

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
        tinted, patterned = look.tints is not None, look.patterns is not None
        whole = self._renderer == p.ER_BULLET_HARDWARE_OPENGL  # which heeds no index: a link is tinted as a whole
        for part in self._parts:
            if whole and part.number:
                continue
            if tinted or self._tinted:
                tint = look.tint(part.body, part.link)
                colour = [*(a * b for a, b in zip(part.rgba, tint, strict=False)), part.rgba[3]]
                p.changeVisualShape(part.body, part.link, part.number, rgbaColor=colour, physicsClientId=client)
            if part.texture >= 0 and (patterned or self._patterned):
                texture = self._texture(part, look.pattern(part.body))
                p.changeVisualShape(part.body, part.link, part.number, textureUniqueId=texture, physicsClientId=client)
        self._tinted, self._patterned = tinted, patterned

    def _surfaces(self) -> list[_Surface]:
        """What table and floor show, but for the lamps, whose colours are those of a state."""
        p, client, table = self._bullet, self.client, self._world.table
        lamps = {link for link, _ in table.lamps.values()}
        found, flags = [], p.VISUAL_SHAPE_DATA_TEXTURE_UNIQUE_IDS
        for body in (table.body, FLOOR):
            counts: dict[int, int] = {}
            for shape in p.getVisualShapeData(body, flags, physicsClientId=client):
                link, number = shape[1], counts.get(shape[1], 0)
                counts[link] = number + 1
                if body != table.body or link not in lamps:
                    file = Path(shape[4].decode())
                    found.append(_Surface(body, link, number, tuple(shape[7]), shape[8], file, tuple(shape[3])))
        return found

    def _texture(self, part: _Surface, pattern: Pattern | None) -> int:
        """The client's id of a part's texture: a pattern, or its own."""
        if pattern is None:
            return part.texture
        key = pattern, patterns.periods_on(pattern, part.file, part.scale)
        if key not in self._textures:
            from PIL import Image

            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "pattern.png"
                Image.fromarray(patterns.drawn(*key)).save(path)
                self._textures[key] = self._bullet.loadTexture(str(path), physicsClientId=self.client)
        return self._textures[key]

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
