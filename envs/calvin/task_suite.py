"""The task suite: for every scene and task, states from which the task can be done on its own.

The official initial states fit scene D and the starts of chains only, so these are ours, drawn with
a fixed seed and checked in both asset bundles by ``python -m tools.make_task_suite``. In ``varied`` the arm starts
where chains leave it, elsewhere in every state; in ``fixed`` all states of a task share CALVIN's one resting pose (but
for those that begin with a block in the hand), so that a policy which knows one motion by heart can solve them all.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Literal

import numpy as np

from vla_bench.envs.calvin.scenes import scene_named
from vla_bench.envs.calvin.tasks import TASKS
from vla_bench.envs.simulation import EpisodeStart

Starts = Literal["varied", "fixed"]
DATA: dict[str, str] = {"varied": "data/task_suite_varied.npz", "fixed": "data/task_suite.npz"}
SAME_PLACE = 0.01
"""Metres, and radians, within which two starts of the tool are one."""
MICRO = 1e-6
"""The file holds whole numbers of micrometres and microradians (lights: of millionths)."""


@cache
def _stored(starts: Starts) -> dict[str, np.ndarray]:
    with resources.files("vla_bench.envs.calvin").joinpath(DATA[starts]).open("rb") as file, np.load(file) as stored:
        return dict(stored)


def suite_states(scene: str, task: str, starts: Starts = "varied") -> list[EpisodeStart]:
    """The start states of a task in a scene, always the same and in the same order.

    Raises:
        ValueError: for an unknown scene or task.
    """
    name = scene_named(scene).name
    if task not in TASKS:
        raise ValueError(f"CALVIN has no task {task!r}; the 34 are in vla_bench.envs.calvin.tasks.TASKS")
    stored = _stored(starts)
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


HELD_TASKS = ("place_in_slider", "place_in_drawer", "stack_block")
"""Tasks that begin with a block in the hand, so that the arm is elsewhere in every state."""


def suite_clusters(scene: str, task: str, starts: Starts = "varied") -> list[str]:
    """For each of :func:`suite_states` the name of its cluster: states whose tool starts within :data:`SAME_PLACE`.

    Empty for a state that shares its start with no other. In ``fixed`` all states of a task are one cluster, but for
    those with a block in the hand; in ``varied`` a few are alike, where the same task before has left the arm.
    """
    tools = np.array([start.state["robot_obs"][:6] for start in suite_states(scene, task, starts)])
    firsts = [int(np.argmax(np.abs(tools - tool).max(axis=1) < SAME_PLACE)) for tool in tools]
    return [f"{scene}-{task}-{first:03d}" if firsts.count(first) > 1 else "" for first in firsts]
