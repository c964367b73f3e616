"""Every task at the edge of its rule, on made-up information."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vla_bench.envs.calvin.oracle import rotation_between
from vla_bench.envs.calvin.snapshot import Snapshot
from vla_bench.envs.calvin.tasks import TASKS, solved, solved_tasks

RED, BLUE, PINK = 2, 3, 4
BLOCKS = {"block_red": RED, "block_blue": BLUE, "block_pink": PINK}
ROBOT, TABLE, FLOOR = 0, 5, 6
TOP, DRAWER, PLANK = (TABLE, -1), (TABLE, 3), (TABLE, 6)
HAND = (ROBOT, 9)
PLACES = {RED: (0.0, -0.1, 0.46), BLUE: (0.2, -0.1, 0.46), PINK: (-0.2, -0.1, 0.46)}
STILL = (0.0,) * 6


def scene(**changes) -> Snapshot:
    """Three blocks at rest on the table top, all closed and off, the robot in the air."""
    bodies = (RED, BLUE, PINK)
    plain = Snapshot(
        bodies=BLOCKS,
        positions=PLACES,
        quaternions=dict.fromkeys(bodies, (0.0, 0.0, 0.0, 1.0)),
        velocities=dict.fromkeys(bodies, STILL),
        touched={ROBOT: frozenset(), **dict.fromkeys(bodies, frozenset({TOP}))},
        joints={"slide": 0.1, "drawer": 0.05},
        lights={"lightbulb": 0, "led": 0},
    )
    merged = {
        name: {**getattr(plain, name), **({k: frozenset(v) for k, v in new.items()} if name == "touched" else new)}
        for name, new in changes.items()
    }
    return dataclasses.replace(plain, **merged)


def turned(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> tuple[float, ...]:
    return tuple(Rotation.from_euler("xyz", (x, y, z), degrees=True).as_quat().tolist())


def moved(body: int, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> dict:
    here = PLACES[body]
    return {body: (here[0] + x, here[1] + y, here[2] + z)}


START = scene()


def test_nothing_is_solved_when_nothing_changes():
    assert solved_tasks(START, START) == set()
    assert len(TASKS) == 34


@pytest.mark.parametrize("seed", range(5))
def test_the_rotation_between_two_orientations_is_scipys(seed):
    first, second = Rotation.random(2, random_state=seed)
    angles = rotation_between(first.as_quat() * 3.0, second.as_quat())
    np.testing.assert_allclose(angles, (second * first.inv()).as_euler("xyz", degrees=True), atol=1e-9)


@pytest.mark.parametrize("colour", ["red", "blue", "pink"])
def test_rotate(colour):
    body = BLOCKS[f"block_{colour}"]

    def verdicts(quaternion, start=(0.0, 0.0, 0.0, 1.0), **changes):
        before = scene(quaternions={body: start})
        after = scene(quaternions={body: quaternion}, **changes)
        return [solved(f"rotate_{colour}_block_{side}", before, after) for side in ("left", "right")]

    assert verdicts(turned(z=61)) == [True, False]
    assert verdicts(turned(z=-61)) == [False, True]
    assert verdicts(turned(z=59)) == verdicts(turned(z=-59)) == [False, False]
    assert verdicts(turned(z=179)) == [True, False]
    assert verdicts(turned(z=-179)) == [False, True]
    assert verdicts(turned(z=100), turned(z=30)) == [True, False], "the turn counts, not the orientation"
    assert verdicts(turned(z=30), turned(z=100)) == [False, True]
    assert verdicts(turned(z=70), turned(z=30)) == [False, False]
    for tilt in ({"x": 1}, {"x": -1}, {"y": 1}, {"y": -1}):
        (axis, sign), *_ = tilt.items()
        assert verdicts(turned(z=70, **{axis: 29 * sign})) == [True, False]
        assert verdicts(turned(z=70, **{axis: 31 * sign})) == [False, False]
    assert verdicts(turned(z=70), positions=moved(body, x=0.06, y=0.079)) == [True, False]
    assert verdicts(turned(z=70), positions=moved(body, x=0.06, y=0.081)) == [False, False]
    assert verdicts(turned(z=70), touched={body: {HAND}}) == [False, False], "still in the hand"
    assert verdicts(turned(z=70), touched={body: {HAND, TOP}}) == [True, False]
    assert verdicts(turned(z=70), touched={body: ()}) == [False, False], "in the air"


@pytest.mark.parametrize("colour", ["red", "blue", "pink"])
def test_push(colour):
    body = BLOCKS[f"block_{colour}"]

    def verdicts(x, before=START, **changes):
        after = scene(positions=moved(body, x=x, y=0.5), **changes)
        return [solved(f"push_{colour}_block_{side}", before, after) for side in ("right", "left")]

    assert verdicts(0.101) == [True, False]
    assert verdicts(-0.101) == [False, True]
    assert verdicts(0.099) == verdicts(-0.099) == [False, False]
    assert verdicts(0.2, touched={body: {TOP, HAND}}) == [True, False]
    assert verdicts(0.2, touched={body: {HAND}}) == [False, False], "no longer on what it lay on"
    assert verdicts(0.2, touched={body: {DRAWER}}) == [False, False]
    held = scene(touched={body: {HAND}})
    assert verdicts(0.2, held) == [False, False], "it lay on nothing"
    both = scene(touched={body: {TOP, DRAWER, HAND}})
    assert verdicts(0.2, both) == [False, False]
    assert verdicts(0.2, both, touched={body: {TOP, DRAWER}}) == [True, False]


@pytest.mark.parametrize(
    ("joint", "more", "less", "enough"),
    [("slide", "move_slider_left", "move_slider_right", 0.15), ("drawer", "open_drawer", "close_drawer", 0.12)],
)
def test_doors(joint, more, less, enough):
    for by, wanted in (
        (enough + 1e-3, {more}),
        (enough - 1e-3, set()),
        (1e-3 - enough, set()),
        (-enough - 1e-3, {less}),
    ):
        after = scene(joints={joint: START.joint(joint) + by})
        assert solved_tasks(START, after) == wanted


@pytest.mark.parametrize("colour", ["red", "blue", "pink"])
@pytest.mark.parametrize(
    ("place", "link", "height"), [("table", TOP, 0.05), ("slider", PLANK, 0.03), ("drawer", DRAWER, 0.05)]
)
def test_lift(colour, place, link, height):
    body, task = BLOCKS[f"block_{colour}"], f"lift_{colour}_block_{place}"
    before = scene(touched={body: {link, HAND}})

    def verdict(z, touched, before=before):
        return solved(task, before, scene(positions=moved(body, x=0.3, z=z), touched={body: touched}))

    assert verdict(height + 1e-3, {HAND})
    assert not verdict(height - 1e-3, {HAND})
    assert not verdict(height + 1e-3, {HAND, (FLOOR, -1)})
    assert not verdict(height + 1e-3, ())
    for other in {TOP, PLANK, DRAWER} - {link}:
        assert not verdict(height + 1e-3, {HAND}, scene(touched={body: {other}}))


@pytest.mark.parametrize(("task", "link"), [("place_in_slider", PLANK), ("place_in_drawer", DRAWER)])
@pytest.mark.parametrize("body", [RED, BLUE, PINK])
def test_place(task, link, body):
    held = scene(touched={ROBOT: {(body, -1)}, body: {HAND}})

    def verdict(before=held, **touched):
        return solved(task, before, scene(touched={body: {link}, **{int(k[1:]): v for k, v in touched.items()}}))

    assert verdict()
    assert verdict(_0={(TABLE, 3)}), "the robot may touch something else"
    assert not verdict(_0={(body, -1)}), "not let go"
    assert not solved(task, held, scene(touched={body: {TOP}}))
    assert not verdict(scene(touched={ROBOT: {(body, -1)}, body: {HAND, TOP}})), "it was not held alone"
    other = RED + (body - RED + 1) % 3
    assert not verdict(scene(touched={ROBOT: {(other, -1)}, other: {HAND}, body: {HAND}}))
    assert not verdict(scene(touched={ROBOT: {(body, -1), (TABLE, 3)}, body: {HAND}})), "it held more than that"
    assert not verdict(scene(touched={body: {HAND}})), "it held nothing"
    assert not solved(task, scene(touched={ROBOT: {(TABLE, 3)}}), scene(touched={body: {link}}))


def test_stack_and_unstack():
    below, above = {TOP, (RED, -1)}, {(PINK, -1)}
    stacked = scene(touched={RED: above, PINK: below})
    assert solved_tasks(START, stacked) == {"stack_block"}
    assert solved_tasks(stacked, START) == {"unstack_block"}
    held = scene(touched={RED: {(PINK, -1), HAND}, PINK: below})
    assert solved_tasks(START, held) == set() == solved_tasks(held, START), "it rests on the hand, too"
    floating = scene(touched={RED: ()})
    assert solved_tasks(START, floating) == set() == solved_tasks(floating, START)
    leaning = scene(touched={RED: {TOP, (PINK, -1)}, PINK: below})
    assert solved("stack_block", leaning, stacked) is False, "they touched before"
    assert solved("unstack_block", stacked, leaning) is False, "they still touch"
    for component in range(6):
        for sign in (1, -1):
            for speed, calm in ((0.99, True), (1.0, False)):
                velocity = tuple(sign * speed if i == component else 0.0 for i in range(6))
                falling = dataclasses.replace(stacked, velocities={**stacked.velocities, RED: velocity})
                assert solved("stack_block", START, falling) is calm
                assert solved("unstack_block", falling, START) is calm


@pytest.mark.parametrize("light", ["lightbulb", "led"])
def test_lights(light):
    on = scene(lights={light: 1})
    assert solved_tasks(START, on) == {f"turn_on_{light}"}
    assert solved_tasks(on, START) == {f"turn_off_{light}"}
    assert solved_tasks(on, on) == set()


@pytest.mark.parametrize("body", [RED, BLUE, PINK])
def test_push_into_drawer(body):
    def verdict(before, after):
        return solved("push_into_drawer", scene(touched={body: before}), scene(touched={body: after}))

    assert verdict({TOP}, {DRAWER})
    assert verdict({TOP}, {DRAWER, HAND, TOP}), "carrying counts, as in the original"
    assert not verdict({TOP, HAND}, {DRAWER})
    assert not verdict({PLANK}, {DRAWER})
    assert not verdict({TOP}, {PLANK})
    assert not solved("push_into_drawer", START, START)


def test_the_edges_themselves():
    """Exactly as far as a rule says is not further."""
    assert not solved("rotate_red_block_left", START, scene(quaternions={RED: turned(z=180)}))
    slide = scene(joints={"slide": 0.0})
    assert not solved("move_slider_left", slide, scene(joints={"slide": 0.15}))
    assert not solved("move_slider_right", scene(joints={"slide": 0.15}), slide)
    at, zero = scene(positions={RED: (0.1, 0.0, 0.0)}), scene(positions={RED: (0.0, 0.0, 0.0)})
    assert not solved("push_red_block_right", zero, at)
    assert not solved("push_red_block_left", at, zero)
    raised = scene(positions={RED: (0.0, 0.0, 0.05)}, touched={RED: {HAND}})
    assert not solved("lift_red_block_table", zero, raised)
    shifted = scene(positions={RED: (0.1, 0.0, 0.0)}, quaternions={RED: turned(z=90)})
    assert solved("rotate_red_block_left", zero, shifted)
    assert math.isclose(rotation_between(turned(), turned(y=90))[1], 90.0)
