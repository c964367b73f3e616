"""What a control step costs, and what of it is the benchmark's own doing: ``python -m tools.speed``.

Times are CPU seconds of the processes involved, the best of several rounds, so that a busy machine does
not blur them; only steps/s is wall time. The bare loop is what one would write without any benchmark:
``reset, begin, (observe, act, advance) × 360`` with the stub, which looks through no camera. The same
episode then runs the way a worker runs it, in a supervised child process.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

from vla_bench.bench.dispatch import (
    EpisodeFinished,
    EpisodeStarted,
    Event,
    Job,
    PolicyChoice,
    make_pool,
    run_episodes,
)
from vla_bench.bench.dispatch.child_process import Failure
from vla_bench.bench.dispatch.supervisor import Supervisor
from vla_bench.bench.episode.rollout import SLOT, run_episode
from vla_bench.bench.protocol import EpisodeSpec
from vla_bench.envs.observation import Sensors
from vla_bench.envs.simulation import (
    EpisodeStart,
    Simulation,
    SimulationSpec,
    environment_spec,
    make_simulation,
)
from vla_bench.policies.base import Policy, SubtaskContext
from vla_bench.policies.registry import make_policy

STEPS = 360
"""Of one subtask that the stub does not solve."""
SUBTASKS = {"calvin": ("D", "open_drawer"), "fake": ("box", "raise")}
"""Scene and subtask by family."""


def main(arguments: list[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m tools.speed", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--family", choices=SUBTASKS, default="calvin")
    parser.add_argument("--assets", default="builtin", help="asset bundle of calvin: builtin or official")
    parser.add_argument("--rounds", type=int, default=5, help="repetitions; the best counts")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2], help="for steps/s")
    parser.add_argument("--backend", choices=["local", "ray"], default="local")
    given = parser.parse_args(arguments)
    options = {"assets": given.assets} if given.family == "calvin" else {}
    simulation = SimulationSpec(given.family, options)
    episode = _episode(given.family, 0)
    what = " ".join([given.family, *options.values()])
    print(f"{what}, {STEPS} steps, CPU time, best of {given.rounds} rounds", flush=True)

    bare, harness, engine = _episode_costs(simulation, episode, given.rounds)
    _print("bare loop", bare / STEPS, "step", f"{bare * 1e3:.0f} ms per episode")
    _print("+ checks and timings", (harness - bare) / STEPS, "step", _share(harness, bare))
    _print("+ process, supervisor", (engine - harness) / STEPS, "step", f"{_share(engine, bare)} in all")
    for camera, seconds in _rendering(simulation, given.rounds).items():
        _print(f"rendering {camera}", seconds, "frame")
    print(f"{given.backend} workers, wall time from the first to the last episode", flush=True)
    for workers in given.workers:
        speed = _steps_per_second(simulation, given.family, given.backend, workers)
        print(f"  {workers:3d}  {speed:8.0f} steps/s", flush=True)


def _print(what: str, seconds: float, per: str, remark: str = "") -> None:
    print(f"  {what:<22} {seconds * 1e3:8.3f} ms/{per}  {remark}".rstrip(), flush=True)


def _share(seconds: float, bare: float) -> str:
    return f"{(seconds - bare) / bare * 100:+.2f} %"


def _episode(family: str, index: int) -> EpisodeSpec:
    scene, subtask = SUBTASKS[family]
    return EpisodeSpec(index, f"speed-{index}", EpisodeStart(scene), (subtask,), ("",), STEPS)


def _bare_loop(simulation: Simulation, policy: Policy, episode: EpisodeSpec) -> None:
    simulation.reset(episode.start)
    policy.reset(SLOT, "", SubtaskContext(episode.episode, 0, 0))
    simulation.begin(episode.subtasks[0])
    for _ in range(STEPS):
        simulation.advance(policy.act((SLOT,), (simulation.observe(),))[0])


def _episode_costs(spec: SimulationSpec, episode: EpisodeSpec, rounds: int) -> tuple[float, float, float]:
    """CPU seconds of the episode in a bare loop, in the rollout, and in a supervised child; taken in turns,
    so that what else the machine does hits all three alike."""
    simulation = make_simulation(spec)
    policy = make_policy(PolicyChoice("stub"), environment_spec(spec.family, spec.options))
    supervisor = Supervisor(Job(spec, PolicyChoice("stub"), directory=os.getcwd()), "speed")
    info = supervisor.start()
    if isinstance(info, Failure):
        raise SystemExit(info.error.message)

    def supervised() -> None:
        if isinstance(result := supervisor.run(episode, 1), Failure):
            raise SystemExit(result.error.message)

    def cost(run: Callable[[], object]) -> float:
        before = time.process_time() + _cpu_seconds(info["pid"])
        run()
        return time.process_time() + _cpu_seconds(info["pid"]) - before

    ways = (
        lambda: _bare_loop(simulation, policy, episode),
        lambda: run_episode(simulation, policy, episode, seed=0),
        supervised,
    )
    for way in ways:
        way()  # what is loaded once is not counted
    costs = [[cost(way) for way in ways] for _ in range(rounds)]
    supervisor.close()
    simulation.close()
    bare, harness, engine = (min(column) for column in zip(*costs, strict=True))
    return bare, harness, engine


def _cpu_seconds(pid: int) -> float:
    """CPU time of all threads of a process, by the scheduler's own clock in nanoseconds."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def _rendering(spec: SimulationSpec, rounds: int) -> dict[str, float]:
    costs = {}
    for camera in environment_spec(spec.family, spec.options).cameras:
        simulation = make_simulation(SimulationSpec(spec.family, spec.options, Sensors.of(camera)))
        simulation.reset(_episode(spec.family, 0).start)
        simulation.observe()
        seconds = []
        for _ in range(rounds):
            before = time.process_time()
            simulation.observe()
            seconds.append(time.process_time() - before)
        costs[camera] = min(seconds)
        simulation.close()
    return costs


def _steps_per_second(spec: SimulationSpec, family: str, backend: str, workers: int) -> float:
    finished: list[float] = []
    started: list[float] = []

    def listen(event: Event) -> None:
        if isinstance(event, EpisodeFinished):
            finished.append(time.perf_counter())
        elif isinstance(event, EpisodeStarted) and not started:
            started.append(time.perf_counter())

    job = Job(spec, PolicyChoice("stub"))
    episodes = [_episode(family, index) for index in range(6 * workers)]
    run_episodes(job, episodes, make_pool(backend, workers), on_event=listen)
    return len(episodes) * STEPS / (finished[-1] - started[0])


if __name__ == "__main__":
    main()
