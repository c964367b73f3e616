"""What SimplerEnv costs here and in the original evaluation loop, in one run.

``SIMPLER_PYTHON bench/benchmarks/simpler_loop.py [--episodes N] [--task NAME]``, run by the interpreter of
``make simpler``. The original loop makes an environment per episode and renders all cameras at every step;
ours keeps the environment and renders the policy's camera when the policy looks. Both play the same actions,
each loop in a process of its own. CPU seconds, so that other load on the machine matters little.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

from envs.observation import Sensors
from envs.simpler.assets import PHOTOS, photo_file
from envs.simpler.grids import SETS, Trial, task_named
from envs.simpler.original import OriginalBackend, build_arguments, reset_options
from envs.simpler.trial import SimplerSimulation
from envs.simulation import EpisodeStart

LOOPS = {
    "original": "original loop",
    "1": "ours, looking at every step",
    "4": "ours, looking at every 4th",
    "0": "ours, blind",
}
"""What is measured, each in a process of its own: the original's renderer dies with every environment."""


def main() -> None:
    """Prints CPU seconds per episode of each loop, and the ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--episodes", type=int, default=2, help="episodes per loop")
    parser.add_argument("--task", default="widowx_carrot_on_plate", help="a WidowX task")
    parser.add_argument("--loop", choices=LOOPS, help="measure only this one, and print its seconds")
    arguments = parser.parse_args()
    task = task_named(arguments.task)
    trials = [trial for trial in SETS["bridge"].trials() if trial.task == task][: arguments.episodes]
    if arguments.loop:
        print(_measure(arguments.loop, trials))
        return
    print(f"{task.name}, {task.step_limit} steps, {len(trials)} episodes each")
    reference = 0.0
    for loop, name in LOOPS.items():
        command = [sys.executable, __file__, "--loop", loop, "--task", task.name]
        command += ["--episodes", str(arguments.episodes)]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
        )
        spent = float(done.stdout.split()[-1])
        reference = reference or spent
        print(f"{name:<30} {spent:6.2f} CPU s per episode  {reference / spent:4.1f} times as fast")


def _measure(loop: str, trials: list[Trial]) -> float:
    """CPU seconds per episode. Ours: once the environment is made, which a worker does once per task."""
    task = trials[0].task
    actions = np.random.default_rng(0).normal(0, 0.01, (task.step_limit, 7))
    actions[:, 6] = 1.0
    backend = OriginalBackend()
    if loop == "original":
        return _seconds(lambda: [_original(backend, trial, actions) for trial in trials]) / len(trials)
    every = int(loop)
    sensors = Sensors.of(task.robot.camera) if every else Sensors()
    simulation = SimplerSimulation(backend, sensors, task.robot.actions[0])
    _play(simulation, trials[0], actions[:4], every)
    return _seconds(lambda: [_play(simulation, trial, actions, every) for trial in trials]) / len(trials)


def _seconds(work: Callable[[], object]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def _original(backend: OriginalBackend, trial: Trial, actions: np.ndarray) -> None:
    """An episode as ``maniskill2_evaluator.py`` of SimplerEnv 4ab7178 runs it, the policy aside."""
    arguments = build_arguments(trial.task, trial.variant)
    arguments["obs_mode"] = "image"
    arguments["rgb_overlay_path"] = str(backend.folder / PHOTOS / photo_file(trial.variant, trial.state))
    arguments["rgb_overlay_cameras"] = [trial.task.robot.camera]
    registry = backend.package.utils.registration.REGISTERED_ENVS
    environment = registry[trial.task.environment].cls(**arguments)
    environment.reset(options=reset_options(EpisodeStart("", trial.state), reconfigure=False))
    for action in actions:
        observation, *_ = environment.step(action)
        colours = observation["image"][trial.task.robot.camera]["Color"][..., :3]
        np.clip(colours * 255, 0, 255).astype(np.uint8)
    environment.close()


def _play(simulation: SimplerSimulation, trial: Trial, actions: np.ndarray, every: int) -> None:
    simulation.reset(EpisodeStart(trial.variant.name, trial.state, trial.task.name))
    simulation.begin(trial.task.subtasks[0])
    for first in range(0, len(actions), every or 4):
        if every:
            simulation.observe()
        simulation.advance(actions[first : first + (every or 4)])


if __name__ == "__main__":
    main()
