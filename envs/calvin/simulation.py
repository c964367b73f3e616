"""CALVIN behind the verbs of :class:`vla_bench.envs.simulation.Simulation`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from vla_bench.envs.calvin.bundle import AssetBundle
from vla_bench.envs.calvin.cameras import LENSES, matrices, view_of
from vla_bench.envs.calvin.oracle import Rule
from vla_bench.envs.calvin.renderers import Renderer, make_renderer, resolve_renderer
from vla_bench.envs.calvin.renderers.look import drawn_look
from vla_bench.envs.calvin.renderers.reference_frame import reference_frame_hash
from vla_bench.envs.calvin.robot import ACTIONS
from vla_bench.envs.calvin.scenes import scene_named
from vla_bench.envs.calvin.snapshot import Snapshot
from vla_bench.envs.calvin.state import STATE_SIZES, CalvinState, state_vector
from vla_bench.envs.calvin.step_state import step_state, vector_names
from vla_bench.envs.calvin.stress import changes_look, displaced
from vla_bench.envs.calvin.tasks import TASKS
from vla_bench.envs.calvin.world import World
from vla_bench.envs.observation import Observation, Sensors
from vla_bench.envs.simulation import STRESS, EpisodeStart, Outcome, StepState
from vla_bench.envs.stress.levels import Stress

History = Literal["fresh", "official"]


class CalvinSimulation:
    """One play table, in any of the four scenes, owned by one process."""

    def __init__(
        self,
        bundle: AssetBundle,
        sensors: Sensors = Sensors(),  # noqa: B008 - immutable
        action: str = "relative",
        renderer: str = "auto",
        history: History = "fresh",
        stress: Stress | None = None,
        reset_each_subtask: bool = False,
        use_target_pose: bool = True,
    ) -> None:
        """Connects to a Bullet of its own; nothing is loaded before the first ``reset``.

        Args:
            bundle: the files a scene is made of.
            sensors: cameras that ``observe`` renders.
            action: name of one of :data:`vla_bench.envs.calvin.robot.ACTIONS`.
            renderer: ``auto`` or one of :data:`vla_bench.envs.calvin.renderers.RENDERERS`.
            history: ``fresh`` makes every reset that of a new process. ``official`` carries over
                what the original environment carries from one reset to the next (contact caches,
                pair order, the random generator), so results depend on the order of episodes.
            stress: levels of its world, drawn by the seed in an episode's start.
            reset_each_subtask: whether every further subtask of an episode starts from the episode's own start, as
                with ``--reset`` of RoboFlamingo's evaluation, and not where the last one ended.
            use_target_pose: whether relative actions move an accumulated target; else the measured pose is moved.

        Raises:
            ValueError: for an unknown camera or action convention.
            RendererError: when the renderer does not work here.
        """
        import pybullet

        for camera in sensors.cameras:
            if camera.name not in LENSES:
                raise ValueError(f"CALVIN has no camera {camera.name!r}; it has {', '.join(LENSES)}")
        if action not in (spec.name for spec in ACTIONS):
            offered = ", ".join(spec.name for spec in ACTIONS)
            raise ValueError(f"CALVIN has no action convention {action!r}; it has {offered}")
        renderer = resolve_renderer(renderer) if sensors.cameras else "none"
        self._renderer = renderer
        self.bundle = bundle
        self.sensors = sensors
        self._history = history
        self._stress = stress
        self._seed = 0
        self._bullet: Any = pybullet
        self._client: int | None = pybullet.connect(pybullet.DIRECT)
        # Only TinyRenderer looks at the client that does the physics.
        self.world = World(
            pybullet,
            self._client,
            bundle,
            action,
            visuals=False,
            clutter=stress.clutter if stress else 0,
            use_target_pose=use_target_pose,
        )
        self.renderer: Renderer | None = make_renderer(renderer, pybullet) if sensors.cameras else None
        self._use_target_pose = use_target_pose
        self._reset_each_subtask = reset_each_subtask
        self._again: tuple[EpisodeStart, int] | None = None
        self._loaded = ""
        self._subtask = ""
        self._rule: Rule | None = None
        self._start: Snapshot | None = None
        self._ever = False

    def reset(self, start: EpisodeStart, seed: int = 0) -> None:
        """Starts an episode in ``start.scene`` at ``robot_obs`` (15,) and ``scene_obs`` (24,).

        A state that is not given is drawn (blocks) or the default (robot, table), as in the
        original. ``seed`` draws what is random; every official number was made with 0.

        Raises:
            ValueError: unknown scene, or a state vector of another length.
        """
        scene = scene_named(start.scene)
        vectors = {name: state_vector(start, name) for name in STATE_SIZES}
        if self._history == "fresh" or self._loaded != scene.name:
            self.world.load(scene, seed)
            self._loaded = scene.name
            if self.renderer is not None:
                self.renderer.load(self.world)
        self._seed = int(start.state.get(STRESS, (0.0,))[0])
        self.world.reset(**vectors, seed=self._seed)
        if self.renderer is not None and self._stress is not None and changes_look(self._stress):
            of = self._stress
            look = drawn_look(self._seed, of.light_turn, of.light_strength, of.colours, of.textures)
            self.renderer.relook(look)
        self._rule = self._start = None
        self._again = start, seed

    def begin(self, subtask: str) -> None:
        """Takes the snapshot that the oracle compares with."""
        if not self._loaded:
            raise RuntimeError("begin() before reset()")
        if self._reset_each_subtask and self._rule is not None and self._again is not None:
            self.reset(*self._again)
        try:
            self._rule = TASKS[subtask]
        except KeyError:
            raise ValueError(
                f"CALVIN has no task {subtask!r}; the 34 are in vla_bench.envs.calvin.tasks.TASKS"
            ) from None
        self._subtask = subtask
        self.world.robot.begin_subtask()
        self._start = Snapshot.take(self.world, tuple(block.name for block in self.world.scene.blocks))
        self._ever = False

    def advance(self, actions: np.ndarray) -> Outcome:
        """Executes ``actions`` (k, A) until the subtask is solved; asks the oracle after each step."""
        if self._rule is None or self._start is None:
            raise RuntimeError("advance() before begin()")
        world, rule, start = self.world, self._rule, self._start
        steps = 0
        for action in actions:
            world.step(action)
            steps += 1
            if rule.solved(start, world):
                self._ever = True
                return Outcome(steps, True, True, True)
        return Outcome(steps, False, False, self._ever)

    def observe(self) -> Observation:
        """``robot_obs``, ``scene_obs``, and image and matrices of the cameras that were asked for."""
        arrays = {"robot_obs": self.world.robot.observation(), "scene_obs": self.world.scene_obs()}
        for camera in self.sensors.cameras:
            view = view_of(camera, self._bullet, self._client, self.world.robot.body)
            if self._stress is not None:
                view = displaced(view, self._stress, self._seed)
            rgb, depth = self.renderer.render(view)
            arrays[f"rgb_{camera.name}"] = rgb
            if camera.depth:
                arrays[f"depth_{camera.name}"] = depth
            arrays |= matrices(view)
        return Observation(arrays)

    def privileged(self) -> CalvinState:
        """The whole state; its ``information`` stays live."""
        world = self.world
        target = (world.robot.target_position, world.robot.target_euler)
        if not self._use_target_pose:
            target = world.robot.measured()
        bodies = {block.name: world.body(block.name) for block in world.scene.blocks}
        return CalvinState(
            scene=world.scene,
            subtask=self._subtask,
            robot_obs=world.robot.observation(),
            scene_obs=world.scene_obs(),
            target_position=target[0].copy(),
            target_euler=target[1].copy(),
            block_positions={name: np.array(world.position(body)) for name, body in bodies.items()},
            block_quaternions={name: np.array(world.quaternion(body)) for name, body in bodies.items()},
            block_velocities={name: np.array(world.velocity(body)) for name, body in bodies.items()},
            joint_ranges=world.table.ranges,
            information=world,
        )

    def step_state(self) -> StepState:
        """What a trace holds of this moment."""
        assert self._client is not None
        return step_state(self.privileged(), self._bullet, self._client)

    def vector_names(self) -> Mapping[str, Sequence[str]]:
        """What the numbers of :meth:`step_state` are called."""
        return vector_names(self.world.scene)

    def describe(self) -> dict[str, Any]:
        """What the numbers depend on: renderer, down to its driver and a reference frame, and assets.

        Starts the renderer. The next call must be ``reset``.
        """
        details = {"name": "none"}
        if self.renderer is not None:
            changing = self._stress is not None and changes_look(self._stress)
            # What another look has left in a renderer is not seen at the next reset, but would be in this frame.
            asked = make_renderer(self._renderer, self._bullet) if changing else self.renderer
            try:
                frame = reference_frame_hash(asked, self._bullet, self.bundle)
                details = {**asked.describe(), "reference_frame": frame}
            finally:
                if changing:
                    asked.close()
            self._loaded = ""
        return {
            "renderer": details["name"],
            "renderer_details": details,
            "assets": self.bundle.name,
            "assets_checksum": self.bundle.checksum,
        }

    def close(self) -> None:
        """Disconnects from Bullet."""
        if self.renderer is not None:
            self.renderer.close()
        if self._client is not None:
            client, self._client = self._client, None
            if self._bullet.isConnected(client):
                self._bullet.disconnect(client)
