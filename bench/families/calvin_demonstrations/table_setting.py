"""Sets a play table for a task: door, drawer and lights as it asks, blocks wherever there is room.

Everything is drawn from a generator that is given, so that the same generator sets the same table.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from vla_bench.envs.calvin.initial_states import SWITCH_ON
from vla_bench.envs.calvin.scenes import BLOCK_HALF_WIDTH, Block, Scene
from vla_bench.envs.calvin.task_suite import HELD_TASKS
from vla_bench.policies.expert.furniture import (
    BUTTON_RADIUS,
    DOOR_HALF_WIDTH,
    DRAWER_FLOOR,
    DRAWER_FRONT,
    LAYOUTS,
    TABLE_FRONT,
)
from vla_bench.policies.expert.placing import DOOR_MARGIN, WALL_MARGIN

DRAWER_OPEN = 0.22
SLIDE_LEFT = {"A": 0.28, "B": 0.304, "C": 0.24, "D": 0.28}
"""The joint when the sliding door is on the left: its upper limit, metres."""
LEAST_OPEN = 0.17
"""Of a drawer in a varied setting, metres."""
SLIDE_SHIFT = 0.02
"""How far the door may be from its end in a varied setting, metres."""
GAP = 0.025
"""Least room between blocks, and between a block and the button, metres."""
CABINET_Y = (0.088, 0.098)
PUSH_ROOM = 0.125
"""Room that a block to be pushed needs at its side, metres."""


class Redraw(Exception):
    """The draw came to nothing; draw again."""


def subject_of(scene: Scene, task: str, generator: np.random.Generator) -> Block | None:
    """The block a task is about; drawn where the task names none."""
    for block in scene.blocks:
        if f"_{block.name.removeprefix('block_')}_" in task:
            return block
    if task in (*HELD_TASKS, "unstack_block", "push_into_drawer"):
        return scene.blocks[generator.integers(3)]
    return None


class TableSetting:
    """A table being set. ``varied``: door and drawer are not quite at their ends, and a block that the task is not
    about may lie in the drawer."""

    def __init__(self, scene: Scene, generator: np.random.Generator, varied: bool = False) -> None:
        self.scene = scene
        self.generator = generator
        self.varied = varied
        self.opening, self.slide_shift = DRAWER_OPEN, 0.0
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
        if self.varied:
            self.opening = self.generator.uniform(LEAST_OPEN, DRAWER_OPEN)
            self.slide_shift = self.generator.uniform(0.0, SLIDE_SHIFT)

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
            if subject is not None and task == "unstack_block":
                x, y, z, yaw = self.poses[below.name]
                self.poses[subject.name] = (
                    x,
                    y,
                    z + 2 * BLOCK_HALF_WIDTH,
                    yaw + self.generator.uniform(-0.2, 0.2),
                )
        places = [self.table, self.cabinet, *([self.drawer] if self.varied and self.drawer_open else [])]
        for block in others:
            self.put(block, places[self.generator.integers(len(places))])
        self.poses.pop("room", None)

    def put(self, block: Block, place: Callable[[], tuple[float, float, float, float]]) -> None:
        """Draws poses until the block has room around it."""
        for _ in range(200):
            pose = place()
            if self._has_room(block, pose):
                self.poses[block.name] = pose
                return
        raise Redraw

    def keep_room(self, block: Block, side: float) -> None:
        """Blocks the place beside a block to the others; Redraw if it is not free."""
        x, y, z, yaw = self.poses[block.name]
        there = (x + side * PUSH_ROOM, y, z, yaw)
        if not self._has_room(block, there, but=block.name) or not -0.40 < there[0] < 0.38:
            raise Redraw
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
        front, back = DRAWER_FRONT - self.opening, TABLE_FRONT
        y = g.uniform(front + 0.09, back - 0.06)
        return x, y, DRAWER_FLOOR + BLOCK_HALF_WIDTH, g.uniform(0.0, math.pi)

    def scene_obs(self) -> list[float]:
        """(24,) as in :func:`vla_bench.envs.calvin.state.scene_obs_names`."""
        slide = SLIDE_LEFT[self.scene.name] - self.slide_shift if self.door_left else self.slide_shift
        values = [slide, self.opening * self.drawer_open, 0.0, SWITCH_ON * self.bulb, self.bulb, self.led]
        for block in self.scene.blocks:
            x, y, z, yaw = self.poses[block.name]
            values += [x, y, z, 0.0, 0.0, yaw]
        return [float(value) for value in values]
