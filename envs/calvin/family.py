"""CALVIN as one of the families that :mod:`vla_bench.envs.simulation` knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vla_bench.envs.calvin.bundle import find_bundle
from vla_bench.envs.calvin.cameras import LENSES
from vla_bench.envs.calvin.robot import ACTIONS
from vla_bench.envs.calvin.world import CONTROL_HZ
from vla_bench.envs.errors import EnvironmentFault
from vla_bench.envs.simulation import STRESS, EnvironmentSpec, SimulationSpec
from vla_bench.envs.stress.wrapped import from_option

BACKENDS = ("native", "calvin_env")
"""Implementations of the environment: ours, and the original package where it is installed."""


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
