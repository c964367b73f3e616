"""Tables set at random that are only looked at.

A demonstration shows one table for a while, and a network that learns to see from nothing needs many tables: those of
500 chains are soon known by heart. A table that is set, looked at twice and left costs a thirtieth of a demonstration.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vla_bench.bench.families.calvin_demonstrations.starts import rounded
from vla_bench.bench.families.calvin_demonstrations.table_setting import Redraw, TableSetting, subject_of
from vla_bench.envs.calvin.scenes import scene_named
from vla_bench.envs.calvin.simulation import CalvinSimulation
from vla_bench.envs.calvin.tasks import TASKS
from vla_bench.envs.observation import Observation

STAY = np.zeros(6)


def look_around(
    simulation: CalvinSimulation, scene: str, poses: Sequence[np.ndarray], count: int, generator: np.random.Generator
) -> list[tuple[Observation, np.ndarray, np.ndarray, Observation]]:
    """Sets ``count`` tables, puts the arm into one of ``poses`` (15,), and holds it there for one step.

    Returns:
        What is seen before the step, the relative action (7,), the pose that it asks for (7,), what is seen after it.
    """
    made: list[tuple[Observation, np.ndarray, np.ndarray, Observation]] = []
    tasks = sorted(TASKS)
    while len(made) < count:
        pose = poses[int(generator.integers(len(poses)))]
        setting = TableSetting(scene_named(scene), generator, varied=True)
        task = tasks[int(generator.integers(len(tasks)))]
        try:
            subject = subject_of(setting.scene, task, generator)
            setting.set_table(task)
            setting.place_blocks(task, subject)
        except Redraw:
            continue
        simulation.reset(rounded(setting.scene, pose, setting.scene_obs()))
        simulation.begin(task)
        before = simulation.observe()
        hand = np.array((pose[14],))
        robot = simulation.world.robot
        target = np.concatenate((robot.target_position, robot.target_euler, hand))
        action = np.concatenate((STAY, hand))
        simulation.advance(action[None])
        made.append((before, action, target, simulation.observe()))
    return made
