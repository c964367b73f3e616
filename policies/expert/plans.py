"""The plan of each task: a list of phases made from the scene as it is now.

A plan is made anew whenever the scene turns out otherwise than the last plan relied on, so each
function starts from wherever the arm is, and says what to do next to get the task done.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from vla_bench.policies.expert.fixtures import (
    LEFT,
    RIGHT,
    close_drawer,
    move_slider,
    open_drawer,
    press_button,
    switch_off,
    switch_on,
)
from vla_bench.policies.expert.handling import lift, push, rotate, unstack
from vla_bench.policies.expert.motion import Phase
from vla_bench.policies.expert.placing import place, push_into_drawer, put_away, stack
from vla_bench.policies.expert.routes import preparing
from vla_bench.policies.expert.view import View

Plan = Callable[[View, View, int], list[Phase]]
"""From the scene now, the scene when the subtask began, and the number of attempts before this one."""


def _plans() -> dict[str, Plan]:
    plans: dict[str, Plan] = {
        "open_drawer": open_drawer,
        "close_drawer": close_drawer,
        "move_slider_left": partial(move_slider, LEFT),
        "move_slider_right": partial(move_slider, RIGHT),
        "turn_on_led": press_button,
        "turn_off_led": press_button,
        "turn_on_lightbulb": switch_on,
        "turn_off_lightbulb": switch_off,
        "place_in_slider": partial(place, "slider"),
        "place_in_drawer": partial(place, "drawer"),
        "push_into_drawer": push_into_drawer,
        "stack_block": stack,
        "unstack_block": unstack,
    }
    for colour in ("red", "blue", "pink"):
        block = f"block_{colour}"
        for surface in ("table", "slider", "drawer"):
            plans[f"lift_{colour}_block_{surface}"] = partial(lift, block)
        for side, direction in (("left", LEFT), ("right", RIGHT)):
            plans[f"push_{colour}_block_{side}"] = partial(push, block, direction)
            # Turning left is counterclockwise, a positive angle about the vertical.
            plans[f"rotate_{colour}_block_{side}"] = partial(rotate, block, -direction)
    return plans


PLANS = _plans()
"""The plan of every task."""

NEEDS_HELD = frozenset(("place_in_slider", "place_in_drawer", "stack_block"))
"""Tasks that begin with a block in the hand."""


def plan(task: str, now: View, start: View, attempt: int) -> list[Phase]:
    """What to do next for ``task``; first rids the hand of a block the task does not want there."""
    if now.held and now is start and task not in NEEDS_HELD:
        return preparing(put_away(now))
    return PLANS[task](now, start, attempt)
