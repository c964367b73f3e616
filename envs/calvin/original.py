"""The original ``calvin_env`` behind the verbs of :class:`vla_bench.envs.simulation.Simulation`.

For whoever wants to see the original run instead of ours: physics, contacts, cameras and the verdict
are the installed package's own code, unpatched. What is mended around it, because it keeps the
package from running or from running twice in a process, is listed at :func:`_construct` and
:meth:`OriginalSimulation.close`. The scenes' files come from the official bundle.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vla_bench.envs.calvin.bundle import AssetBundle
from vla_bench.envs.calvin.cameras import LENSES, matrices, view_of
from vla_bench.envs.calvin.robot import ACTIONS, accumulated, axis_angle_to_quaternion
from vla_bench.envs.calvin.scenes import scene_named
from vla_bench.envs.calvin.snapshot import Snapshot
from vla_bench.envs.calvin.state import STATE_SIZES, CalvinState, state_vector
from vla_bench.envs.calvin.step_state import step_state, vector_names
from vla_bench.envs.calvin.tasks import TASKS
from vla_bench.envs.calvin.world import CONTROL_HZ, SUBSTEP_HZ
from vla_bench.envs.errors import EnvironmentFault, RendererError
from vla_bench.envs.observation import Camera, Observation, Sensors
from vla_bench.envs.simulation import EpisodeStart, Outcome, StepState

RENDERERS = {"tiny": False, "egl": True}
"""Renderers the original has, and its ``use_egl``."""
INSTALLATION = (
    "git clone https://github.com/mees/calvin_env, then "
    "pip install --no-deps -e calvin_env and "
    "pip install gym==0.26.2 numpy-quaternion gitpython opencv-python-headless scipy"
)
MISSING = "benchmark.options.backend=calvin_env asks for the original environment, but"


class OriginalSimulation:
    """One original environment at a time; a new one for every scene."""

    def __init__(
        self,
        bundle: AssetBundle,
        sensors: Sensors = Sensors(),  # noqa: B008 - immutable
        action: str = "relative",
        renderer: str = "auto",
        history: str = "fresh",
        reset_each_subtask: bool = False,
        use_target_pose: bool = True,
    ) -> None:
        """See :class:`vla_bench.envs.calvin.simulation.CalvinSimulation`, whose arguments these are.

        ``auto`` is ``tiny`` here. ``history="official"`` is what the original does on its own;
        ``"fresh"`` reseeds and reloads it before every reset, which equals a new process.

        Raises:
            EnvironmentFault: calvin_env cannot be imported, or lacks its ``conf`` folder.
            RendererError: the original has no such renderer.
        """
        for camera in sensors.cameras:
            if camera.name not in LENSES:
                raise ValueError(f"CALVIN has no camera {camera.name!r}; it has {', '.join(LENSES)}")
        self.bundle = bundle
        self.sensors = sensors
        self.renderer = resolve_renderer(renderer)
        self._action = next(spec.name for spec in ACTIONS if spec.name == action)
        self._history = history
        self._use_target_pose = use_target_pose
        self._reset_each_subtask = reset_each_subtask
        self._again: tuple[EpisodeStart, int] | None = None
        self._conf = _configuration_folder()
        self._env: Any = None
        self._cameras: dict[str, Any] = {}
        self._subtask = ""
        self._start_info: dict | None = None
        self._ever = False
        self._pose = np.zeros(6)
        with _quietly():
            from calvin_env.envs.tasks import Tasks
            from omegaconf import OmegaConf
        self._oracle = Tasks(OmegaConf.load(self._conf / "tasks/new_playtable_tasks.yaml").tasks)

    def reset(self, start: EpisodeStart, seed: int = 0) -> None:
        """See :meth:`vla_bench.envs.calvin.simulation.CalvinSimulation.reset`."""
        scene = scene_named(start.scene)
        vectors = {name: state_vector(start, name) for name in STATE_SIZES}
        if self._env is None or self.scene is not scene:
            self.close()
            self.scene = scene
            self._env = _construct(self, seed)
            self._env.robot.use_target_pose = self._use_target_pose
            self._cameras = {camera.name: camera for camera in self._env.cameras}
            # The original renders at every step and reset; here only `observe` does.
            self._env.cameras = []
        elif self._history == "fresh":
            self._env.seed(seed)
            self._env.scene.np_random = self._env.np_random
            # It outlives even a load.
            self._env.robot.gripper_action = 1
            self._env.load()
        self._env.reset(**vectors)
        self._start_info = None
        self._again = start, seed

    def begin(self, subtask: str) -> None:
        """Keeps the information that the original's oracle compares with."""
        if self._env is None:
            raise RuntimeError("begin() before reset()")
        if subtask not in TASKS:
            raise ValueError(f"CALVIN has no task {subtask!r}; the 34 are in vla_bench.envs.calvin.tasks.TASKS")
        if self._reset_each_subtask and self._start_info is not None and self._again is not None:
            self.reset(*self._again)
        self._subtask = subtask
        self._start_info = self._env.get_info()
        self._pose = np.asarray(self._env.get_state_obs()["robot_obs"], dtype=np.float64)[:6]
        self._ever = False

    def advance(self, actions: np.ndarray) -> Outcome:
        """Steps the original until its own oracle says that the subtask is solved."""
        if self._start_info is None:
            raise RuntimeError("advance() before begin()")
        steps = 0
        for action in actions:
            if action[-1] not in (-1, 1):
                raise ValueError(f"the gripper number of an action must be -1 (close) or 1 (open), not {action[-1]!r}")
            info = self._env.step(self._original_action(action))[3]
            steps += 1
            if self._oracle.get_task_info_for_set(self._start_info, info, {self._subtask}):
                self._ever = True
                return Outcome(steps, True, True, True)
        return Outcome(steps, False, False, self._ever)

    def _original_action(self, action: np.ndarray) -> Any:
        """The same action as the original wants to have it."""
        if self._action == "relative":
            return action
        if self._action.startswith("joint"):
            kind = "joint_rel" if self._action == "joint_relative" else "joint_abs"
            return {"type": kind, "action": action}
        if self._action == "accumulated":
            self._pose = accumulated(self._pose, action)
            pose = self._pose.astype(np.float32)
            return pose[:3], pose[3:], action[-1:]
        if self._action == "absolute_axis_angle":
            return action[:3], axis_angle_to_quaternion(action[3:6]), action[-1:]
        return action[:3], action[3:-1], action[-1:]

    def observe(self) -> Observation:
        """State vectors, and what the original's cameras render, from where."""
        arrays = {name: np.asarray(value) for name, value in self._env.get_state_obs().items()}
        for camera in self.sensors.cameras:
            rgb, depth = self._cameras[camera.name].render()
            arrays[f"rgb_{camera.name}"] = np.ascontiguousarray(rgb, dtype=np.uint8)
            if camera.depth:
                arrays[f"depth_{camera.name}"] = np.asarray(depth, dtype=np.float32)
            arrays |= matrices(view_of(camera, self._env.p, self._env.cid, self._env.robot.robot_uid))
        return Observation(arrays)

    def step_state(self) -> StepState:
        """What a trace holds of this moment."""
        return step_state(self.privileged(), self._env.p, self._env.cid)

    def vector_names(self) -> Mapping[str, Sequence[str]]:
        """What the numbers of :meth:`step_state` are called."""
        return vector_names(self.scene)

    def privileged(self) -> CalvinState:
        """The state, from what the original tells about itself."""
        info, state = self._env.get_info(), self._env.get_state_obs()
        blocks = info["scene_info"]["movable_objects"]
        velocity = {
            name: np.array((*block["current_lin_vel"], *block["current_ang_vel"])) for name, block in blocks.items()
        }
        return CalvinState(
            scene=self.scene,
            subtask=self._subtask,
            robot_obs=state["robot_obs"],
            scene_obs=state["scene_obs"],
            target_position=np.array(self._env.robot.target_pos),
            target_euler=np.array(self._env.robot.target_orn),
            block_positions={name: np.array(block["current_pos"]) for name, block in blocks.items()},
            block_quaternions={name: np.array(block["current_orn"]) for name, block in blocks.items()},
            block_velocities=velocity,
            joint_ranges=self._joint_ranges(),
            information=_snapshot(info),
        )

    def _joint_ranges(self) -> dict[str, tuple[float, float]]:
        scene = self._env.scene
        parts = (*scene.doors, *scene.buttons, *scene.switches)
        body = scene.fixed_objects[0].uid
        return {
            part.name.removeprefix("base__"): tuple(
                self._env.p.getJointInfo(body, part.joint_index, physicsClientId=self._env.cid)[8:10]
            )
            for part in parts
        }

    def describe(self) -> dict[str, str]:
        """What produced the numbers, for a result set's provenance."""
        return {
            "backend": "calvin_env",
            "backend_path": str(self._conf.parent),
            "renderer": self.renderer,
            "assets": self.bundle.name,
            "assets_checksum": self.bundle.checksum,
        }

    @property
    def original(self) -> Any:
        """The original environment itself, without its cameras; there after the first ``reset``."""
        return self._env

    @property
    def original_cameras(self) -> list[Any]:
        """Its cameras, which its own ``step`` would render every time."""
        return list(self._cameras.values())

    @property
    def original_oracle(self) -> Any:
        """Its ``Tasks``."""
        return self._oracle

    def close(self) -> None:
        """Disconnects, once: the original would do so again when it is collected, and by then the
        number of its client may be another's."""
        env, self._env = self._env, None
        if env is not None:
            with _quietly():
                env.close()
            env.close = _do_nothing


def resolve_renderer(name: str) -> str:
    """The renderer ``auto`` stands for with the original, or ``name`` itself.

    Raises:
        RendererError: the original has no such renderer.
    """
    if name == "auto":
        return "tiny"
    if name not in RENDERERS:
        raise RendererError(
            f"calvin_env cannot render with {name!r}; type benchmark.renderer= {' or '.join(RENDERERS)}"
        )
    return name


def _do_nothing() -> None:
    """Stands in for a closed environment's ``close``."""


@contextlib.contextmanager
def _quietly() -> Any:
    """Without gym's notice that it is no longer maintained, and the original's own prints."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


def check_installed() -> None:
    """Looks whether the original is there, without importing it.

    Raises:
        EnvironmentFault: it is not; says how to install it.
    """
    if importlib.util.find_spec("calvin_env") is None:
        raise EnvironmentFault(f"{MISSING} there is no package calvin_env here. Install it: {INSTALLATION}")


def _configuration_folder() -> Path:
    """The original's ``conf``, which lies beside the package in its repository only."""
    check_installed()
    try:
        with _quietly():
            import calvin_env
            import calvin_env.envs.play_table_env
    except ImportError as error:
        raise EnvironmentFault(
            f"{MISSING} the package calvin_env cannot be imported: {error}. Install it: {INSTALLATION}"
        ) from error
    folder = Path(calvin_env.__file__).resolve().parents[1] / "conf"
    if not (folder / "scene").is_dir():
        raise EnvironmentFault(
            f"calvin_env in {folder.parent} lies without its conf folder, so it cannot build a scene; "
            f"install it from a checkout: {INSTALLATION}"
        )
    return folder


def _construct(simulation: OriginalSimulation, seed: int) -> Any:
    """The original environment with the published configuration, in one scene.

    Mended on the way: data are found by absolute path (the package looks beside its source), a
    missing git repository around the package is no error, the tactile camera (whose module needs
    another submodule) is left out. Several of its calls go to the process's first Bullet client
    whatever client it owns, so it must own that one.
    """
    import pybullet

    if pybullet.isConnected(0):
        raise RuntimeError(
            "calvin_env can only own the first Bullet client of a process; close the other simulation first"
        )
    from calvin_env.envs import play_table_env
    from omegaconf import OmegaConf

    conf = simulation._conf
    robot = OmegaConf.merge(
        OmegaConf.load(conf / "robot/panda.yaml"), OmegaConf.load(conf / "robot/panda_longer_finger.yaml")
    )
    del robot["defaults"]
    config = OmegaConf.create(
        {
            "data_path": str(simulation.bundle.data),
            "robot": robot,
            "scene": OmegaConf.load(conf / f"scene/calvin_scene_{simulation.scene.name}.yaml"),
            "cameras": {camera.name: _camera(conf, camera) for camera in simulation.sensors.cameras},
        }
    )
    OmegaConf.resolve(config)
    with _quietly():
        commit_of = play_table_env.get_git_commit_hash
        play_table_env.get_git_commit_hash = lambda path: "not asked"
        try:
            return play_table_env.PlayTableSimEnv(
                robot_cfg=config.robot,
                seed=seed,
                use_vr=False,
                bullet_time_step=float(SUBSTEP_HZ),
                cameras=config.cameras,
                show_gui=False,
                scene_cfg=config.scene,
                use_scene_info=True,
                use_egl=RENDERERS[simulation.renderer],
                control_freq=CONTROL_HZ,
            )
        finally:
            play_table_env.get_git_commit_hash = commit_of


def _camera(conf: Path, camera: Camera) -> Any:
    """The original's camera, at the size that was asked for."""
    from omegaconf import OmegaConf

    config = OmegaConf.load(conf / f"cameras/cameras/{camera.name}.yaml")
    config.width = camera.width or config.width
    config.height = camera.height or config.height
    config.aspect = config.width / config.height
    return config


def _snapshot(info: dict) -> Snapshot:
    """The original's information as the oracle's own."""
    scene = info["scene_info"]
    blocks = scene["movable_objects"]
    by_body = {block["uid"]: block for block in blocks.values()}
    contacts = {body: block["contacts"] for body, block in by_body.items()}
    contacts[info["robot_info"]["uid"]] = info["robot_info"]["contacts"]
    return Snapshot(
        bodies={name: block["uid"] for name, block in blocks.items()},
        positions={body: block["current_pos"] for body, block in by_body.items()},
        quaternions={body: block["current_orn"] for body, block in by_body.items()},
        velocities={body: (*block["current_lin_vel"], *block["current_ang_vel"]) for body, block in by_body.items()},
        touched={body: frozenset((point[2], point[4]) for point in points) for body, points in contacts.items()},
        joints={name.removeprefix("base__"): door["current_state"] for name, door in scene["doors"].items()},
        lights={name: light["logical_state"] for name, light in scene["lights"].items()},
    )
