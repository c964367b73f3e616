"""The task suite: for every scene and task, states from which the task can be done on its own.

The official initial states fit scene D and the starts of chains only, so these are ours, drawn with
a fixed seed and checked in both asset bundles by ``python -m tools.make_task_suite``.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

import numpy as np

from vla_bench.envs.calvin.scenes import scene_named
from vla_bench.envs.calvin.tasks import TASKS
from vla_bench.envs.simulation import EpisodeStart

DATA = "data/task_suite.npz"
MICRO = 1e-6
"""The file holds whole numbers of micrometres and microradians (lights: of millionths)."""


@cache
def _stored() -> dict[str, np.ndarray]:
    with resources.files("vla_bench.envs.calvin").joinpath(DATA).open("rb") as file, np.load(file) as stored:
        return dict(stored)


def suite_states(scene: str, task: str) -> list[EpisodeStart]:
    """The start states of a task in a scene, always the same and in the same order.

    Raises:
        ValueError: for an unknown scene or task.
    """
    name = scene_named(scene).name
    if task not in TASKS:
        raise ValueError(f"CALVIN has no task {task!r}; the 34 are in vla_bench.envs.calvin.tasks.TASKS")
    stored = _stored()
    row = list(stored["scenes"]).index(name), list(stored["tasks"]).index(task)
    return [
        EpisodeStart(
            name,
            {
                "robot_obs": tuple((robot * MICRO).round(6).tolist()),
                "scene_obs": tuple((table * MICRO).round(6).tolist()),
            },
        )
        for robot, table in zip(stored["robot_obs"][row], stored["scene_obs"][row], strict=True)
    ]
