"""One scene loaded into one PyBullet client: robot, blocks, table, in the official order.

Body ids, contact order and the random poses at load time all follow from that order, and the
physics' bits follow from them.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np

from vla_bench.envs.calvin.bundle import AssetBundle
from vla_bench.envs.calvin.clutter import Clutter
from vla_bench.envs.calvin.oracle import ROBOT, TABLE, Contact
from vla_bench.envs.calvin.robot import Panda
from vla_bench.envs.calvin.scenes import GLOBAL_SCALING, Scene
from vla_bench.envs.calvin.table import Table

GRAVITY = -9.8
SUBSTEP_HZ = 240
CONTROL_HZ = 30
SUBSTEPS = SUBSTEP_HZ // CONTROL_HZ
MAX_PLACEMENTS = 1000


class World:
    """A loaded scene. ``load`` may be called again: it leaves nothing of what was there."""

    def __init__(
        self,
        bullet: Any,
        client: int,
        bundle: AssetBundle,
        action: str,
        visuals: bool = True,
        clutter: int = 0,
        use_target_pose: bool = True,
    ) -> None:
        """Takes over a connected client.

        Args:
            bullet: the pybullet module.
            client: a connected client.
            bundle: the files a scene is made of.
            action: name of one of :data:`vla_bench.envs.calvin.robot.ACTIONS`.
            visuals: whether to load what is only looked at; without it a load takes a third of the
                time, and the physics is the same to the last bit.
            clutter: objects that take part in nothing.
            use_target_pose: see :class:`vla_bench.envs.calvin.robot.Panda`.
        """
        self._bullet = bullet
        self.client = self._client = client
        self.bundle = self._bundle = bundle
        self._action = action
        self._use_target_pose = use_target_pose
        self._flags = 0 if visuals else bullet.URDF_IGNORE_VISUAL_SHAPES
        self._visuals = visuals
        self.clutter_count = clutter
        self.clutter: Clutter | None = None
        bullet.setTimeStep(1.0 / SUBSTEP_HZ, physicsClientId=client)
        bullet.setAdditionalSearchPath(str(bundle.data), physicsClientId=client)

    @property
    def shown(self) -> tuple[Path, str, int]:
        """What tells one set of bodies from another: the files, the scene and the objects of clutter."""
        return self.bundle.data, self.scene.name, self.clutter_count

    def load(self, scene: Scene, seed: int = 0) -> None:
        """Loads ``scene`` as a new process would: generator reseeded, simulation emptied.

        The seed draws the blocks' poses at load time, which linger in Bullet's caches and so
        matter to the last bit even when a reset moves the blocks elsewhere. Official: 0.
        """
        p, client = self._bullet, self._client
        self.scene = scene
        # What gym 0.26's seeding gives for this seed.
        self._generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
        p.resetSimulation(physicsClientId=client)
        p.setGravity(0, 0, GRAVITY, physicsClientId=client)
        data = self._bundle.data
        self.robot = Panda(p, client, data, self._action, self._flags, self._use_target_pose)
        self.blocks = []
        for block in scene.blocks:
            pose = self._random_pose()
            self.blocks.append(
                p.loadURDF(
                    str(data / block.urdf),
                    *pose,
                    globalScaling=GLOBAL_SCALING,
                    flags=self._flags,
                    physicsClientId=client,
                )
            )
        self._body = {block.name: body for block, body in zip(scene.blocks, self.blocks, strict=True)}
        self.table = Table(p, client, data, scene, self._flags)
        p.loadURDF(str(data / "plane/plane.urdf"), flags=self._flags, physicsClientId=client)
        if self.clutter_count:
            self.clutter = Clutter(p, client, self.clutter_count, self._visuals)
        assert (self.robot.body, self.blocks, self.table.body) == (ROBOT, [2, 3, 4], TABLE)

    def _random_pose(self) -> tuple[np.ndarray, np.ndarray]:
        surfaces = self.scene.surfaces
        # The original draws from the surfaces' names; drawing an index takes the same random bits.
        low, high = np.array(surfaces[self._generator.choice(len(surfaces))])
        position = self._generator.uniform(low, high)
        euler = self._generator.uniform((0, 0, -math.pi), (0, 0, math.pi))
        return position, np.array(self._bullet.getQuaternionFromEuler(euler))

    def reset(self, robot_obs: np.ndarray | None, scene_obs: np.ndarray | None, seed: int = 0) -> None:
        """Sets the state: ``robot_obs`` (15,), ``scene_obs`` (24,); None draws or takes the default. Clutter is
        placed by ``seed``.

        Ends with a single substep, as in the original.
        """
        if scene_obs is None:
            self.table.reset((0, 0, 0, 0), 0, 0)
            self._place_blocks_at_random()
        else:
            slide, drawer, button, switch, lightbulb, led = scene_obs[:6]
            self.table.reset((slide, drawer, button, switch), lightbulb, led)
            for body, pose in zip(self.blocks, scene_obs[6:].reshape(3, 6), strict=True):
                self._place(body, pose[:3], self._bullet.getQuaternionFromEuler(pose[3:]))
        self.robot.reset(robot_obs)
        if self.clutter is not None:
            self.clutter.place(self, seed)
        self._bullet.stepSimulation(physicsClientId=self._client)

    def _place(self, body: int, position: Any, quaternion: Any) -> None:
        self._bullet.resetBasePositionAndOrientation(body, position, quaternion, physicsClientId=self._client)

    def _place_blocks_at_random(self) -> None:
        for _ in range(MAX_PLACEMENTS):
            for body in self.blocks:
                self._place(body, *self._random_pose())
            self._bullet.stepSimulation(physicsClientId=self._client)
            pairs = itertools.combinations(self.blocks, 2)
            if not any(self._bullet.getContactPoints(a, b, physicsClientId=self._client) for a, b in pairs):
                return

    def step(self, action: np.ndarray) -> None:
        """One control step: the action's targets, eight substeps, the lights."""
        if self.clutter is not None:
            self.clutter.loosen(self)
        self.robot.command(action)
        for _ in range(SUBSTEPS):
            self._bullet.stepSimulation(physicsClientId=self._client)
        self.table.update_lights()

    def scene_obs(self) -> np.ndarray:
        """``scene_obs`` (24,) float64, named by :func:`vla_bench.envs.calvin.state.scene_obs_names`."""
        p = self._bullet
        values = [*self.table.joints(), self.table.lights["lightbulb"], self.table.lights["led"]]
        for body in self.blocks:
            position, quaternion = p.getBasePositionAndOrientation(body, physicsClientId=self._client)
            values.extend(position)
            values.extend(p.getEulerFromQuaternion(quaternion))
        return np.array(values, dtype=np.float64)

    # The oracle's view (vla_bench.envs.calvin.oracle.Information), live: each question asks Bullet for just
    # the body that the running task is about.

    def body(self, block: str) -> int:
        """Body id of a block by name."""
        return self._body[block]

    def position(self, body: int) -> tuple[float, ...]:
        """World position (3,) of a block, metres."""
        return self._bullet.getBasePositionAndOrientation(body, physicsClientId=self._client)[0]

    def quaternion(self, body: int) -> tuple[float, ...]:
        """World orientation (4,) of a block, x y z w."""
        return self._bullet.getBasePositionAndOrientation(body, physicsClientId=self._client)[1]

    def velocity(self, body: int) -> tuple[float, ...]:
        """Linear and angular velocity of a block, (6,), m/s and rad/s."""
        linear, angular = self._bullet.getBaseVelocity(body, physicsClientId=self._client)
        return linear + angular

    def contacts(self, body: int) -> frozenset[Contact]:
        """Bodies and links that a body touches."""
        points = self._bullet.getContactPoints(bodyA=body, physicsClientId=self._client)
        return frozenset((point[2], point[4]) for point in points)

    def joint(self, name: str) -> float:
        """Position of ``slide`` or ``drawer``, metres."""
        return self.table.joint(name)

    def light(self, name: str) -> int:
        """1 when ``lightbulb`` or ``led`` is on."""
        return self.table.lights[name]
