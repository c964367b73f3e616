"""From a benchmark's configuration and a policy's needs to the list of episodes to run.

Each family plans its own episodes; what every plan must say is said here once.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from vla_bench.bench.errors import ConfigError
from vla_bench.bench.families import find_family
from vla_bench.bench.families.family import BenchmarkConfig, Plan
from vla_bench.bench.protocol import to_plain
from vla_bench.bench.stress.planning import stressed
from vla_bench.envs.simulation import EnvironmentSpec, environment_spec
from vla_bench.envs.stress.levels import Stress
from vla_bench.policies.base import PolicySpec
from vla_bench.policies.registry import checked_spec


def environment_options(benchmark: BenchmarkConfig) -> dict[str, Any]:
    """What the environment is told when it is asked what it offers; plain data."""
    return dict(find_family(benchmark.family).environment(benchmark.options))


def environment_of(benchmark: BenchmarkConfig) -> EnvironmentSpec:
    """What the benchmark's environment offers to a policy; loads no simulator."""
    try:
        return environment_spec(benchmark.family, environment_options(benchmark))
    except ValueError as error:
        raise ConfigError(f"benchmark.options: {error}") from None


def plan(
    benchmark: BenchmarkConfig,
    policy: PolicySpec,
    environment: EnvironmentSpec | None = None,
    stress: Stress = Stress(),  # noqa: B008 - immutable
) -> Plan:
    """The episodes of this benchmark for a policy with these needs.

    Args:
        benchmark: what is evaluated.
        policy: what it asks for.
        environment: of the benchmark, where it is known already.
        stress: what is changed of the benchmark.

    Raises:
        PolicyError: the environment does not understand the policy's actions or lacks a camera it
            asks for; names what differs and what is on offer.
        ConfigError, AssetError: the benchmark cannot be set up as configured.
    """
    environment = environment or environment_of(benchmark)
    policy = checked_spec(policy, environment)
    family = find_family(benchmark.family)
    made = stressed(family.plan(benchmark, policy, environment), stress, family, benchmark, policy, environment)
    facts = {
        "family": family.name,
        "kind": "chains" if made.protocol.score.how == "chain" else "tasks",
        "assets": "none",
        "renderer": "none",
        **made.protocol.facts,
        **policy_facts(policy, environment),
    }
    return dataclasses.replace(
        made,
        protocol=dataclasses.replace(made.protocol, facts=facts),
        simulation=dataclasses.replace(made.simulation, sensors=policy.sensors, action=policy.action.name),
        environment=environment,
    )


def policy_facts(policy: PolicySpec, environment: EnvironmentSpec) -> dict[str, Any]:
    """The part of a policy that is protocol: what its actions mean, how many are executed, what it is shown
    (cameras with their size in pixels), and the switches it says may change a number."""
    action = to_plain(policy.action)
    del action["name"], action["exact_gripper"]
    if not action["restarts"]:  # hashes are older than this field
        del action["restarts"]
    sensors = {}
    for camera in policy.sensors.cameras:
        height, width = environment.cameras[camera.name]
        sized = {"height": camera.height or height, "width": camera.width or width}
        sensors[camera.name] = {**sized, "depth": camera.depth}
    facts = {"action": action, "executed_chunk": policy.execute, "sensors": sensors}
    return facts | ({"policy_switches": dict(policy.switches)} if policy.switches else {})
