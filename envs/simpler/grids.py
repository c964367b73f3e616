"""The trials of a task: where the robot stands and where the objects lie, exactly as published.

Angles are radians, positions metres in the world frame, quaternions wxyz. Sources: the ranges in
``scripts/*.sh`` of SimplerEnv 4ab7178, the object grids in ManiSkill2_real2sim ef7a4d4
(``envs/custom_scenes``). Floats are those that ``numpy.linspace`` gives there.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources

import numpy as np

from vla_bench.envs.simpler import variants
from vla_bench.envs.simpler.tasks import (
    APPLE_TASK,
    BRIDGE_TASKS,
    COKE_TASKS,
    DRAWER_TASKS,
    MOVE_NEAR_TASK,
    MOVE_NEAR_V1_TASK,
    PLACE_IN_DRAWER,
    TASKS,
    Task,
)
from vla_bench.envs.simpler.variants import Variant

State = Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Trial:
    """One episode of a set."""

    task: Task
    variant: Variant
    number: int
    """Position among the trials of its task and variant, from 0."""
    state: State
    """``robot`` (x, y, yaw) and ``objects``: (x, y) of the object, or ``layout``: (number,) of an
    object grid; ``station``: (index,) into :data:`STATIONS`, where the photo was taken from."""
    instructions: tuple[str, ...]

    @property
    def name(self) -> str:
        """Identifier within the set."""
        return f"{self.task.name}-{self.variant.name}-{self.number:03d}"


@dataclass(frozen=True, slots=True)
class Station:
    """A place before the cabinet from which the real robot was photographed."""

    name: str
    x: float
    y: float
    yaw: float


STATIONS = (
    Station("a0", 0.644, -0.179, -0.03),
    Station("a1", 0.765, -0.182, -0.02),
    Station("a2", 0.889, -0.203, -0.06),
    Station("b0", 0.652, 0.009, 0.0),
    Station("b1", 0.752, 0.009, 0.0),
    Station("b2", 0.851, 0.035, 0.0),
    Station("c0", 0.665, 0.224, 0.0),
    Station("c1", 0.765, 0.222, -0.025),
    Station("c2", 0.865, 0.222, -0.025),
)
APPLE_STATIONS = (0, 3, 6)

TRIPLETS = (
    ("blue_plastic_bottle", "opened_pepsi_can", "orange"),
    ("opened_7up_can", "apple", "sponge"),
    ("opened_coke_can", "opened_redbull_can", "apple"),
    ("sponge", "blue_plastic_bottle", "opened_7up_can"),
    ("orange", "opened_pepsi_can", "opened_redbull_can"),
)
"""Objects of move near; the photo setting has baked-texture versions of all but bottle and orange."""
PAIRS = tuple((source, target) for source in range(3) for target in range(3) if source != target)
LAYOUTS_OF_THREE = 2

LAYOUTS = {
    "widowx_spoon_on_towel": 24,
    "widowx_carrot_on_plate": 24,
    "widowx_stack_cube": 24,
    "widowx_put_eggplant_in_basket": 24,
    "google_robot_move_near_v0": len(TRIPLETS) * len(PAIRS) * LAYOUTS_OF_THREE,
    "google_robot_move_near_v1": len(TRIPLETS) * len(PAIRS) * LAYOUTS_OF_THREE,
}
"""Object layouts of the tasks that number them."""


@functools.cache
def eggplant_layouts() -> np.ndarray:
    """Where eggplant and the plane in the basket lie once dropped: (24, 2, 7) float32, position and wxyz.

    As the original package settles them; they touch nothing but the sink, whose mesh is official.
    """
    text = resources.files("vla_bench.envs.simpler").joinpath("data/eggplant_layouts.txt").read_text(encoding="ascii")
    return np.loadtxt(text.splitlines(), dtype=np.float32).reshape(-1, 2, 7)


COKE_X, COKE_Y = np.linspace(-0.35, -0.12, 5), np.linspace(-0.02, 0.42, 5)
APPLE_X, APPLE_Y = np.linspace(-0.08, -0.02, 3), np.linspace(-0.02, 0.08, 3)
DRAWER_ROBOT_X, DRAWER_ROBOT_Y = np.linspace(0.65, 0.85, 3), np.linspace(-0.2, 0.2, 3)
APPLE_ROBOT_X = 0.65


def _states(task: Task, variant: Variant) -> Iterator[State]:
    if task in BRIDGE_TASKS:
        robot = (0.127, 0.06, 0.0) if task.sink else (0.147, 0.028, 0.0)
        for layout in range(LAYOUTS[task.name]):
            yield {"robot": robot, "layout": (float(layout),)}
    elif task in COKE_TASKS:
        for xy in _pairs(COKE_X, COKE_Y):
            yield {"robot": (0.35, 0.20, 0.0), "objects": xy}
    elif task in (MOVE_NEAR_TASK, MOVE_NEAR_V1_TASK):
        for layout in range(LAYOUTS[task.name]):
            yield {"robot": (0.35, 0.21, -0.09), "layout": (float(layout),)}
    elif variant.photo:
        numbers = APPLE_STATIONS if task == APPLE_TASK else range(len(STATIONS))
        for number in numbers:
            station = STATIONS[number]
            place: State = {"robot": (station.x, station.y, station.yaw), "station": (float(number),)}
            yield from _with_apple(task, place)
    else:
        places = (
            [(APPLE_ROBOT_X, float(y)) for y in DRAWER_ROBOT_Y]
            if task == APPLE_TASK
            else list(_pairs(DRAWER_ROBOT_X, DRAWER_ROBOT_Y))
        )
        for x, y in places:
            yield from _with_apple(task, {"robot": (x, y, 0.0)})


def _with_apple(task: Task, state: State) -> Iterator[State]:
    if task.rule is not PLACE_IN_DRAWER:
        yield state
        return
    for xy in _pairs(APPLE_X, APPLE_Y):
        yield {**state, "objects": xy}


def _pairs(xs: np.ndarray, ys: np.ndarray) -> Iterator[tuple[float, float]]:
    return ((float(x), float(y)) for x in xs for y in ys)


def move_near_objects(layout: int) -> tuple[tuple[str, str, str], int, int]:
    """The three objects of a layout and the indices of source and target."""
    triplet = TRIPLETS[layout // (len(PAIRS) * LAYOUTS_OF_THREE)]
    return triplet, *PAIRS[layout % len(PAIRS)]


def spoken(model: str) -> str:
    """How an instruction calls a model, e.g. ``opened_pepsi_can``: pepsi can."""
    silent = {"opened", "light", "generated", "modified", "objaverse", "bridge", "baked", "v2"}
    return " ".join(word for word in model.split("_") if word not in silent and word[-2:] != "cm")


def _instructions(task: Task, state: State) -> tuple[str, ...]:
    if all(task.instructions):
        return task.instructions
    triplet, source, target = move_near_objects(int(state["layout"][0]))
    return (f"move {spoken(triplet[source])} near {spoken(triplet[target])}",)


@dataclass(frozen=True, slots=True)
class TaskSet:
    """A named set of tasks and the variants each is run in."""

    name: str
    robot: str
    tasks: tuple[Task, ...]
    variants_of: Callable[[Task], tuple[Variant, ...]]

    def trials(self, *, cameras: bool = False) -> tuple[Trial, ...]:
        """All trials, those that share a scene next to each other.

        ``cameras`` adds the two camera variants, which no published mean has.
        """
        return tuple(
            Trial(task, variant, number, state, _instructions(task, state))
            for task in self.tasks
            for variant in self.variants_of(task)
            if variant.counted or cameras
            for number, state in enumerate(_states(task, variant))
        )


_GOOGLE = (*COKE_TASKS, MOVE_NEAR_TASK, *DRAWER_TASKS, APPLE_TASK)
SETS = {
    each.name: each
    for each in (
        TaskSet("bridge", "widowx", BRIDGE_TASKS, variants.bridge),
        TaskSet("visual_matching", "google_robot", _GOOGLE, variants.visual_matching),
        TaskSet("variant_aggregation", "google_robot", _GOOGLE, variants.variant_aggregation),
    )
}


def variant_named(task: Task, name: str) -> Variant:
    """The variant of that name in any set; ValueError names those there are."""
    known = {each.name: each for each in variants.visual_matching(task)}
    if task not in BRIDGE_TASKS:
        known |= {each.name: each for each in variants.variant_aggregation(task)}
    if name not in known:
        raise ValueError(f"{task.name} has no variant {name!r}; it has {', '.join(known)}")
    return known[name]


def task_named(name: str) -> Task:
    """The task of that name; ValueError names those there are."""
    if name not in TASKS:
        raise ValueError(f"SimplerEnv has no task {name!r}; it has {', '.join(TASKS)}")
    return TASKS[name]


def heading(yaw: float) -> tuple[float, float, float, float]:
    """Quaternion wxyz of the robot's base: turned half around, then by ``yaw``; float32 as in sapien."""
    half = yaw / 2
    return float(np.float32(-math.sin(half))) + 0.0, 0.0, 0.0, float(np.float32(math.cos(half)))
