"""Which of the 34 tasks can begin from a state, as CALVIN's sequences have it.

The conditions are those of ``multistep_sequences.py`` (calvin fa03f01) read off the simulator's state instead
of a symbolic one; where a block or a fixture stands between two places, nothing that needs it can begin.
"""

from __future__ import annotations

from collections.abc import Mapping

from vla_bench.envs.calvin.oracle import BASE_LINK, BLOCKS, DRAWER_LINK, PLANK_LINK, TABLE
from vla_bench.envs.calvin.state import CalvinState
from vla_bench.policies.expert.furniture import Furniture
from vla_bench.policies.expert.view import held_block

JOINT_CHANGE = {"slide": 0.15, "drawer": 0.12}
"""Metres that the oracle asks a joint to move."""
SPARE = 0.02
"""Metres that a joint, or a block behind the door, must have beyond that."""
PUSH_ROOM = 0.125
"""Free table that a block to be pushed needs at its side, metres."""
TABLE_LEFT, TABLE_RIGHT = -0.40, 0.38
"""A block is not pushed beyond these, x in metres."""
_PLACES = {BASE_LINK: "table", PLANK_LINK: "slider", DRAWER_LINK: "drawer"}


def kind_of(task: str) -> str:
    """The task without its colour and direction, e.g. ``lift_block_table`` and ``push_block``."""
    words = [word for word in task.split("_") if word not in ("red", "blue", "pink", "left", "right", "on", "off")]
    return {"open_drawer": "drawer", "close_drawer": "drawer"}.get(task, "_".join(words))


def feasible_tasks(state: CalvinState) -> tuple[str, ...]:
    """The tasks that can begin now, in no meaningful order; read it before the simulation moves on."""
    places = _places(state)
    if held := held_block(state):
        return _with_block_in_hand(state, {name: place for name, place in places.items() if name != held})
    return (*_fixtures(state), *_blocks(state, places))


def _with_block_in_hand(state: CalvinState, others: Mapping[str, str]) -> tuple[str, ...]:
    tasks = ["place_in_slider"]
    if state.joint("drawer") > JOINT_CHANGE["drawer"]:
        tasks.append("place_in_drawer")
    if "table" in others.values() and "stacked" not in others.values():
        tasks.append("stack_block")
    return tuple(tasks)


def _fixtures(state: CalvinState) -> tuple[str, ...]:
    tasks = []
    for joint, less, more in (
        ("slide", "move_slider_right", "move_slider_left"),
        ("drawer", "close_drawer", "open_drawer"),
    ):
        low, high = state.joint_ranges[joint]
        at, change = state.joint(joint), JOINT_CHANGE[joint] + SPARE
        if at - low > change:
            tasks.append(less)
        if high - at > change:
            tasks.append(more)
    for light in ("lightbulb", "led"):
        tasks.append(f"turn_{'off' if state.information.light(light) else 'on'}_{light}")
    return tuple(tasks)


def _blocks(state: CalvinState, places: Mapping[str, str]) -> tuple[str, ...]:
    if "stacked" in places.values():
        free = [name for name, place in places.items() if place == "stacked"]
        below = _below(state, free)
        free = [name for name in places if name not in below and places[name] != "stacked"]
        tasks = ["unstack_block"]
    else:
        free, tasks = list(places), []
    door = Furniture.of(state).door
    for name in free:
        colour, place, x = name.removeprefix("block_"), places[name], float(state.block_positions[name][0])
        if place == "table":
            tasks += [f"lift_{colour}_block_table", f"rotate_{colour}_block_left", f"rotate_{colour}_block_right"]
            tasks += [f"push_{colour}_block_{side}" for side in ("left", "right") if _has_room(state, name, side)]
        elif place == "slider" and not door[0] - SPARE < x < door[1] + SPARE:
            tasks.append(f"lift_{colour}_block_slider")
        elif place == "drawer" and state.joint("drawer") > JOINT_CHANGE["drawer"] + SPARE:
            tasks.append(f"lift_{colour}_block_drawer")
    if "table" in [places[name] for name in free] and state.joint("drawer") > JOINT_CHANGE["drawer"] + SPARE:
        tasks.append("push_into_drawer")
    return tuple(tasks)


def _places(state: CalvinState) -> dict[str, str]:
    """``table``, ``slider``, ``drawer``, ``stacked`` (on blocks alone), or empty, of each block."""
    places = {}
    for name in state.block_positions:
        touched = state.information.contacts(state.information.body(name))
        links = {link for body, link in touched if body == TABLE}
        if len(links) == 1:
            places[name] = _PLACES.get(next(iter(links)), "")
        else:
            places[name] = "stacked" if touched and {body for body, _ in touched} <= BLOCKS else ""
    return places


def _below(state: CalvinState, stacked: list[str]) -> set[str]:
    names = {state.information.body(name): name for name in state.block_positions}
    touched = {body for name in stacked for body, _ in state.information.contacts(state.information.body(name))}
    return {names[body] for body in touched if body in names}


def _has_room(state: CalvinState, name: str, side: str) -> bool:
    block, position = state.scene.block(name), state.block_positions[name]
    x = float(position[0]) + (PUSH_ROOM if side == "right" else -PUSH_ROOM)
    if not TABLE_LEFT < x < TABLE_RIGHT:
        return False
    for other in state.scene.blocks:
        if other.name != name:
            away = state.block_positions[other.name]
            near = ((away[0] - x) ** 2 + (away[1] - position[1]) ** 2) ** 0.5
            if near < block.half_length + other.half_length + SPARE:
                return False
    return True
