"""The toy environment as a family: seconds, and crashes or hangs on cue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vla_bench.bench.errors import ConfigError, at_least
from vla_bench.bench.families.family import BenchmarkConfig, Family, Plan, option, refuse_task
from vla_bench.bench.protocol import EpisodeSpec, EvaluationProtocol, to_plain
from vla_bench.bench.score import chains, pooled
from vla_bench.envs.fake import INSTRUCTIONS
from vla_bench.envs.simulation import EnvironmentSpec, EpisodeStart, SimulationSpec
from vla_bench.policies.base import PolicySpec

NOTE = "toy environment: these numbers mean nothing"


@dataclass(frozen=True, slots=True)
class FakeOptions:
    """What can be chosen of the toy."""

    split: Literal["D", "ABC", "ABCD", "none"] = "none"
    """What the checkpoint was trained on; recorded, never changes what is run."""
    scenes: tuple[str, ...] = ("D",)
    """Names of scenes, which all look alike."""
    sequences: int = option(20, kind="chains", instead="benchmark.rollouts=<tries of each task and scene>")
    """chains: how many."""
    rollouts: int = option(10, kind="tasks", instead="benchmark.sequences=<n>")
    """tasks: tries per task and scene."""
    assets: Literal["builtin", "official"] = "builtin"
    """Recorded, and changes nothing."""
    cues: Any = None
    """What goes wrong, where and when, e.g. [{do: hang, episode: 1}]."""
    counter: Any = None
    """Folder shared by all processes of a run, in which cues that happen a few times only are counted."""
    step_seconds: Any = 0.0
    """Seconds that each control step takes."""

    def __post_init__(self) -> None:
        at_least("benchmark.sequences", self.sequences, 1)
        at_least("benchmark.rollouts", self.rollouts, 1)
        if not self.scenes or len(set(self.scenes)) != len(self.scenes):
            raise ConfigError("benchmark.scenes: name at least one scene, each once")


def environment(options: FakeOptions) -> dict[str, Any]:
    """Of the environment: what was typed."""
    default = FakeOptions()
    return {
        name: to_plain(getattr(options, name))
        for name in ("cues", "counter", "step_seconds")
        if getattr(options, name) != getattr(default, name)
    }


def plan(benchmark: BenchmarkConfig, policy: PolicySpec, environment_spec: EnvironmentSpec) -> Plan:
    """Chains of five random tasks, or each task from random places. ConfigError: a task there is not."""
    del policy, environment_spec
    options: FakeOptions = benchmark.options
    tasks = benchmark.tasks or tuple(INSTRUCTIONS)
    for task in tasks:
        if task not in INSTRUCTIONS:
            raise refuse_task(task, tuple(INSTRUCTIONS), "the toy")
    if benchmark.kind == "chains":
        rows = [
            (f"seq-{i:04d}", i, options.scenes[0], tuple(np.random.default_rng(i).permutation(list(tasks))[:5]))
            for i in range(options.sequences)
        ]
    else:
        rows = [
            (f"{task}-{scene}-{rollout:03d}", 1000 * [*INSTRUCTIONS].index(task) + rollout, scene, (task,))
            for scene in options.scenes
            for task in tasks
            for rollout in range(options.rollouts)
        ]
    episodes = tuple(
        EpisodeSpec(
            index=index,
            episode=name,
            start=EpisodeStart(scene, _start(number)),
            subtasks=tuple(str(task) for task in chain),
            instructions=tuple(INSTRUCTIONS[str(task)] for task in chain),
            step_limit=benchmark.step_limit,
        )
        for index, (name, number, scene, chain) in enumerate(rows)
    )
    names = [episode.episode for episode in episodes]
    facts = {"assets": options.assets, "renderer": "none", "cues": to_plain(options.cues or ())}
    score = chains(names) if benchmark.kind == "chains" else pooled(names)
    return Plan(
        protocol=EvaluationProtocol(f"fake-{benchmark.kind}", facts, episodes, score),
        simulation=SimulationSpec("fake", environment(options)),
        notes=(NOTE,),
        split=options.split,
    )


def _start(number: int) -> Mapping[str, tuple[float, ...]]:
    """The same whatever else is run."""
    point = np.random.default_rng(number).uniform(-0.5, 0.5, size=3)
    return {"episode": (float(number),), "point": tuple(float(number) for number in point)}


FAMILY = Family(
    name="fake",
    title="",
    options=FakeOptions,
    plan=plan,
    kinds=("chains", "tasks"),
    environment=environment,
)
