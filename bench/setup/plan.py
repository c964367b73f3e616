"""From a benchmark's configuration and a policy's needs to the list of episodes to run.

Each family plans its own episodes; what every plan must say about the policy is said here once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_bench.bench.errors import ConfigError, suggestion
from vla_bench.bench.protocol import EpisodeSpec, EvaluationProtocol, to_plain
from vla_bench.bench.setup.config import BenchmarkConfig
from vla_bench.envs.simulation import EnvironmentSpec, EpisodeStart, SimulationSpec, environment_spec
from vla_bench.policies.base import PolicySpec
from vla_bench.policies.registry import checked_spec


@dataclass(frozen=True, slots=True)
class Plan:
    """What is going to be run, and how a worker builds the simulation for it."""

    protocol: EvaluationProtocol
    """Its ``facts`` hold at least ``family``, ``kind``, ``assets``, ``renderer`` (resolved, never
    ``auto``) and what :func:`policy_facts` gives."""
    simulation: SimulationSpec
    """Sensors and action convention are the policy's."""
    environment: EnvironmentSpec
    notes: tuple[str, ...] = ()
    """Sentences that must stand beside every number, e.g. that it is not comparable with published
    ones."""
    python: str = ""
    """Interpreter that has the simulator; empty: our own."""


def environment_of(benchmark: BenchmarkConfig) -> EnvironmentSpec:
    """What the benchmark's environment offers to a policy; loads no simulator."""
    try:
        return environment_spec(benchmark.family, benchmark.options)
    except ValueError as error:
        raise ConfigError(f"benchmark.options: {error}") from None


def plan(benchmark: BenchmarkConfig, policy: PolicySpec) -> Plan:
    """The episodes of this benchmark for a policy with these needs.

    Raises:
        PolicyError: the environment does not understand the policy's actions or lacks a camera it
            asks for; names what differs and what is on offer.
        ConfigError, AssetError: the benchmark cannot be set up as configured.
    """
    environment = environment_of(benchmark)
    policy = checked_spec(policy, environment)
    if benchmark.family == "calvin":
        from vla_bench.bench.families import calvin as calvin_protocol

        made = calvin_protocol.plan(benchmark, policy, environment)
    elif benchmark.family == "simpler":
        from vla_bench.bench.families import simpler as simpler_protocol

        made = simpler_protocol.plan(benchmark, policy, environment)
    else:
        made = _plan_fake(benchmark, policy, environment)
    simulation = dataclasses.replace(made.simulation, sensors=policy.sensors, action=policy.action.name)
    return dataclasses.replace(made, simulation=simulation)


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


def _plan_fake(benchmark: BenchmarkConfig, policy: PolicySpec, environment: EnvironmentSpec) -> Plan:
    from vla_bench.envs.fake import INSTRUCTIONS

    tasks = benchmark.tasks or tuple(INSTRUCTIONS)
    for task in tasks:
        if task not in INSTRUCTIONS:
            raise ConfigError(
                f"benchmark.tasks: there is no task {task!r}.{suggestion(task, INSTRUCTIONS)} "
                f"Tasks: {', '.join(INSTRUCTIONS)}"
            )
    if benchmark.kind == "chains":
        rows = [
            (
                f"seq-{i:04d}",
                i,
                benchmark.scenes[0],
                tuple(np.random.default_rng(i).permutation(list(tasks))[:5]),
            )
            for i in range(benchmark.sequences)
        ]
    else:
        rows = [
            (f"{task}-{scene}-{rollout:03d}", 1000 * [*INSTRUCTIONS].index(task) + rollout, scene, (task,))
            for scene in benchmark.scenes
            for task in tasks
            for rollout in range(benchmark.rollouts)
        ]
    episodes = tuple(
        EpisodeSpec(
            index=index,
            episode=name,
            start=EpisodeStart(scene, _fake_start(number)),
            subtasks=tuple(str(task) for task in chain),
            instructions=tuple(INSTRUCTIONS[str(task)] for task in chain),
            step_limit=benchmark.step_limit,
        )
        for index, (name, number, scene, chain) in enumerate(rows)
    )
    facts = {
        "family": "fake",
        "kind": benchmark.kind,
        "assets": benchmark.assets,
        "renderer": "none",
        "cues": to_plain(benchmark.options.get("cues", ())),
        **policy_facts(policy, environment),
    }
    return Plan(
        protocol=EvaluationProtocol(f"fake-{benchmark.kind}", facts, episodes),
        simulation=SimulationSpec("fake", dict(benchmark.options)),
        environment=environment,
        notes=("toy environment: these numbers mean nothing",),
    )


def _fake_start(number: int) -> Mapping[str, tuple[float, ...]]:
    """The same whatever else is run."""
    point = np.random.default_rng(number).uniform(-0.5, 0.5, size=3)
    return {"episode": (float(number),), "point": tuple(float(number) for number in point)}
