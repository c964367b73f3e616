"""What surviving costs when nothing goes wrong, what a hang costs when one does, and whether anything grows.

python -m tools.endurance                  all four
python -m tools.endurance growth hang      or some
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from vla_bench.bench.dispatch import (
    EpisodeFinished,
    EpisodeRetried,
    EpisodeStarted,
    Event,
    Job,
    PolicyChoice,
    WorkerStarted,
    make_pool,
    run_episodes,
)
from vla_bench.bench.protocol import EpisodeRecord, EpisodeSpec
from vla_bench.bench.records.journal import Journal
from vla_bench.bench.setup.run_config import RunConfig
from vla_bench.envs.simulation import EpisodeStart, SimulationSpec

HEADER: dict[str, Any] = {
    "benchmark": "endurance",
    "policy": "random",
    "identity": {"split": "none", "policy": "random", "seed": 0, "protocol": "0"},
    "protocol": {"hash": "0", "facts": {"kind": "chains", "assets": "none", "renderer": "none"}},
    "longest": 1,
    "tasks": ["reach_red"],
    "scenes": ["box"],
    "notes": [],
}


def toys(count: int, step_limit: int) -> list[EpisodeSpec]:
    """Episodes of the toy that are never solved."""
    return [
        EpisodeSpec(
            i,
            f"seq-{i:04d}",
            EpisodeStart("box", {"episode": (float(i),)}),
            ("reach_red",),
            ("go",),
            step_limit,
        )
        for i in range(count)
    ]


def on_calvin(sequences: int, policy: str, *words: str) -> tuple[Job, Sequence[EpisodeSpec]]:
    """The first sequences on the built-in table, planned as the command line plans them."""
    from vla_bench.bench.setup.preparation import prepare
    from vla_bench.bench.setup.presets import load_config

    config = load_config(["benchmark=calvin_smoke", f"benchmark.sequences={sequences}", f"policy={policy}", *words])
    made = prepare(config).plan
    return Job(made.simulation, PolicyChoice(policy, config.policy.arguments)), made.protocol.episodes


@contextmanager
def journal_of(episodes: int) -> Iterator[Journal]:
    """A journal in a folder that goes away."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Journal.open(Path(folder) / "journal.jsonl", {**HEADER, "episodes": episodes}) as journal,
    ):
        yield journal


def resident_mb(pid: int | str) -> float:
    """Memory of a process that cannot be taken from it for free."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1]) / 1024
    return 0.0


def growth(episodes: int = 2000, settled: int = 200) -> bool:
    """2,000 episodes of the toy in one driver, with two workers."""
    job = Job(SimulationSpec("fake"), PolicyChoice("random"))
    return _grown(job, toys(episodes, 60), 2, settled)


def calvin(episodes: int = 500, settled: int = 100) -> bool:
    """500 episodes of CALVIN in one worker, of 20 steps, seen through both cameras."""
    job, planned = on_calvin(episodes, "stub", "policy.cameras=[static,gripper]")
    return _grown(job, [replace(each, step_limit=20) for each in planned], 1, settled)


def _grown(job: Job, episodes: Sequence[EpisodeSpec], workers: int, settled: int) -> bool:
    """Private memory of the driver and of a worker's process after ``settled`` episodes and at the end;
    at most 10 MB more."""
    pids: list[int] = []
    sizes: list[tuple[float, float]] = []
    with journal_of(len(episodes)) as journal:

        def take(event: Event) -> None:
            if isinstance(event, WorkerStarted):
                pids.append(event.info["pid"])
            if isinstance(event, EpisodeFinished):
                journal.append(event.record)
                sizes.append((resident_mb("self"), resident_mb(pids[0])) if len(sizes) % 50 == 0 else sizes[-1])

        run_episodes(job, episodes, make_pool("local", workers), on_event=take)
    good = True
    for who, name in enumerate(("driver", "worker")):
        then, now = sizes[settled][who], sizes[-1][who]
        slope = 1024 * (now - then) / (len(episodes) - settled)
        print(
            f"{job.simulation.family}, {name}: {then:.1f} MB after {settled} episodes, {now:.1f} MB after "
            f"{len(episodes)}, {slope:+.2f} KB per episode"
        )
        good &= now - then < 10
    return good


def hang(deadline: float = 2.0) -> bool:
    """Time that a hung one among four workers costs, and how long the other three ever waited."""
    took = {}
    for name, cues in (
        ("undisturbed", []),
        ("one hangs", [{"do": "hang", "episode": 2, "step": 5, "times": 1}]),
    ):
        records, retries = [], 0
        with tempfile.TemporaryDirectory() as counter:
            options = {"cues": cues, "counter": counter, "step_seconds": 0.01}
            job = Job(SimulationSpec("fake", options), PolicyChoice("random"), RunConfig(step_deadline=deadline))

            def take(event: Event) -> None:
                nonlocal retries
                retries += isinstance(event, EpisodeRetried)
                if isinstance(event, EpisodeFinished):
                    records.append(event.record)  # noqa: B023 - called within this turn

            began = time.monotonic()
            run_episodes(job, toys(60, 50), make_pool("local", 4), on_event=take)
            took[name] = time.monotonic() - began
        assert retries == len(cues)
        waited = max(record.timings.waiting for record in records[8:])
        print(f"{name}: {took[name]:.1f} s for 60 episodes; no running worker waited longer than {waited:.2f} s")
    cost = took["one hangs"] - took["undisturbed"]
    print(f"the hang cost {cost:.1f} s of the run's time; its deadline was {deadline:g} s, an episode takes 0.5 s")
    return cost < deadline + 2


def cost(pairs: int = 40, rounds: int = 5) -> bool:
    """Steps/s of CALVIN with and without what makes a run survive: ratio of medians.

    CPU time: an episode with checkpoints for the deadlines and its journal line, over one with neither, in
    one process and in turns. Wall time: a worker's steps/s in a run with a journal, over one without.
    """
    from vla_bench.bench.dispatch.page import Page, create_page_file
    from vla_bench.bench.dispatch.placement import connect
    from vla_bench.bench.episode.rollout import NoMeter, run_episode
    from vla_bench.envs.simulation import make_simulation

    job, planned = on_calvin(pairs, "stub")
    episodes = [replace(each, step_limit=120) for each in planned]
    simulation, policy, page = make_simulation(job.simulation), connect(job), Page(create_page_file())
    cpu: dict[bool, list[float]] = {True: [], False: []}
    with journal_of(pairs) as journal:
        for number, episode in enumerate(episodes):
            for safe in (number % 2 == 0, number % 2 == 1):  # in turns, so that a slow minute hits both
                began = time.process_time()
                record = run_episode(simulation, policy, episode, seed=0, meter=page if safe else NoMeter())
                if safe:
                    journal.append(record)
                cpu[safe].append(_steps(record) / (time.process_time() - began))
    wall: dict[bool, list[float]] = {True: [], False: []}
    for number in range(rounds):
        for safe in (number % 2 == 0, number % 2 == 1):
            with journal_of(pairs) as journal:
                wall[safe].append(_rate(job, episodes[:12], journal if safe else None))
    good = True
    for clock, rates in (("CPU", cpu), ("wall", wall)):
        with_all, without = statistics.median(rates[True]), statistics.median(rates[False])
        print(f"{clock}: {with_all:.0f} of {without:.0f} steps/s, {with_all / without:.3f} of it")
        good &= with_all / without >= 0.98
    return good


def _steps(record: EpisodeRecord) -> int:
    return sum(subtask.steps for subtask in record.subtasks)


def _rate(job: Job, episodes: Sequence[EpisodeSpec], journal: Journal | None) -> float:
    """Steps/s of one worker from its first episode on, each record written before the next turn."""
    began, steps = 0.0, 0

    def take(event: Event) -> None:
        nonlocal began, steps
        if isinstance(event, EpisodeStarted):
            began = began or time.perf_counter()
        if isinstance(event, EpisodeFinished):
            steps += _steps(event.record)
            if journal is not None:
                journal.append(event.record)

    run_episodes(job, episodes, make_pool("local", 1), on_event=take)
    return steps / (time.perf_counter() - began)


PARTS: dict[str, Callable[[], bool]] = {"growth": growth, "calvin": calvin, "hang": hang, "cost": cost}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the parts that are named, or all; 3 when one misses its aim."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help=", ".join(PARTS))
    missed = [name for name in parser.parse_args(arguments).parts or PARTS if not PARTS[name]()]
    print(f"missed: {', '.join(missed) or 'nothing'}")
    return 3 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
