"""The 34 tasks by name, in the official order."""

from __future__ import annotations

from vla_bench.envs.calvin.oracle import (
    BASE_LINK,
    DRAWER_LINK,
    PLANK_LINK,
    Information,
    Lift,
    MoveJoint,
    Place,
    Push,
    PushInto,
    Rotate,
    Rule,
    Stack,
    Toggle,
    Unstack,
)

COLOURS = ("red", "blue", "pink")


def _tasks() -> dict[str, Rule]:
    tasks: dict[str, Rule] = {}
    for colour in COLOURS:
        tasks[f"rotate_{colour}_block_right"] = Rotate(f"block_{colour}", -60.0)
        tasks[f"rotate_{colour}_block_left"] = Rotate(f"block_{colour}", 60.0)
    for colour in COLOURS:
        tasks[f"push_{colour}_block_right"] = Push(f"block_{colour}", 0.1)
        tasks[f"push_{colour}_block_left"] = Push(f"block_{colour}", -0.1)
    tasks["move_slider_left"] = MoveJoint("slide", 0.15)
    tasks["move_slider_right"] = MoveJoint("slide", -0.15)
    tasks["open_drawer"] = MoveJoint("drawer", 0.12)
    tasks["close_drawer"] = MoveJoint("drawer", -0.12)
    for colour in COLOURS:
        tasks[f"lift_{colour}_block_table"] = Lift(f"block_{colour}", 0.05, BASE_LINK)
        tasks[f"lift_{colour}_block_slider"] = Lift(f"block_{colour}", 0.03, PLANK_LINK)
        tasks[f"lift_{colour}_block_drawer"] = Lift(f"block_{colour}", 0.05, DRAWER_LINK)
    tasks["place_in_slider"] = Place(PLANK_LINK)
    tasks["place_in_drawer"] = Place(DRAWER_LINK)
    tasks["stack_block"] = Stack()
    tasks["unstack_block"] = Unstack()
    tasks["turn_on_lightbulb"] = Toggle("lightbulb", 0)
    tasks["turn_off_lightbulb"] = Toggle("lightbulb", 1)
    tasks["turn_on_led"] = Toggle("led", 0)
    tasks["turn_off_led"] = Toggle("led", 1)
    tasks["push_into_drawer"] = PushInto()
    return tasks


TASKS = _tasks()
"""Criterion of every task, in the order of the official list."""


def solved(task: str, start: Information, end: Information) -> bool:
    """Whether ``task`` was solved between ``start`` and ``end``."""
    return TASKS[task].solved(start, end)


def solved_tasks(start: Information, end: Information) -> set[str]:
    """Every task that the change from ``start`` to ``end`` solves."""
    return {name for name, rule in TASKS.items() if rule.solved(start, end)}
