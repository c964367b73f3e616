"""Draws and proves the states of the task suites, and writes them: ``python -m tools.make_task_suite --starts varied``.

A state is drawn from what the task asks for (where its block lies, which way the door and the
drawer stand, which light is on) and is kept only if it proves itself: nothing touches what it should
not, and standing still solves nothing. Where the task begins with a block in the hand, the expert first
lifts one. In ``varied`` the arm starts where chains leave it, elsewhere in every state; in ``fixed`` it rests.
No state is chosen by whether the expert solves it.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np

from vla_bench.bench.families.calvin_demonstrations.starts import FIXED_SUITE, VARIED_SUITE, check_contacts, draw
from vla_bench.bench.families.calvin_demonstrations.table_setting import Redraw
from vla_bench.envs.calvin.bundle import ENVIRONMENT_VARIABLE, find_bundle
from vla_bench.envs.calvin.scenes import SCENES, Scene
from vla_bench.envs.calvin.simulation import CalvinSimulation
from vla_bench.envs.calvin.task_suite import DATA, HELD_TASKS, MICRO
from vla_bench.envs.calvin.tasks import TASKS
from vla_bench.envs.simulation import EpisodeStart

STATES = {"fixed": 30, "varied": 20}
"""States per scene and task."""
SEEDS = {"fixed": FIXED_SUITE, "varied": VARIED_SUITE}
ARMS = {"fixed": "rest", "varied": "varied"}
STILL_STEPS = 60
STILL_STEPS_VARIED = 20
"""Fewer where the table has stood still for some steps already, while the arm moved."""
OPENING, CLOSING = np.array((0.0,) * 6 + (1.0,)), np.array((0.0,) * 6 + (-1.0,))


def main() -> None:
    """Writes the suite's file from the seed alone."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--starts", choices=STATES, default="varied")
    parser.add_argument("--states", type=int, default=None, help="per scene and task")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--scenes", default=",".join(SCENES))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--output", type=Path, default=None)
    arguments = parser.parse_args()
    scenes, tasks = arguments.scenes.split(","), arguments.tasks.split(",")
    states = arguments.states or STATES[arguments.starts]
    output = arguments.output or Path("envs/calvin") / DATA[arguments.starts]
    print(f"checking in the asset bundles: {', '.join(_bundles())}")
    cells = list(itertools.product(scenes, tasks))
    with ProcessPoolExecutor(arguments.workers) as pool:
        words = (itertools.repeat(each) for each in (states, arguments.starts))
        drawn = list(pool.map(make_cell, *zip(*cells, strict=True), *words))
    vectors = {
        name: np.array([[start.state[name] for start in starts] for starts in drawn])
        for name in ("robot_obs", "scene_obs")
    }
    np.savez_compressed(
        output,
        scenes=np.array(scenes),
        tasks=np.array(tasks),
        **{
            name: np.rint(values / MICRO).astype(np.int32).reshape(len(scenes), len(tasks), *values.shape[1:])
            for name, values in vectors.items()
        },
    )
    print(f"wrote {output}")


def _bundles() -> list[str]:
    return ["builtin", *(["official"] if os.environ.get(ENVIRONMENT_VARIABLE) else [])]


@cache
def _simulations() -> list[CalvinSimulation]:
    return [CalvinSimulation(find_bundle(name)) for name in _bundles()]


def make_cell(scene: str, task: str, states: int, starts: str) -> list[EpisodeStart]:
    """The states of one task in one scene."""
    drawn = list(itertools.islice(proven_states(_simulations(), SCENES[scene], task, starts), states))
    print(f"{scene} {task}: {states} states of {drawn[-1][1]} draws", flush=True)
    return [start for start, _ in drawn]


def proven_states(
    simulations: list[CalvinSimulation], scene: Scene, task: str, starts: str
) -> Iterator[tuple[EpisodeStart, int]]:
    """Endless states of one cell that hold in all the simulations, with the draws made so far."""
    generator = np.random.default_rng([SEEDS[starts], ord(scene.name), *task.encode()])
    still = STILL_STEPS if starts == "fixed" else STILL_STEPS_VARIED
    draws = 0
    while True:
        draws += 1
        try:
            start = draw(simulations[0], scene, task, generator, ARMS[starts])
            for simulation in simulations:
                prove(simulation, start, task, still if simulation is simulations[0] else 0)
        except Redraw:
            continue
        yield start, draws


def prove(simulation: CalvinSimulation, start: EpisodeStart, task: str, still: int) -> None:
    """Redraw unless the state is what the task starts from, and standing still does not solve it.

    ``still``: for so many steps with nothing in the hand, 0: not tried; with a block in it, always for 60.
    """
    simulation.reset(start)
    check_contacts(simulation, task)
    tried = (OPENING, CLOSING) if task in HELD_TASKS else (OPENING,) if still else ()
    for gripper in tried:
        simulation.reset(start)
        simulation.begin(task)
        if simulation.advance(np.tile(gripper, (STILL_STEPS if task in HELD_TASKS else still, 1))).success:
            raise Redraw
    # The hand is closed now: what it held at first it must hold still.
    if task in HELD_TASKS:
        check_contacts(simulation, task)


if __name__ == "__main__":
    main()
