"""CALVIN's generator of evaluation sequences, for other counts and seeds than the 1000 that are stored.

``get_sequences(n)`` of calvin fa03f01 shares ``n`` among 192 initial states, draws chains for each from a generator
of the state's own until enough of them can be done by the rules below, and shuffles the whole. So a state's chains
for a small ``n`` are the first of those for a larger one, but the shuffled lists of two counts have other beginnings.
The original is seeded with 0 and cannot be told otherwise; here seed ``s`` gives state ``i`` the seed ``192 s + i`` and
the shuffle the seed ``s``, so that 0 is the original.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cache
from itertools import product

import numpy as np

from vla_bench.envs.calvin.sequences import BlockPlace, Condition, Sequence, official_sequences
from vla_bench.envs.calvin.tasks import COLOURS

LENGTH = 5
"""Subtasks of a chain."""
CONDITIONS = 192
"""Initial states of the generator."""
BATCH = 1024
"""Chains drawn at once; those that are too many are dropped."""
MOST = 20_000
"""Sequences that may be asked for; more would take hours to draw and weeks to run."""
MOST_SEED = 2**32 // CONDITIONS - 1

State = dict[str, str | int]
Needs = Mapping[str, tuple[str | int, ...]]
Effect = Mapping[str, str | int]
Way = tuple[Needs, Effect]
Told = Callable[[int, int], None]

_FREE: Needs = {"grasped": (0,)}
_SLIDERS = ("slider_right", "slider_left")


def _nobody(_done: int, _all: int) -> None:
    """Told of progress, does nothing."""


@cache
def _ways() -> tuple[tuple[str, int, tuple[Way, ...]], ...]:
    """Every task in the original's order, with its category and the ways in which it can be done: what must be so
    before, and what is so afterwards. A chain has no two tasks of one category."""
    tasks: list[tuple[str, int, tuple[Way, ...]]] = []

    def add(name: str, category: int, *ways: Way) -> None:
        tasks.append((name, category, tuple(({**needs}, effect) for needs, effect in ways)))

    def turn(name: str, category: int, what: str, before: str | int, after: str | int) -> None:
        add(name, category, ({what: (before,), **_FREE}, {what: after}))

    for verb in ("rotate", "push"):
        for colour in COLOURS:
            for side in ("right", "left"):
                block = f"{colour}_block"
                add(f"{verb}_{block}_{side}", 1, ({block: ("table",), **_FREE}, {block: "table"}))
    turn("move_slider_left", 2, "slider", "right", "left")
    turn("move_slider_right", 2, "slider", "left", "right")
    turn("open_drawer", 3, "drawer", "closed", "open")
    turn("close_drawer", 3, "drawer", "open", "closed")
    for colour in COLOURS:
        block = f"{colour}_block"
        held: Effect = {block: "grasped", "grasped": 1}
        add(f"lift_{block}_table", 4, ({block: ("table",), **_FREE}, held))
        # The door covers the half that it stands before.
        covered = (("slider_left", "right"), ("slider_right", "left"))
        ways: list[Way] = [({block: (place,), "slider": (door,), **_FREE}, held) for place, door in covered]
        add(f"lift_{block}_slider", 5, *ways)
        add(f"lift_{block}_drawer", 6, ({block: ("drawer",), "drawer": ("open",), **_FREE}, held))
    blocks = [f"{colour}_block" for colour in COLOURS]
    holding: list[tuple[str, Needs]] = [(block, {block: ("grasped",), "grasped": (1,)}) for block in blocks]
    sides: list[Way] = [
        ({**needs, "slider": (side,)}, {block: f"slider_{side}", "grasped": 0})
        for block, needs in holding
        for side in ("right", "left")
    ]
    add("place_in_slider", 7, *sides)
    drawers: list[Way] = [({**needs, "drawer": ("open",)}, {block: "drawer", "grasped": 0}) for block, needs in holding]
    add("place_in_drawer", 7, *drawers)
    pairs = [(top, bottom) for top in blocks for bottom in blocks if top != bottom]
    stacked: list[Way] = [
        (
            {top: ("grasped",), bottom: ("table",), "grasped": (1,)},
            {top: "stacked_top", bottom: "stacked_bottom", "grasped": 0},
        )
        for top, bottom in pairs
    ]
    add("stack_block", 10, *stacked)
    apart: list[Way] = [
        ({top: ("stacked_top",), bottom: ("stacked_bottom",), **_FREE}, {top: "table", bottom: "table"})
        for top, bottom in pairs
    ]
    add("unstack_block", 11, *apart)
    turn("turn_on_lightbulb", 8, "lightbulb", 0, 1)
    turn("turn_off_lightbulb", 8, "lightbulb", 1, 0)
    turn("turn_on_led", 8, "led", 0, 1)
    turn("turn_off_led", 8, "led", 1, 0)
    pushed: list[Way] = []
    for block in blocks:
        away: dict[str, tuple[str | int, ...]] = {other: _SLIDERS for other in blocks if other != block}
        pushed.append(({block: ("table",), **away, "drawer": ("open",), **_FREE}, {block: "drawer", "grasped": 0}))
    add("push_into_drawer", 9, *pushed)
    return tuple(tasks)


def initial_conditions() -> tuple[Condition, ...]:
    """The 192 of the generator, in its order: one or two blocks on the table, none of the others in one place."""
    places: tuple[BlockPlace, ...] = ("table", "slider_right", "slider_left")
    return tuple(
        Condition(led, bulb, slider, drawer, red, blue, pink)  # type: ignore[arg-type]
        for led, bulb, slider, drawer, red, blue, pink in product(
            (0, 1), (0, 1), ("right", "left"), ("closed", "open"), places, places, places
        )
        if is_placement((red, blue, pink))
    )


def is_placement(places: tuple[str, str, str]) -> bool:
    """Whether the initial state of a sequence has a place for each of its blocks."""
    on_table = places.count("table")
    return on_table in (1, 2) and all(places.count(side) < 2 for side in _SLIDERS)


def impossible(sequence: Sequence) -> str:
    """The first subtask that the generator's rules do not allow where the chain has come to, or that they allow in
    two ways; empty when all can be done."""
    by_name = {name: ways for name, _, ways in _ways()}
    state: State = dataclasses.asdict(sequence.condition)
    for subtask in sequence.subtasks:
        found = [effect for needs, effect in by_name[subtask] if _holds(state, needs)]
        if len(found) != 1:
            return subtask
        state.update(found[0])
    return ""


def _holds(state: State, needs: Needs) -> bool:
    return all(state[name] in values for name, values in needs.items())


def _possible(condition: Condition, numbers: list[int]) -> bool:
    """Whether these tasks, by their numbers, can be done in a row in one way each."""
    tasks, state = _ways(), dataclasses.asdict(condition)
    for number in numbers:
        found = [effect for needs, effect in tasks[number][2] if _holds(state, needs)]
        if len(found) != 1:
            return False
        state.update(found[0])
    return True


def _drawn(condition: Condition, count: int, seed: int) -> list[tuple[str, ...]]:
    """The first ``count`` chains of a state, by rejection."""
    tasks = _ways()
    state: State = dataclasses.asdict(condition)
    # Most draws fail at their first task or have two of one category, so whole batches are sieved by these.
    begins = np.array([sum(_holds(state, needs) for needs, _ in ways) == 1 for _, _, ways in tasks])
    categories = np.array([category for _, category, _ in tasks])
    draw = np.random.RandomState(seed).permutation
    found: list[tuple[str, ...]] = []
    while len(found) < count:
        orders = np.array([draw(len(tasks))[:LENGTH] for _ in range(BATCH)])
        kinds = np.sort(categories[orders], axis=1)
        sieved = orders[begins[orders[:, 0]] & (kinds[:, 1:] != kinds[:, :-1]).all(axis=1)]
        found += [tuple(tasks[n][0] for n in numbers) for numbers in sieved.tolist() if _possible(condition, numbers)]
    return found[:count]


@cache
def _stored() -> dict[Condition, list[tuple[str, ...]]]:
    """The chains of each state among the official 1000, in the order in which they were drawn."""
    official = official_sequences()
    order = list(range(len(official)))
    np.random.RandomState(0).shuffle(order)
    chains: dict[Condition, list[tuple[str, ...]]] = {condition: [] for condition in initial_conditions()}
    for _, sequence in sorted(zip(order, official, strict=True)):
        chains[sequence.condition].append(sequence.subtasks)
    return chains


def generated_sequences(count: int, seed: int = 0, told: Told = _nobody) -> tuple[Sequence, ...]:
    """What the original's ``get_sequences(count)`` returns; see this module for other seeds.

    Up to 1000 with seed 0 they are looked up. Else they are drawn, which takes about 25 ms each.

    Args:
        count: how many, at least 1.
        seed: 0 is the original's.
        told: called with states done, and 192.
    """
    conditions = initial_conditions()
    fewest, more = divmod(count, CONDITIONS)
    found: list[Sequence] = []
    for index, condition in enumerate(conditions):
        wanted = fewest + (index < more)
        chains = _stored()[condition][:wanted] if seed == 0 else []
        if len(chains) < wanted:
            chains = _drawn(condition, wanted, CONDITIONS * seed + index)
        found += [Sequence(condition, subtasks) for subtasks in chains]
        told(index + 1, CONDITIONS)
    order = list(range(count))
    np.random.RandomState(seed).shuffle(order)
    return tuple(found[place] for place in order)
