"""ManiSkill3 (sapien 3) as a backend: the four WidowX tasks, fast, in the main environment.

ManiSkill3's own protocol is not the paper's. Set right here, from outside: the paper's 24 layouts (it has
64 others of the eggplant), the paper's judge (:mod:`vla_bench.envs.simpler.put_on`), the photo of each scene. What
stays different is named in :data:`vla_bench.envs.simpler.family.MODERN_NOTE`, which stands beside every number.
"""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vla_bench.envs.errors import AssetError, EnvironmentFault
from vla_bench.envs.observation import Sensors
from vla_bench.envs.simpler.assets import ROBOTS_VARIABLE, asset_folder
from vla_bench.envs.simpler.grids import eggplant_layouts
from vla_bench.envs.simpler.put_on import RULES, PutOnJudge, turned_half_extents
from vla_bench.envs.simpler.robots import closedness
from vla_bench.envs.simpler.state import SimplerState, camera_matrices
from vla_bench.envs.simpler.tasks import Task
from vla_bench.envs.simpler.trial import Verdict
from vla_bench.envs.simpler.variants import Variant
from vla_bench.envs.simpler.vulkan import prepare, renderer_name
from vla_bench.envs.simulation import EpisodeStart
from vla_bench.program import installing

ENVIRONMENTS_KEPT = 4
LEAST_IMPULSE = 1e-6
LARGEST_ANGLE = np.deg2rad(60)
"""Between the push on a finger and its opening direction, for a grasp."""


class ModernBackend:
    """Environments of ``mani_skill``."""

    def __init__(self) -> None:
        """Loads the package; the first trial makes an environment.

        Raises:
            EnvironmentFault: the package is not there.
            AssetError, RendererError: the files, or a Vulkan device, are not.
        """
        self._device = prepare(3)
        os.environ["MS_ASSET_DIR"] = str(modern_asset_root())  # read when the package is imported
        self._tasks = _import_package()
        self._kept: OrderedDict[str, Any] = OrderedDict()
        self._environment: Any = None
        self._task: Task | None = None
        self._judge: PutOnJudge | None = None

    def set_out(self, task: Task, variant: Variant, start: EpisodeStart) -> None:
        """Puts objects and robot in their places."""
        if not task.modern:
            raise ValueError(
                f"ManiSkill3 has no {task.name}; only the WidowX tasks. Type benchmark.options.backend=simpler_env"
            )
        self._task = task
        environment = self._environment = self._environment_for(task)
        layout = int(start.state["layout"][0])
        options: dict[str, Any] = {"episode_id": layout}
        if task.sink:
            options = {"episode_id": 0, "lying": eggplant_layouts()[layout]}
        environment.reset(seed=0, options={**options, "reconfigure": True})
        settled = {name: _position(actor) for name, actor in environment.objs.items()}
        sizes = {name: _numbers(size) for name, size in environment.episode_model_bbox_sizes.items()}
        self._judge = PutOnJudge(
            RULES[task.name],
            settled,
            {name: turned_half_extents(sizes[name], _pose(environment.objs[name])[3:]) for name in task.objects},
        )

    def step(self, action: np.ndarray) -> Verdict:
        """One control step, then the paper's judge."""
        environment = self._environment
        environment._step_action(np.asarray(action))
        environment._elapsed_steps += 1
        assert self._judge is not None and self._task is not None
        impulses = self._impulses_on_source()
        success, flags = self._judge.judge(
            origins={name: _position(actor) for name, actor in environment.objs.items()},
            centres={name: _centre(environment.objs[name]) for name in self._task.objects},
            grasped=self._grasped(impulses),
            touches_else=self._touches_else(impulses),
        )
        return Verdict(success, flags)

    def next_subtask(self) -> None:
        """There is none in the WidowX tasks."""

    def observe(self, sensors: Sensors) -> Mapping[str, np.ndarray]:
        """Joint positions, tool pose, and the image if asked for, with its camera's matrices."""
        environment = self._environment
        arrays = {
            "robot_obs": _numbers(environment.agent.robot.get_qpos()[0]),
            "tcp_pose": _pose(_tool(environment)),
            "base_pose": _pose(environment.agent.robot),
            "gripper_closedness": closedness(
                _numbers(environment.agent.robot.get_qpos()[0]), _numbers(environment.agent.robot.get_qlimits()[0])
            ),
        }
        if sensors.cameras:
            images, about = environment._get_obs_sensor_data(), environment.get_sensor_params()
            for camera in sensors.cameras:
                arrays[f"rgb_{camera.name}"] = _numbers(images[camera.name]["rgb"][0])
                known = about[camera.name]
                arrays |= camera_matrices(
                    camera.name, _numbers(known["intrinsic_cv"][0]), _numbers(known["extrinsic_cv"][0])
                )
        return arrays

    def state(self, task: Task, steps: int) -> SimplerState:
        """Robot and objects."""
        environment = self._environment
        robot = environment.agent.robot
        return SimplerState(
            task=task.name,
            steps=steps,
            base=_pose(robot),
            tcp=_pose(_tool(environment)),
            qpos=_numbers(robot.get_qpos()[0]),
            qvel=_numbers(robot.get_qvel()[0]),
            objects={name: _pose(actor) for name, actor in environment.objs.items()},
            centres={name: _centre(environment.objs[name]) for name in task.objects},
            extents={name: _numbers(environment.episode_model_bbox_sizes[name]) for name in task.objects},
            source=task.objects[0],
            target=task.objects[1],
        )

    def describe(self) -> Mapping[str, object]:
        """Versions and device."""
        import mani_skill
        import sapien

        return {
            "backend": "maniskill3",
            "renderer": renderer_name(self._device, "default"),
            "device": self._device.name,
            "driver": self._device.driver,
            "mani_skill": mani_skill.__version__,
            "sapien": sapien.__version__,
            "numpy": np.__version__,
        }

    def close(self) -> None:
        """Closes the environments."""
        self._environment = None
        while self._kept:
            self._kept.popitem()[1].close()

    def _environment_for(self, task: Task) -> Any:
        if task.name in self._kept:
            self._kept.move_to_end(task.name)
            return self._kept[task.name]
        made = self._tasks[task.modern](sim_backend="physx_cpu", render_backend=_render_device())
        self._kept[task.name] = made
        if len(self._kept) > ENVIRONMENTS_KEPT:
            self._kept.popitem(last=False)[1].close()
        return made

    def _impulses_on_source(self) -> dict[str, np.ndarray]:
        """Impulse (3,) of the last physics step on whatever touches the source, by its name."""
        assert self._task is not None
        source = self._task.objects[0]
        impulses: dict[str, np.ndarray] = {}
        for contact in self._environment.scene.get_contacts():
            names = [_plain_name(body.entity.name) for body in contact.bodies]
            if source in names:
                other = names[1 - names.index(source)]
                # sapien gives the impulse on the first body
                sign = 1.0 if names[0] == other else -1.0
                push = sign * np.sum([point.impulse for point in contact.points], axis=0)
                impulses[other] = impulses.get(other, np.zeros(3)) + push
        return impulses

    def _grasped(self, impulses: Mapping[str, np.ndarray]) -> bool:
        agent = self._environment.agent
        for finger, sign in ((agent.finger1_link, 1.0), (agent.finger2_link, -1.0)):
            push = impulses.get(_plain_name(finger.name), np.zeros(3))
            size = float(np.linalg.norm(push))
            if size < LEAST_IMPULSE:
                return False
            opening = sign * _numbers(finger.pose.to_transformation_matrix()[0])[:3, 1]
            if np.arccos(np.clip(opening @ push / size, -1, 1)) > LARGEST_ANGLE:
                return False
        return True

    def _touches_else(self, impulses: Mapping[str, np.ndarray]) -> bool:
        assert self._task is not None
        links = {_plain_name(link.name) for link in self._environment.agent.robot.get_links()}
        allowed = links | {self._task.objects[1]}
        return any(name not in allowed and np.linalg.norm(push) > LEAST_IMPULSE for name, push in impulses.items())


def modern_asset_root() -> Path:
    """The folder ManiSkill3 calls ``MS_ASSET_DIR``: the user's, or one linked together from ours.

    Raises:
        AssetError: neither is there; says what to type.
    """
    needed = ("data/tasks/bridge_v2_real2sim_dataset/custom", "data/robots/widowx/wx250s.urdf")
    named = os.environ.get("MS_ASSET_DIR")
    root = Path(named or "~/.maniskill").expanduser()
    if all((root / path).exists() for path in needed):
        return root
    robots = os.environ.get(ROBOTS_VARIABLE)
    if not robots or not (Path(robots) / "widowx/wx250s.urdf").is_file():
        raise AssetError(
            f"the WidowX of ManiSkill3 is not in {root}; type: python -m mani_skill.utils.download_asset "
            f"bridge_v2_real2sim widowx250s   (or point {ROBOTS_VARIABLE} at a folder that holds "
            "widowx/wx250s.urdf)"
        )
    return _linked_together(asset_folder(), Path(robots).resolve())


def _linked_together(assets: Path, robots: Path) -> Path:
    """A folder of ManiSkill3's layout that points at ours; made once per pair, safe among processes."""
    import hashlib

    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "vla-bench"
    root = cache / f"maniskill3-{hashlib.sha256(f'{assets}|{robots}'.encode()).hexdigest()[:12]}"
    dataset = root / "data/tasks/bridge_v2_real2sim_dataset"
    links = {
        dataset / "custom": assets / "custom",
        dataset / "stages": assets / "hab2_bench_assets/stages",
        dataset / "real_inpainting": assets / "real_inpainting",
        root / "data/robots/widowx": robots / "widowx",
    }
    for link, target in links.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        try:
            link.symlink_to(target)
        except FileExistsError:
            continue
    return root


def _import_package() -> dict[str, Any]:
    """Our versions of the package's environments, by their names there."""
    logging.getLogger("mani_skill").setLevel(logging.ERROR)
    try:
        import torch
        from mani_skill.envs.tasks.digital_twins import bridge_dataset_eval as tasks
    except ImportError as error:
        raise EnvironmentFault(f"ManiSkill3 cannot be imported ({error}); type: {installing('simpler')}") from error

    class Silent:
        """Neither renders nor judges by itself, and lays the eggplant where the paper's package has it."""

        def __init__(self, **arguments: Any) -> None:
            self._rgb_overlay_images: dict[str, Any] = {}  # shared by all environments of a process there
            super().__init__(**arguments)

        def get_obs(self, info: Any = None, unflattened: bool = False) -> dict[str, Any]:
            return {}

        def evaluate(self) -> dict[str, Any]:
            return {}

        def _initialize_episode(self, env_idx: Any, options: dict[str, Any]) -> None:
            lying = options.get("lying")
            self._lying = lying is not None
            if lying is not None:
                self.xyz_configs = torch.tensor(lying[None, :, :3])
                self.quat_configs = torch.tensor(lying[None, :, 3:])
            super()._initialize_episode(env_idx, options)

        def _settle(self, t: float = 0.5) -> None:
            if not self._lying:  # two of the eggplants would roll by centimetres before the trial begins
                super()._settle(t)

    logging.getLogger("mani_skill").setLevel(logging.ERROR)  # its own import sets it
    names = {
        "PutCarrotOnPlateInScene-v1": tasks.PutCarrotOnPlateInScene,
        "PutSpoonOnTableClothInScene-v1": tasks.PutSpoonOnTableClothInScene,
        "StackGreenCubeOnYellowCubeBakedTexInScene-v1": tasks.StackGreenCubeOnYellowCubeBakedTexInScene,
        "PutEggplantInBasketScene-v1": tasks.PutEggplantInBasketScene,
    }
    return {name: type(base.__name__, (Silent, base), {}) for name, base in names.items()}


def _render_device() -> str:
    import torch

    return "sapien_cuda" if torch.cuda.is_available() else "sapien_cpu"


def _tool(environment: Any) -> Any:
    return environment.agent.robot.links_map["ee_gripper_link"]


def _plain_name(name: str) -> str:
    """A body's name without the number of its sub-scene."""
    return name.removeprefix("scene-0-").removeprefix("scene-0_")


def _numbers(tensor: Any) -> np.ndarray:
    return np.array(tensor.cpu().numpy() if hasattr(tensor, "cpu") else tensor)


def _pose(thing: Any) -> np.ndarray:
    """Position and quaternion (7,) of an actor, a link or a robot."""
    return _numbers(thing.pose.raw_pose[0])


def _position(actor: Any) -> np.ndarray:
    return _pose(actor)[:3]


def _centre(actor: Any) -> np.ndarray:
    body = actor._bodies[0]
    return np.array((body.entity.pose * body.cmass_local_pose).p)
