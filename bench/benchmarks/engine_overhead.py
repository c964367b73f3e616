"""What the engine costs over a plain loop, and how many control steps a machine gets through.

An episode is an official sequence under the stub, which fails its first subtask after 360 steps: no
camera, nothing but physics, state vectors, the verdict, and whatever the engine adds. CPU time counts
for costs (of this process, the workers and their children), wall time for steps per second.

  python -m bench.benchmarks.engine_overhead
  python -m bench.benchmarks.engine_overhead --assets builtin --backend ray --episodes 8
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

STEP_LIMIT = 360
"""The official limit of a subtask."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run: the job of a worker and as many episodes as are asked for."""

    job: Any
    episodes: tuple[Any, ...]

    def some(self, count: int) -> Sequence[Any]:
        """The first ``count`` episodes."""
        return self.episodes[:count]


def planned(assets: str, episodes: int) -> Plan:
    """The stub on the first sequences, planned as run_benchmark.py plans them."""
    from bench.config import BenchmarkConfig
    from bench.dispatch import Job, PolicyChoice
    from bench.evaluations import environment_of, plan
    from policies.registry import describe_policy

    benchmark = BenchmarkConfig(name="overhead", split="ABC", assets=assets, sequences=episodes)
    choice = PolicyChoice("stub")
    made = plan(benchmark, describe_policy(choice, environment_of(benchmark)))
    return Plan(Job(made.simulation, choice), made.protocol.episodes)


def cpu() -> float:
    """CPU seconds of this process and of all its children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def plain_loop(plan: Plan, count: int) -> list[float]:
    """CPU seconds of each episode as a loop over the simulation's verbs; the engine is not there."""
    from envs.simulation import make_simulation
    from policies.hold import holding_action

    simulation = make_simulation(plan.job.simulation)
    environment = simulation_environment(plan)
    still = holding_action(environment.action(plan.job.simulation.action))[None]
    seconds = []
    for episode in plan.some(count):
        before = time.process_time()
        simulation.reset(episode.start)
        simulation.begin(episode.subtasks[0])
        for _ in range(episode.step_limit):
            simulation.observe()
            if simulation.advance(still).stopped:
                break
        seconds.append(time.process_time() - before)
    simulation.close()
    return seconds


def simulation_environment(plan: Plan) -> Any:
    """What the simulation offers."""
    from envs.simulation import environment_spec

    return environment_spec(plan.job.simulation.family, plan.job.simulation.options)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the engine."""

    cpu: float
    """CPU seconds, start-up included."""
    steps: int
    stepping: float
    """Wall seconds from the first worker's readiness to the last record."""
    physics: float
    """Wall seconds that the workers report for physics, over all episodes."""


def engine(plan: Plan, count: int, backend: str, workers: int) -> Run:
    """Runs the episodes as run_benchmark.py does, without its screen and its files."""
    from bench.dispatch import EpisodeFinished, WorkerStarted, make_pool, run_episodes

    records, ready, finished = [], [], []

    def on_event(event: Any) -> None:
        if isinstance(event, WorkerStarted):
            ready.append(time.perf_counter())
        elif isinstance(event, EpisodeFinished):
            finished.append(time.perf_counter())
            records.append(event.record)

    before = cpu()
    if not run_episodes(plan.job, plan.some(count), make_pool(backend, workers), on_event=on_event):
        raise SystemExit("interrupted")
    if any(record.status != "done" for record in records):
        raise SystemExit(f"error: an episode failed: {next(r.error for r in records if r.error)}")
    return Run(
        cpu=cpu() - before,
        steps=sum(subtask.steps for record in records for subtask in record.subtasks),
        stepping=finished[-1] - ready[0],
        physics=sum(record.timings.physics for record in records),
    )


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--assets", choices=("official", "builtin"), default="official")
    parser.add_argument("--backend", choices=("local", "ray"), default="local")
    parser.add_argument("--episodes", type=int, default=12, help="episodes of a run; rounds use these")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each; the best counts")
    arguments = parser.parse_args()
    few, many = 2, 2 + arguments.episodes
    plan = planned(arguments.assets, many)
    if arguments.backend == "local":
        overhead(plan, few, many, arguments.rounds)
    throughput(plan, many, arguments.backend)


def overhead(plan: Plan, few: int, many: int, rounds: int) -> None:
    """CPU seconds of an episode: plain loop, engine, and the difference.

    A run's start-up is taken out by the difference between many episodes and few. Processes that Ray
    started are not children of this one, so only the local backend can be measured this way.
    """
    loops, engines = [], []
    for _ in range(rounds):
        loops.append(statistics.fmean(plain_loop(plan, many)[few:]))
        costs = [engine(plan, count, "local", 1).cpu for count in (few, many)]
        engines.append((costs[1] - costs[0]) / (many - few))
    loop, whole = min(loops), min(engines)
    print(f"\nan episode of {STEP_LIMIT} steps, no camera, best of {rounds} rounds")
    print(f"  plain loop            {loop * 1e3:9.1f} CPU ms   {loop / STEP_LIMIT * 1e3:7.3f} a step")
    print(f"  engine, local         {whole * 1e3:9.1f} CPU ms   {whole / STEP_LIMIT * 1e3:7.3f} a step")
    print(f"  overhead              {(whole / loop - 1) * 100:+9.1f} %")


def throughput(plan: Plan, many: int, backend: str) -> None:
    """Steps per second with one worker and with two."""
    print(f"\nsteps per second, backend {backend}")
    for workers in (1, 2):
        run = engine(plan, many, backend, workers)
        share = run.physics / (run.stepping * workers)
        print(
            f"  {workers} worker{'s' if workers > 1 else ' '}            {run.steps / run.stepping:9.0f}"
            f"   {share:6.1%} of the workers' time in physics"
        )


if __name__ == "__main__":
    main()
