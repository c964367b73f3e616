"""SimplerEnv as one of the families that :mod:`vla_bench.envs.simulation` knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vla_bench.envs.errors import suggestion
from vla_bench.envs.simpler.grids import SETS
from vla_bench.envs.simpler.robots import ROBOTS, Robot
from vla_bench.envs.simulation import EnvironmentSpec, Part, SimulationSpec

BACKENDS = ("simpler_env", "maniskill3")
"""``simpler_env``: the original package on sapien 2, the reference. ``maniskill3``: the WidowX tasks only."""
MODERN_NOTE = (
    "ManiSkill3: another release of PhysX and of the renderer, and another model of the WidowX, than the "
    "paper's package; comparable with other ManiSkill3 numbers only"
)


JOINTS = {
    "widowx": (0.0, -0.2, 0.2, 0.0, 1.5, 0.0, 0.037, 0.037),
    "google_robot": (-0.26, 0.26, 0.0, 1.36, 0.1, -0.64, 0.0, 0.0, 0.0, -0.02, -0.01),
}
VECTORS = {
    "tcp_pose": (0.3, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0),
    "base_pose": (0.147, 0.028, 0.87, 0.0, 0.0, 0.0, 1.0),
    "gripper_closedness": (0.0,),
}
PARTS = {
    "position": Part("tcp_pose", 0, 3),
    "rotation": Part("tcp_pose", 3, 7, "quaternion_wxyz"),
    "base_position": Part("base_pose", 0, 3),
    "base_rotation": Part("base_pose", 3, 7, "quaternion_wxyz"),
    "closedness": Part("gripper_closedness", 0, 1),
}


def robot_of(options: Mapping[str, Any]) -> Robot:
    """The robot of ``options["set"]``; ValueError names the sets there are."""
    name = str(options.get("set", "bridge"))
    if name not in SETS:
        raise ValueError(f"set={name} is not one of {', '.join(SETS)}.{suggestion(name, SETS)}")
    return ROBOTS[SETS[name].robot]


def environment_spec(options: Mapping[str, Any]) -> EnvironmentSpec:
    """Conventions, camera and control rate of the set's robot."""
    robot = robot_of(options)
    return EnvironmentSpec(
        family="simpler",
        actions=robot.actions,
        cameras={robot.camera: (robot.height, robot.width)},
        control_hz=float(robot.control_hz),
        resizable=False,
        roles={"static": robot.camera},
        expert="vla_bench.policies.expert_simpler:SimplerExpert",
        depth=options.get("backend", BACKENDS[0]) != "maniskill3",
        vectors={"robot_obs": JOINTS[robot.name], **VECTORS},
        parts=PARTS,
    )


def build(spec: SimulationSpec) -> Any:
    """A :class:`vla_bench.envs.simpler.trial.SimplerSimulation`.

    Options: ``set``, ``backend``, ``advance``, ``ray_traced``.
    """
    from vla_bench.envs.simpler.trial import SimplerSimulation

    options = dict(spec.options)
    robot = robot_of(options)
    action = next((each for each in robot.actions if each.name == spec.action), robot.actions[0])
    backend: Any
    if options.get("backend", BACKENDS[0]) == "maniskill3":
        from vla_bench.envs.simpler.modern import ModernBackend

        depth = next((camera.name for camera in spec.sensors.cameras if camera.depth), None)
        if depth is not None:
            raise ValueError(f"ManiSkill3's WidowX tasks give no depth of {depth}; ask for colours only")
        backend = ModernBackend()
    else:
        from vla_bench.envs.simpler.original import OriginalBackend

        backend = OriginalBackend(ray_traced=bool(options.get("ray_traced", False)))
    return SimplerSimulation(backend, spec.sensors, action, options.get("advance", "official"))
