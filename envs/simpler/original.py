"""The original package (ManiSkill2_real2sim on sapien 2.2.2) as a backend: all tasks, the paper's rules.

One environment per scene is kept and used again: every reset builds the scene anew
(``reconfigure``), since PhysX keeps contact state otherwise, but engine, renderer and shaders stay.
The package renders only when :meth:`OriginalBackend.observe` asks, and only the policy's camera. The
image is composed with the same arithmetic as there, so it is the same to the last bit.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vla_bench.envs.errors import EnvironmentFault
from vla_bench.envs.observation import Sensors
from vla_bench.envs.simpler.assets import PHOTOS, asset_folder, photo_file
from vla_bench.envs.simpler.grids import State, heading
from vla_bench.envs.simpler.lean_shaders import is_opaque, lean_shaders
from vla_bench.envs.simpler.robots import closedness
from vla_bench.envs.simpler.state import SimplerState, camera_matrices
from vla_bench.envs.simpler.tasks import (
    CLOSE_DRAWER,
    MOVE_NEAR,
    OPEN_DRAWER,
    PICK,
    PLACE_IN_DRAWER,
    PUT_ON,
    Task,
)
from vla_bench.envs.simpler.trial import Verdict
from vla_bench.envs.simpler.variants import Variant
from vla_bench.envs.simpler.vulkan import prepare, renderer_name
from vla_bench.envs.simulation import EpisodeStart

OFFICIAL_SEED = int(np.random.RandomState(2022).randint(2**32))
"""Seed of every published episode: the scripts never pass one, make an environment per episode, and an
environment draws its episodes' seeds from a generator seeded with 2022."""
ENVIRONMENTS_KEPT = 2

_TABLE_PHYSICS = (PUT_ON, PICK, MOVE_NEAR)


class OriginalBackend:
    """Environments of ``mani_skill2_real2sim``."""

    def __init__(self, *, seed: int = OFFICIAL_SEED, ray_traced: bool = False, lean: bool | None = None) -> None:
        """Loads the package; the first trial makes an environment.

        Args:
            seed: of the environment's own draws (distractors).
            ray_traced: whether settings that the original path-traces are; else they are rasterised.
            lean: whether opaque scenes are rasterised by :mod:`vla_bench.envs.simpler.lean_shaders`; None: in software,
                where their pixels are known to be the package's.

        Raises:
            EnvironmentFault: the package or a version it needs is not there.
            AssetError, RendererError: the files, or a Vulkan device, are not.
        """
        self.folder = asset_folder()
        """The asset files."""
        self._device = prepare(2)
        os.environ["MS2_REAL2SIM_ASSET_DIR"] = str(self.folder)  # read when the package is imported
        self._seed = seed
        self._ray_traced = ray_traced
        self.package = _import_package()
        """``mani_skill2_real2sim``."""
        lean = self._device.software if lean is None else lean
        self._lean = lean_shaders(_sapien_folder() / "vulkan_shader") if lean else None
        self._see_through: set[tuple[str, str]] = set()
        """Tasks in variants that the lean shaders cannot draw."""
        self._kept: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._environment: Any = None
        self._background: np.ndarray | None = None
        self._behind: np.ndarray | None = None

    def set_out(self, task: Task, variant: Variant, start: EpisodeStart) -> None:
        """Builds the scene of the trial and puts robot and objects in their places."""
        environment = self._environment_for(task, variant)
        lean = None if (task.name, variant.name) in self._see_through else self._lean
        self._choose_shader(variant, lean)
        environment.reset(seed=self._seed, options=reset_options(start))
        if lean and not is_opaque(environment._scene):
            self._see_through.add((task.name, variant.name))
            self._choose_shader(variant, None)  # cameras take it when the scene is built
            environment.reset(seed=self._seed, options=reset_options(start))
        self._environment = environment
        self._behind = self._ids_behind() if variant.photo else None
        self._background = self._read_photo(self.photo(variant, start.state), task) if variant.photo else None

    def photo(self, variant: Variant, state: State) -> Path:
        """The file of the photo behind a trial that has one."""
        return self.folder / PHOTOS / photo_file(variant, state)

    def step(self, action: np.ndarray) -> Verdict:
        """One control step; the package judges it."""
        environment = self._environment
        *_, info = environment.step(action)
        stats = info["episode_stats"]
        flags = {name: float(value) for name, value in stats.items()}
        if "qpos" in info:  # the package rounds it to three digits in the statistics
            flags["qpos"] = float(info["qpos"])
        return Verdict(bool(info["success"]), flags, bool(environment.is_final_subtask()))

    def next_subtask(self) -> None:
        """Judges by the second subtask from now on."""
        self._environment.advance_to_next_subtask()

    def observe(self, sensors: Sensors) -> Mapping[str, np.ndarray]:
        """Joint positions, tool pose, and the images asked for with their cameras' matrices."""
        environment = self._environment
        robot = environment.agent.robot
        arrays = {
            "robot_obs": robot.get_qpos(),
            "tcp_pose": _pose(environment.tcp.pose),
            "base_pose": _pose(environment.agent.base_pose),
            "gripper_closedness": closedness(robot.get_qpos(), robot.get_qlimits()),
        }
        if not sensors.cameras:
            return arrays
        environment.update_render()
        for wanted in sensors.cameras:
            camera = environment._cameras[wanted.name].camera
            camera.take_picture()
            arrays[f"rgb_{wanted.name}"] = self._composed(camera)
            if wanted.depth:
                arrays[f"depth_{wanted.name}"] = np.ascontiguousarray(-camera.get_float_texture("Position")[..., 2])
            arrays |= camera_matrices(wanted.name, camera.get_intrinsic_matrix(), camera.get_extrinsic_matrix())
        return arrays

    def state(self, task: Task, steps: int) -> SimplerState:
        """Robot, objects and cabinet."""
        environment = self._environment
        robot = environment.agent.robot
        source, target, others = _actors(environment, task)
        objects = {actor.name: _pose(actor.pose) for actor in (source, target, *others) if actor is not None}
        centres, extents = {}, {}
        for actor, size in _sizes(environment, task, source, target):
            centres[actor.name] = np.array(actor.pose.transform(actor.cmass_local_pose).p)
            extents[actor.name] = np.array(size, dtype=np.float64)
        cabinet = getattr(environment, "art_obj", None)
        return SimplerState(
            task=task.name,
            steps=steps,
            base=_pose(robot.pose),
            tcp=_pose(environment.tcp.pose),
            qpos=robot.get_qpos(),
            qvel=robot.get_qvel(),
            objects=objects,
            centres=centres,
            extents=extents,
            source=source.name if source is not None else "",
            target=target.name if target is not None else "",
            cabinet=None if cabinet is None else cabinet.get_qpos(),
        )

    def describe(self) -> Mapping[str, object]:
        """Versions, device and shader."""
        import sapien

        return {
            "backend": "simpler_env",
            "renderer": renderer_name(self._device, "rt" if self._ray_traced else "ibl"),
            "device": self._device.name,
            "driver": self._device.driver,
            "shaders": "lean" if self._lean else "package",
            "sapien": sapien.__version__,
            "numpy": np.__version__,
        }

    def close(self) -> None:
        """Lets go of the environments."""
        self._environment = None
        while self._kept:
            self._kept.popitem()[1].close()

    def _environment_for(self, task: Task, variant: Variant) -> Any:
        arguments = build_arguments(task, variant)
        name = variant.environment or task.environment
        key = (name, *sorted((key, repr(value)) for key, value in arguments.items()))
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        self._choose_shader(variant, None)
        made = self.package.utils.registration.REGISTERED_ENVS[name].cls(**arguments)
        made.spec = None
        self._kept[key] = made
        if len(self._kept) > ENVIRONMENTS_KEPT:  # the oldest goes last, so that the renderer lives on
            self._kept.popitem(last=False)[1].close()
        return made

    def _choose_shader(self, variant: Variant, lean: str | None) -> None:
        """Sets the process-wide rendering mode, which cameras take when a scene is built."""
        import sapien.core as sapien

        traced = variant.ray_traced and self._ray_traced
        sapien.render_config.camera_shader_dir = "rt" if traced else lean or "ibl"
        sapien.render_config.viewer_shader_dir = "rt" if traced else "ibl"
        if traced:
            sapien.render_config.rt_samples_per_pixel = 32
            sapien.render_config.rt_max_path_depth = 8
            sapien.render_config.rt_use_denoiser = True

    def _ids_behind(self) -> np.ndarray:
        """By segmentation id, 0 where it stays as rendered (robot, objects, furniture) and 1 where the photo
        covers it; the last entry stands for all higher ids."""
        environment = self._environment
        covered = {"ground", "goal_site", "", "arena", *environment.rgb_always_overlay_objects}
        ids = [actor.id for actor in environment.get_actors() if actor.name not in covered]
        ids += [link.id for link in environment.agent.robot.get_links()]
        for articulation in environment._scene.get_all_articulations():
            if articulation is not environment.agent.robot and articulation.name not in covered:
                ids += [link.id for link in articulation.get_links()]
        behind = np.ones(max(ids) + 2, dtype=np.uint8)  # a table: twenty times as fast as numpy.isin
        behind[ids] = 0
        return behind

    def _read_photo(self, path: Path, task: Task) -> np.ndarray:
        """The photo (H, W, 3) uint8 at the camera's size, through the same roundings as in the package."""
        import cv2

        pixels = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) / 255
        sized = cv2.resize(pixels, (task.robot.width, task.robot.height)).astype(np.float32)
        return _to_bytes(sized)

    def _composed(self, camera: Any) -> np.ndarray:
        import cv2

        image = cv2.cvtColor(_to_bytes(camera.get_float_texture("Color")), cv2.COLOR_RGBA2RGB)
        if self._background is not None:
            ids = camera.get_uint32_texture("Segmentation")[..., 1]
            cv2.copyTo(self._background, self._behind.take(ids, mode="clip"), image)
        return image


def build_arguments(task: Task, variant: Variant) -> dict[str, Any]:
    """Keyword arguments of the package's environment for a task in a variant.

    The photo is not among them: it is laid behind the image here, so that one environment serves all.
    """
    robot = task.robot
    uid = "google_robot_static" if robot.name == "google_robot" else "widowx"
    return {
        "robot": f"{uid}_sink_camera_setup" if task.sink else uid,
        "control_freq": robot.control_hz,
        "sim_freq": robot.physics_hz,
        "control_mode": robot.control_mode,
        "obs_mode": "none",
        "scene_name": variant.scene,
        "camera_cfgs": {"add_segmentation": True},
        **({"urdf_version": variant.arm} if variant.arm else {}),
        **task.arguments,
        **variant.arguments,
    }


def reset_options(start: EpisodeStart, *, reconfigure: bool = True) -> dict[str, Any]:
    """Options of the environment's ``reset`` for a trial."""
    x, y, yaw = start.state["robot"]
    objects: dict[str, Any] = {}
    if "layout" in start.state:
        objects["episode_id"] = int(start.state["layout"][0])
    if "objects" in start.state:
        objects["init_xy"] = np.array(start.state["objects"])
    return {
        "reconfigure": reconfigure,
        "robot_init_options": {"init_xy": np.array([x, y]), "init_rot_quat": np.array(heading(yaw))},
        "obj_init_options": objects,
    }


def _actors(environment: Any, task: Task) -> tuple[Any, Any, list[Any]]:
    """Source, target and other objects of the scene, None where the task has no such."""
    if task.rule in (PUT_ON, MOVE_NEAR):
        source, target = environment.episode_source_obj, environment.episode_target_obj
        others = [actor for actor in environment.episode_objs if actor not in (source, target)]
        return source, target, others + ([environment.sink] if task.sink else [])
    if task.rule is PICK:
        return environment.obj, None, list(environment.distractor_objs)
    if task.rule is PLACE_IN_DRAWER:
        return environment.obj, None, []
    assert task.rule in (OPEN_DRAWER, CLOSE_DRAWER)
    return None, None, []


def _sizes(environment: Any, task: Task, source: Any, target: Any) -> list[tuple[Any, Any]]:
    if task.rule in (PUT_ON, MOVE_NEAR):
        by_model = dict(zip(environment.episode_model_ids, environment.episode_model_bbox_sizes, strict=True))
        return [(actor, by_model[actor.name]) for actor in (source, target)]
    return [(source, environment.model_bbox_size)] if source is not None else []


def _pose(pose: Any) -> np.ndarray:
    return np.concatenate([pose.p, pose.q])


def _to_bytes(image: np.ndarray) -> np.ndarray:
    """As the package rounds: towards 0. The image itself is overwritten."""
    image *= 255
    return np.clip(image, 0, 255, out=image).astype(np.uint8)


def _sapien_folder() -> Path:
    import sapien

    return Path(sapien.__file__).parent


def _import_package() -> Any:
    if int(np.__version__.split(".")[0]) >= 2:
        raise EnvironmentFault(
            f"sapien 2.2.2 crashes with numpy {np.__version__}; it needs numpy 1.26.4, which `make simpler` "
            "installs into an environment of its own"
        )
    try:
        import mani_skill2_real2sim.envs
        import mani_skill2_real2sim.utils.registration
    except ImportError as error:
        raise EnvironmentFault(
            f"the original SimplerEnv cannot be imported here ({error}); type: make simpler"
        ) from error
    return mani_skill2_real2sim
