"""What a SimplerEnv run costs here and in the original evaluation loop, in one run.

``python -m tools.simpler_loop [--trials N] [--original-trials N] [--workers N] [--rows WORDS]``

Every row plays the first trials of each WidowX task, on so many workers, start and end of the processes
included. The original loop (``maniskill2_evaluator.py`` of SimplerEnv 4ab7178, the policy aside) makes an
environment per trial and renders all cameras at every step, so that few trials say what one costs; it runs
by the interpreter of ``make simpler``, with an arm that holds still: alone, as its scripts run it, all cores
serving the renderer; and in as many processes at once as there are workers, sharing the cores. The other rows
are this project's command line, with plain processes, each after another try of the original loop in so many
processes, since a machine is not equally fast at all times. CPU time is that of all processes; it says more
than the wall time where the machine is shared.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vla_bench.bench.errors import UserError
from vla_bench.bench.families.simpler_python import find_python
from vla_bench.bench.machine.cores import usable_cores
from vla_bench.envs.simpler.grids import SETS, Trial
from vla_bench.envs.simpler.robots import WIDOWX
from vla_bench.envs.simulation import EpisodeStart

ROOT = Path(__file__).resolve().parents[1]
LOOK = f"policy.cameras=[{WIDOWX.camera}]"
ROWS = {
    "stub, looking at every step": ("policy=stub", LOOK),
    "stub, looking at every 4th": ("policy=stub", LOOK, "policy.chunk=4"),
    "stub, blind": ("policy=stub",),
    "expert, looking at every step": ("policy=expert", LOOK),
    "expert, blind": ("policy=expert",),
}
"""What is run beside the original loop, and the words it is typed with."""


def main() -> int:
    """Prints wall and CPU time, steps per second, and the ratios to the original loop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=24, help="of each task")
    parser.add_argument("--original-trials", type=int, default=3, help="of each task, for the original loop")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--backend", choices=("simpler_env", "maniskill3"), default="simpler_env")
    parser.add_argument("--rows", default="", help="only those whose names hold these words")
    parser.add_argument("--share", type=int, help=argparse.SUPPRESS)  # of the original loop, in a process
    arguments = parser.parse_args()
    trials, workers = arguments.original_trials, arguments.workers
    if arguments.share is not None:
        _play_originally(_trials(trials)[arguments.share :: workers])
        return 0
    try:
        find_python({})
    except UserError as error:
        return print(error, file=sys.stderr) or 1
    print(f"{workers} workers, {arguments.backend}")
    alone = _spent(_trials(trials), partial(_run_original, trials, 1))
    _show("original loop, one process", alone, alone)
    with tempfile.TemporaryDirectory() as folder:
        for name, words in ROWS.items():
            if arguments.rows not in name:
                continue
            original = _spent(_trials(trials), partial(_run_original, trials, workers))
            _show(f"original loop, {workers} at once", original, original)
            command = [
                *(sys.executable, str(ROOT / "run_benchmark.py"), "benchmark=simpler_bridge", *words),
                *("run.backend=local", f"run.workers={workers}", f"run.results={folder}"),
                f"benchmark.options.backend={arguments.backend}",
                f"benchmark.options.trials={arguments.trials}",
            ]
            run = partial(subprocess.run, command, check=True, capture_output=True)
            spent = _spent(_trials(arguments.trials), run)
            _show(name, spent, original)
            print(f"{'':<30} {spent.rate / alone.rate:43.2f} times one process of the original")
    return 0


def _trials(number: int) -> list[Trial]:
    """The first so many of each task."""
    return [trial for trial in SETS["bridge"].trials() if trial.number < number]


class Spent(NamedTuple):
    """Steps, and the seconds they took."""

    trials: int
    steps: int
    wall: float
    cpu: float

    @property
    def rate(self) -> float:
        """Steps per second of wall time."""
        return self.steps / self.wall


def _spent(trials: list[Trial], work: Callable[[], object]) -> Spent:
    """What the work took, with all processes that it started and waited for."""
    wall, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Spent(len(trials), sum(t.task.step_limit for t in trials), time.monotonic() - wall, cpu)


def _show(name: str, of: Spent, original: Spent) -> None:
    faster = of.rate / original.rate
    cheaper = of.steps / of.cpu * original.cpu / original.steps
    print(
        f"{name:<30} {of.trials:3} trials {of.wall:7.1f} s {of.rate:6.1f} steps/s "
        f"({faster:5.2f} times) "
        f"{1000 * of.cpu / of.steps:6.1f} CPU ms/step ({cheaper:5.2f} times)",
        flush=True,
    )


def _run_original(trials: int, workers: int) -> None:
    from vla_bench.envs.simpler import vulkan

    settings = vulkan.settings(2, vulkan.probe(vulkan.settings(2)))
    threads = str(usable_cores() // workers or 1)
    environment = {**os.environ, **settings, "PYTHONPATH": str(ROOT), "LP_NUM_THREADS": threads}
    command = [find_python({}), __file__, "--original-trials", str(trials), "--workers", str(workers)]
    shares = [
        subprocess.Popen([*command, "--share", str(share)], env=environment, stderr=subprocess.DEVNULL)
        for share in range(workers)
    ]
    if any(share.wait() for share in shares):
        raise RuntimeError(f"the original loop failed; try {' '.join(command)} --share 0")


def _play_originally(trials: list[Trial]) -> None:
    from vla_bench.envs.simpler.original import OriginalBackend, build_arguments, reset_options

    backend = OriginalBackend()
    registry = backend.package.utils.registration.REGISTERED_ENVS
    still = np.array([0, 0, 0, 0, 0, 0, WIDOWX.actions[0].gripper_open])
    for trial in trials:
        arguments = build_arguments(trial.task, trial.variant)
        arguments["obs_mode"] = "image"
        arguments["rgb_overlay_path"] = str(backend.photo(trial.variant, trial.state))
        arguments["rgb_overlay_cameras"] = [trial.task.robot.camera]
        environment = registry[trial.task.environment].cls(**arguments)
        environment.reset(options=reset_options(EpisodeStart("", trial.state), reconfigure=False))
        for _ in range(trial.task.step_limit):
            observation, *_ = environment.step(still)
            colours = observation["image"][trial.task.robot.camera]["Color"][..., :3]
            np.clip(colours * 255, 0, 255).astype(np.uint8)
        environment.close()


if __name__ == "__main__":
    sys.exit(main())
