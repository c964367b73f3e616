"""Draws and checks the states of the task suite, and writes them: ``python -m tools.make_task_suite``.

A state is drawn from what the task asks for (where its block lies, which way the door and the
drawer stand, which light is on) and is kept only if it proves itself: nothing touches what it should
not, the oracle's start conditions hold, and standing still solves nothing. Where the task begins
with a block in the hand, the expert first lifts one.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np

from vla_bench.envs.calvin.bundle import ENVIRONMENT_VARIABLE, find_bundle
from vla_bench.envs.calvin.initial_states import ROBOT_OBS, SWITCH_ON
from vla_bench.envs.calvin.oracle import BLOCKS, DRAWER_LINK, PLANK_LINK, ROBOT, TABLE
from vla_bench.envs.calvin.scenes import BLOCK_HALF_WIDTH, SCENES, Block, Scene
from vla_bench.envs.calvin.simulation import CalvinSimulation
from vla_bench.envs.calvin.task_suite import DATA, MICRO
from vla_bench.envs.calvin.tasks import TASKS
from vla_bench.envs.observation import Observation
from vla_bench.envs.simulation import EpisodeStart, environment_spec
from vla_bench.policies.base import SubtaskContext
from vla_bench.policies.expert import ExpertPolicy
from vla_bench.policies.expert.furniture import (
    BUTTON_RADIUS,
    DOOR_HALF_WIDTH,
    DRAWER_FLOOR,
    DRAWER_FRONT,
    LAYOUTS,
    TABLE_FRONT,
)
from vla_bench.policies.expert.placing import DOOR_MARGIN, WALL_MARGIN

STATES = 30
"""States per scene and task."""
SEED = 2026
DRAWER_OPEN = 0.22
SLIDE_LEFT = {"A": 0.28, "B": 0.304, "C": 0.24, "D": 0.28}
"""The joint when the sliding door is on the left: its upper limit, metres."""
GAP = 0.025
"""Least room between blocks, and between a block and the button, metres."""
CABINET_Y = (0.088, 0.098)
PUSH_ROOM = 0.125
"""Room that a block to be pushed needs at its side, metres."""
STILL_STEPS = 60
OPENING, CLOSING = np.array((0.0,) * 6 + (1.0,)), np.array((0.0,) * 6 + (-1.0,))
HELD_TASKS = ("place_in_slider", "place_in_drawer", "stack_block")
SQUEEZE = 0.0006
"""How much nearer to each other than recorded the fingers are set around a held block, metres."""
HELD_CLEARANCE = 0.03


class _Redraw(Exception):
    """The draw came to nothing; draw again."""


def main() -> None:
    """Writes ``envs/calvin/data/task_suite.npz`` from the seed alone."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--states", type=int, default=STATES, help="per scene and task")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--scenes", default=",".join(SCENES))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("envs/calvin") / DATA)
    arguments = parser.parse_args()
    scenes, tasks = arguments.scenes.split(","), arguments.tasks.split(",")
    print(f"checking in the asset bundles: {', '.join(_bundles())}")
    cells = list(itertools.product(scenes, tasks))
    with ProcessPoolExecutor(arguments.workers) as pool:
        drawn = list(pool.map(make_cell, *zip(*cells, strict=True), itertools.repeat(arguments.states)))
    vectors = {
        name: np.array([[start.state[name] for start in starts] for starts in drawn])
        for name in ("robot_obs", "scene_obs")
    }
    np.savez_compressed(
        arguments.output,
        scenes=np.array(scenes),
        tasks=np.array(tasks),
        **{
            name: np.rint(values / MICRO).astype(np.int32).reshape(len(scenes), len(tasks), *values.shape[1:])
            for name, values in vectors.items()
        },
    )
    print(f"wrote {arguments.output}")


def _bundles() -> list[str]:
    return ["builtin", *(["official"] if os.environ.get(ENVIRONMENT_VARIABLE) else [])]


@cache
def _simulations() -> list[CalvinSimulation]:
    return [CalvinSimulation(find_bundle(name)) for name in _bundles()]


def make_cell(scene: str, task: str, states: int) -> list[EpisodeStart]:
    """The states of one task in one scene."""
    drawn = list(itertools.islice(proven_states(_simulations(), SCENES[scene], task), states))
    print(f"{scene} {task}: {states} states of {drawn[-1][1]} draws", flush=True)
    return [start for start, _ in drawn]


def proven_states(simulations: list[CalvinSimulation], scene: Scene, task: str) -> Iterator[tuple[EpisodeStart, int]]:
    """Endless states of one cell that hold in all the simulations, with the draws made so far."""
    key = [SEED, ord(scene.name), *task.encode()]
    generator = np.random.default_rng(key)
    draws = 0
    while True:
        draws += 1
        try:
            start = draw(simulations[0], scene, task, generator)
            for simulation in simulations:
                prove(simulation, start, task, standing_still=simulation is simulations[0])
        except _Redraw:
            continue
        yield start, draws


# Drawing ------------------------------------------------------------------------------------------


def draw(simulation: CalvinSimulation, scene: Scene, task: str, generator: np.random.Generator) -> EpisodeStart:
    """One candidate state; _Redraw when the blocks did not fit or the prelude failed."""
    drawing = _Drawing(scene, generator)
    subject = _subject(scene, task, generator)
    drawing.set_table(task)
    drawing.place_blocks(task, subject)
    start = _rounded(scene, ROBOT_OBS, drawing.scene_obs())
    if task in HELD_TASKS:
        return _take(simulation, start, subject)
    return start


def _subject(scene: Scene, task: str, generator: np.random.Generator) -> Block | None:
    """The block a task is about; drawn where the task names none."""
    for block in scene.blocks:
        if f"_{block.name.removeprefix('block_')}_" in task:
            return block
    if task in (*HELD_TASKS, "unstack_block", "push_into_drawer"):
        return scene.blocks[generator.integers(3)]
    return None


class _Drawing:
    """A table being set."""

    def __init__(self, scene: Scene, generator: np.random.Generator) -> None:
        self.scene = scene
        self.generator = generator
        self.layout = LAYOUTS[scene.name]
        self.poses: dict[str, tuple[float, float, float, float]] = {}

    def set_table(self, task: str) -> None:
        """Door, drawer and lights: what the task asks for, else by chance."""
        flip = [bool(side) for side in self.generator.integers(2, size=4)]
        self.door_left = {"move_slider_left": False, "move_slider_right": True}.get(task, flip[0])
        opened = {"open_drawer": False, "close_drawer": True}.get(task, flip[1])
        self.drawer_open = opened or "into_drawer" in task or "in_drawer" in task or task.endswith("block_drawer")
        self.bulb = {"turn_on_lightbulb": False, "turn_off_lightbulb": True}.get(task, flip[2])
        self.led = {"turn_on_led": False, "turn_off_led": True}.get(task, flip[3])

    def place_blocks(self, task: str, subject: Block | None) -> None:
        """The task's own block first, then the others wherever there is room."""
        others = [block for block in self.scene.blocks if block is not subject]
        self.generator.shuffle(others)
        if subject is not None and task != "unstack_block":
            place = {"slider": self.open_cabinet, "drawer": self.drawer}.get(task.rsplit("_", 1)[1], self.table)
            self.put(subject, self.table if task == "push_into_drawer" or task in HELD_TASKS else place)
            if task.startswith("push_") and task != "push_into_drawer":
                self.keep_room(subject, -1.0 if task.endswith("left") else 1.0)
        if task in ("unstack_block", "stack_block"):
            below = others.pop()
            self.put(below, self.table)
            if task == "unstack_block":
                x, y, z, yaw = self.poses[below.name]
                self.poses[subject.name] = (
                    x,
                    y,
                    z + 2 * BLOCK_HALF_WIDTH,
                    yaw + self.generator.uniform(-0.2, 0.2),
                )
        for block in others:
            self.put(block, (self.table, self.cabinet)[self.generator.integers(2)])
        self.poses.pop("room", None)

    def put(self, block: Block, place: Callable[[], tuple[float, float, float, float]]) -> None:
        """Draws poses until the block has room around it."""
        for _ in range(200):
            pose = place()
            if self._has_room(block, pose):
                self.poses[block.name] = pose
                return
        raise _Redraw

    def keep_room(self, block: Block, side: float) -> None:
        """Blocks the place beside a block to the others; _Redraw if it is not free."""
        x, y, z, yaw = self.poses[block.name]
        there = (x + side * PUSH_ROOM, y, z, yaw)
        if not self._has_room(block, there, but=block.name) or not -0.40 < there[0] < 0.38:
            raise _Redraw
        self.poses["room"] = there

    def _has_room(self, block: Block, pose: tuple[float, float, float, float], but: str = "") -> bool:
        longest = max(b.half_length for b in self.scene.blocks)
        for name, other in self.poses.items():
            half = longest if name == "room" else self.scene.block(name).half_length
            if name != but and math.dist(pose[:2], other[:2]) < block.half_length + half + GAP:
                return False
        return math.dist(pose[:2], self.layout.button) > BUTTON_RADIUS + block.half_length + GAP

    def table(self) -> tuple[float, float, float, float]:
        """A pose x, y, z, yaw on the table top."""
        (left, front, z), (right, back, _) = self.scene.table
        g = self.generator
        return g.uniform(left, right), g.uniform(front, back - 0.02), z, g.uniform(0.0, math.pi)

    def open_cabinet(self) -> tuple[float, float, float, float]:
        """A pose in the half of the cabinet that the door leaves open."""
        return self.cabinet(right=self.door_left)

    def cabinet(self, right: bool | None = None) -> tuple[float, float, float, float]:
        """A pose in one half of the cabinet."""
        g = self.generator
        right = bool(g.integers(2)) if right is None else right
        surface = self.scene.slider_right if right else self.scene.slider_left
        slide = SLIDE_LEFT[self.scene.name] if right else 0.0
        # The half lies between the cabinet's side wall and the edge of the door when that is on the
        # other half.
        if right:
            left_end = self.layout.door - slide + DOOR_HALF_WIDTH + DOOR_MARGIN
            right_end = self.layout.cabinet[1] - WALL_MARGIN
        else:
            left_end = self.layout.cabinet[0] + WALL_MARGIN
            right_end = self.layout.door - slide - DOOR_HALF_WIDTH - DOOR_MARGIN
        x = g.uniform(max(surface[0][0], left_end), min(surface[1][0], right_end))
        return x, g.uniform(*CABINET_Y), surface[0][2], math.pi / 2 + g.uniform(-math.pi / 8, math.pi / 8)

    def drawer(self) -> tuple[float, float, float, float]:
        """A pose in the open drawer, clear of its walls and of the table's edge."""
        g = self.generator
        x = self.layout.drawer + g.uniform(-0.11, 0.11)
        front, back = DRAWER_FRONT - DRAWER_OPEN, TABLE_FRONT
        y = g.uniform(front + 0.09, back - 0.06)
        return x, y, DRAWER_FLOOR + BLOCK_HALF_WIDTH, g.uniform(0.0, math.pi)

    def scene_obs(self) -> list[float]:
        """(24,) as in :func:`vla_bench.envs.calvin.state.scene_obs_names`."""
        slide = SLIDE_LEFT[self.scene.name] if self.door_left else 0.0
        values = [slide, DRAWER_OPEN * self.drawer_open, 0.0, SWITCH_ON * self.bulb, self.bulb, self.led]
        for block in self.scene.blocks:
            x, y, z, yaw = self.poses[block.name]
            values += [x, y, z, 0.0, 0.0, yaw]
        return [float(value) for value in values]


def _rounded(scene: Scene, robot_obs: object, scene_obs: object) -> EpisodeStart:
    vectors = {"robot_obs": robot_obs, "scene_obs": scene_obs}
    return EpisodeStart(
        scene.name, {name: tuple(np.round(np.array(v, float), 6).tolist()) for name, v in vectors.items()}
    )


def _take(simulation: CalvinSimulation, start: EpisodeStart, subject: Block) -> EpisodeStart:
    """The state after the expert lifted the block a little higher than the lifting task asks."""
    expert = ExpertPolicy(environment_spec("calvin"))
    expert.reset(0, "", SubtaskContext("task-suite", 0, 0))
    simulation.reset(start)
    simulation.begin(f"lift_{subject.name.removeprefix('block_')}_block_table")
    for _ in range(200):
        expert.see(0, simulation.privileged())
        (action,) = expert.act([0], [Observation({})])
        if simulation.advance(action).success:
            break
    else:
        raise _Redraw
    simulation.advance(np.tile(CLOSING, (10, 1)))
    return _centred(simulation, subject)


def _centred(simulation: CalvinSimulation, subject: Block) -> EpisodeStart:
    """The simulation's state with the held block midway between the fingers.

    A reset sets both fingers to half of the gripper's width, wherever they were within the hand.
    """
    state, world = simulation.privileged(), simulation.world
    bullet = simulation._bullet
    left, right = (
        np.array(bullet.getLinkState(world.robot.body, link, physicsClientId=simulation._client)[0])
        for link in (10, 12)
    )
    opening = (left - right) / np.linalg.norm(left - right)
    scene_obs = state.scene_obs.copy()
    first = 6 + 6 * [block.name for block in state.scene.blocks].index(subject.name)
    middle = (left + right) / 2
    scene_obs[first : first + 3] += ((middle - scene_obs[first : first + 3]) @ opening) * opening
    robot_obs = state.robot_obs.copy()
    robot_obs[6] -= 2 * SQUEEZE
    return _rounded(state.scene, robot_obs, scene_obs)


# Proving ------------------------------------------------------------------------------------------


def prove(simulation: CalvinSimulation, start: EpisodeStart, task: str, *, standing_still: bool) -> None:
    """_Redraw unless the state is what the task starts from, and standing still does not solve it.

    ``standing_still``: whether to try that with nothing in the hand; with a block in it, always.
    """
    simulation.reset(start)
    _check_contacts(simulation, task)
    tried = (OPENING, CLOSING) if task in HELD_TASKS else (OPENING,) if standing_still else ()
    for gripper in tried:
        simulation.reset(start)
        simulation.begin(task)
        if simulation.advance(np.tile(gripper, (STILL_STEPS, 1))).success:
            raise _Redraw
    # The hand is closed now: what it held at first it must hold still.
    if task in HELD_TASKS:
        _check_contacts(simulation, task)


def _check_contacts(simulation: CalvinSimulation, task: str) -> None:
    world = simulation.world
    touching = {block.name: world.contacts(world.body(block.name)) for block in world.scene.blocks}
    bodies = {name: {body for body, _ in contacts} for name, contacts in touching.items()}
    held = [name for name, found in bodies.items() if found == {ROBOT}]
    on_blocks = [name for name, found in bodies.items() if found and found <= BLOCKS]
    robot = {body for body, _ in world.contacts(ROBOT)}
    lying = [name for name, found in bodies.items() if TABLE in found and ROBOT not in found]
    if task in HELD_TASKS:
        good = len(held) == 1 and robot == {world.body(held[0])} and len(lying) == 2
    elif task == "unstack_block":
        good = len(on_blocks) == 1 and len(lying) == 2 and not robot
    else:
        good = len(lying) == 3 and not robot and not any(found & BLOCKS for found in bodies.values())
    if task.startswith("lift_"):
        link = {"table": -1, "slider": PLANK_LINK, "drawer": DRAWER_LINK}[task.rsplit("_", 1)[1]]
        subject = "block_" + task.split("_")[1]
        good = good and touching[subject] == {(TABLE, link)}
    if not good:
        raise _Redraw


if __name__ == "__main__":
    main()
