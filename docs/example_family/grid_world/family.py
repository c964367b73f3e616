"""What is evaluated in the world: options, episodes, score. Entry point ``vla_bench.families``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from grid_world.world import COLOURS, SIZE
from vla_bench.bench.errors import at_least
from vla_bench.bench.families.family import BenchmarkConfig, Check, Family, Plan, PublishedRow, refuse_task
from vla_bench.bench.protocol import EpisodeSpec, EvaluationProtocol
from vla_bench.bench.score import Score
from vla_bench.envs.simulation import EnvironmentSpec, EpisodeStart, SimulationSpec
from vla_bench.policies.base import PolicySpec

SUITES = {"approach": ("to_red", "to_green"), "leave": ("from_red", "from_blue")}
TASKS = tuple(task for tasks in SUITES.values() for task in tasks)


@dataclass(frozen=True)
class GridOptions:
    """Typed as benchmark.<name>=; the docstring under a field is its help."""

    trials: int = 5
    """Places to start from, for each task."""
    layout: Literal["spread", "crowded"] = "spread"
    """Whether the squares lie anywhere, or all in the middle."""

    def __post_init__(self) -> None:
        at_least("benchmark.trials", self.trials, 1)


def plan(benchmark: BenchmarkConfig, policy: PolicySpec, environment: EnvironmentSpec) -> Plan:
    """Each task from the same places; suites count alike, and so do the tasks of a suite."""
    options: GridOptions = benchmark.options
    for task in benchmark.tasks:
        if task not in TASKS:
            raise refuse_task(task, TASKS, "the grid world")
    episodes = tuple(
        EpisodeSpec(
            index=index,
            episode=f"{task}-{trial:03d}",
            start=EpisodeStart(options.layout, _state(options.layout, trial)),
            subtasks=(task,),
            instructions=(_instruction(task),),
            step_limit=benchmark.step_limit,
        )
        for index, (task, trial) in enumerate(
            (task, trial)
            for task in TASKS
            if not benchmark.tasks or task in benchmark.tasks
            for trial in range(options.trials)
        )
    )
    return Plan(
        protocol=EvaluationProtocol("grid-world", {"layout": options.layout}, episodes, _score(episodes)),
        simulation=SimulationSpec("grid_world"),
    )


def _score(episodes: tuple[EpisodeSpec, ...]) -> Score:
    def part(task: str) -> Score | None:
        names = tuple(each.episode for each in episodes if each.subtasks == (task,))
        return Score(task, episodes=names, row=False) if names else None

    suites = [(name, tuple(filter(None, map(part, tasks)))) for name, tasks in SUITES.items()]
    return Score("average", "alike", tuple(Score(name, "alike", parts) for name, parts in suites if parts))


def _state(layout: str, trial: int) -> dict[str, tuple[float, ...]]:
    random = np.random.default_rng(trial)
    low, high = (0.5, SIZE - 0.5) if layout == "spread" else (SIZE / 2 - 1, SIZE / 2 + 1)
    places = {name: random.uniform(low, high, 2) for name in COLOURS} | {"place": random.uniform(0, SIZE, 2)}
    return {name: tuple(map(float, place)) for name, place in places.items()}


def _instruction(task: str) -> str:
    verb, _, colour = task.partition("_")
    return f"go to the {colour} square" if verb == "to" else f"get away from the {colour} square"


def _check() -> str:
    from importlib.metadata import version

    return f"gymnasium {version('gymnasium')}"


FAMILY = Family(
    name="grid_world",
    title="Grid World",
    options=GridOptions,
    plan=plan,
    step_limit=20,
    packages=("gymnasium", "numpy"),
    checks=(Check("Grid World", _check),),
    published=lambda header: [PublishedRow("a random walk", "this example", success=0.5, n=20)],
    examples=(("an example of a family of one's own", "benchmark.family=grid_world policy=grid_walker"),),
)
