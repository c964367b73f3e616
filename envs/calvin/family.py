"""CALVIN as one of the families that :mod:`vla_bench.envs.simulation` knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vla_bench.envs.calvin.bundle import find_bundle
from vla_bench.envs.calvin.cameras import LENSES
from vla_bench.envs.calvin.robot import ACTIONS
from vla_bench.envs.calvin.world import CONTROL_HZ
from vla_bench.envs.errors import EnvironmentFault
from vla_bench.envs.simulation import STRESS, EnvironmentSpec, Part, SimulationSpec
from vla_bench.envs.stress.wrapped import from_option

BACKENDS = ("native", "calvin_env")
"""Implementations of the environment: ours, and the original package where it is installed."""


VECTORS = {
    "robot_obs": (0.03, -0.11, 0.52, 3.1, -0.05, 1.5, 0.08, -1.2, 1.0, 2.1, -2.3, -0.8, 1.6, 0.5, 1.0),
    "scene_obs": (0.0,) * 24,
}
PARTS = {
    "position": Part("robot_obs", 0, 3),
    "rotation": Part("robot_obs", 3, 6, "euler_xyz"),
    "width": Part("robot_obs", 6, 7),
    "joints": Part("robot_obs", 7, 14),
    "command": Part("robot_obs", 14, 15),
}


def environment_spec(options: Mapping[str, Any]) -> EnvironmentSpec:
    """Action conventions, cameras and control rate of the play table."""
    return EnvironmentSpec(
        family="calvin",
        actions=ACTIONS,
        cameras={name: (lens.height, lens.width) for name, lens in LENSES.items()},
        control_hz=float(CONTROL_HZ),
        roles={"static": "static", "gripper": "gripper", "state": "robot_obs"},
        expert="vla_bench.policies.expert:ExpertPolicy",
        traced=True,
        vectors=VECTORS,
        parts=PARTS,
    )


def build(spec: SimulationSpec) -> Any:
    """A :class:`vla_bench.envs.calvin.simulation.CalvinSimulation`, or the original behind the same verbs.

    Options: ``assets`` (bundle name), ``renderer``, ``history``, ``backend`` (one of
    :data:`BACKENDS`), ``stress``, and, where they are not as the protocol has them, ``reset_each_subtask`` and
    ``use_target_pose``. EnvironmentFault: levels of the world for the original package.
    """
    options = dict(spec.options)
    if STRESS in options:
        if options.get("backend") == "calvin_env":
            raise EnvironmentFault(
                "stress of the world is made by our own environment: leave benchmark.backend=calvin_env out"
            )
        options[STRESS] = from_option(options[STRESS])[0]
    if options.pop("backend", BACKENDS[0]) == "calvin_env":
        from vla_bench.envs.calvin.original import OriginalSimulation as Simulation
    else:
        from vla_bench.envs.calvin.simulation import CalvinSimulation as Simulation
    bundle = find_bundle(options.pop("assets"))
    return Simulation(bundle, spec.sensors, spec.action or ACTIONS[0].name, **options)
