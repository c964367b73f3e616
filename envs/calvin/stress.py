"""Changes of the play table that :mod:`vla_bench.envs.stress` asks for: cameras, and where an episode starts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping

import numpy as np

from vla_bench.envs.calvin.cameras import LENSES, View
from vla_bench.envs.calvin.renderers.look import GIVEN
from vla_bench.envs.calvin.scenes import Range, scene_named
from vla_bench.envs.simulation import EpisodeStart
from vla_bench.envs.stress.levels import WORLD, Stress

_LIGHT = "PyBullet's OpenGL renderer keeps its light where it is, and as strong"
EGL_CANNOT = {
    "light_turn": _LIGHT,
    "light_strength": _LIGHT,
    "textures": "PyBullet's OpenGL renderer puts textures on other parts than it is told",
}
"""By level: why the renderer ``egl`` cannot show it. As to textures, it takes the number of an instance, of which a
mesh that is loaded twice has two, for that of a shape (``changeShapeTexture``, PyBullet 3.2.7)."""
_CAMERA = 21
"""Of the seeds: keeps the draws of cameras apart from others."""
_JOINTS = slice(7, 14)
_HELD = 0.08
"""A block whose centre is nearer than this to the tool, metres, is held."""
_ON_TABLE = 0.015
"""Blocks whose centre is at most so far from the height of those on the table, metres, lie on it."""
_GAP = 0.03
"""Between two blocks that were moved, metres, beside their half lengths."""
_TRIES = 200


def displaced(view: View, levels: Stress, seed: int) -> View:
    """What a camera sees that is not quite where it should be.

    It is shifted by ``camera_shift`` metres in a direction, and turned by ``camera_turn`` degrees about an axis,
    both drawn per episode and camera; its field of view is wider by the share ``camera_fov``.
    """
    if not (levels.camera_shift or levels.camera_turn or levels.camera_fov):
        return view
    generator = np.random.default_rng((seed, _CAMERA, list(LENSES).index(view.name)))
    shift, axis = (_direction(generator) for _ in range(2))
    world_to_camera = np.array(view.view).reshape(4, 4).T
    move = np.eye(4)
    move[:3, 3] = -levels.camera_shift * shift
    turn = np.eye(4)
    turn[:3, :3] = _rotation(axis, math.radians(levels.camera_turn))
    matrix = turn @ move @ world_to_camera
    projection = list(view.projection)
    half = math.atan(1 / projection[5])
    factor = math.tan(half) / math.tan(min(half * (1 + levels.camera_fov), math.radians(85)))
    projection[0] *= factor
    projection[5] *= factor
    return dataclasses.replace(view, view=tuple(matrix.T.ravel().tolist()), projection=tuple(projection))


def changes_look(levels: Stress) -> bool:
    """Whether the scene is lit, coloured or covered otherwise."""
    return bool(levels.light_turn or levels.light_strength or levels.colours or levels.textures != GIVEN)


def refusal(levels: Collection[str], backend: str, renderer: str) -> str:
    """Why these levels cannot be had with that environment and that renderer; empty: they can."""
    if backend == "calvin_env":
        ours = [name for name in levels if name in WORLD]
        return (
            f"stress.{ours[0]} is made by our own environment: leave benchmark.backend=calvin_env out" if ours else ""
        )
    if renderer == "egl":
        for name, why in EGL_CANNOT.items():
            if name in levels:
                return f"stress.{name}: {why}; type benchmark.renderer=fast, which shows the same, or tiny"
    return ""


def _direction(generator: np.random.Generator) -> np.ndarray:
    vector = generator.standard_normal(3)
    return vector / np.linalg.norm(vector)


def _rotation(axis: np.ndarray, angle: float) -> np.ndarray:
    """Rodrigues' formula."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def moved_start(start: EpisodeStart, levels: Stress, generator: np.random.Generator) -> EpisodeStart:
    """The start with the arm's joints and the blocks on the table elsewhere.

    Each joint is moved by up to ``arm_shift`` radians, unless a block is held. A block is moved by up to
    ``block_shift`` metres, within where the scene's blocks lie on the table and clear of the others; those held,
    stacked, in the drawer or behind the door stay.
    """
    state: dict[str, tuple[float, ...]] = dict(start.state)
    shifts = generator.uniform(-1, 1, 7)
    if "robot_obs" not in state or "scene_obs" not in state:
        return start
    robot, scene_obs = np.array(state["robot_obs"]), np.array(state["scene_obs"])
    scene = scene_named(start.scene)
    blocks = scene_obs[6:].reshape(3, 6)
    held = [bool(np.linalg.norm(block[:3] - robot[:3]) < _HELD) for block in blocks]
    if levels.arm_shift and not any(held):
        robot[_JOINTS] += shifts * levels.arm_shift
        state["robot_obs"] = tuple(robot.tolist())
    if levels.block_shift:
        sizes = [block.half_length for block in scene.blocks]
        for index in range(3):
            others = [(blocks[i], sizes[i]) for i in range(3) if i != index]
            if not held[index] and _lies_free(blocks[index], others, scene.table):
                blocks[index, :2] = _place(
                    blocks[index], sizes[index], others, scene.table, levels.block_shift, generator
                )
        state["scene_obs"] = tuple(scene_obs.tolist())
    return dataclasses.replace(start, state=_plain(state))


def _plain(state: Mapping[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
    return {name: tuple(float(number) for number in numbers) for name, numbers in state.items()}


def _lies_free(block: np.ndarray, others: list[tuple[np.ndarray, float]], table: Range) -> bool:
    (_, y_low, z), (_, y_high, _) = table
    on_table = abs(block[2] - z) < _ON_TABLE and y_low - 0.05 < block[1] < y_high + 0.02
    return on_table and all(np.linalg.norm(block[:2] - other[:2]) > 0.04 for other, _ in others)


def _place(
    block: np.ndarray,
    size: float,
    others: list[tuple[np.ndarray, float]],
    table: Range,
    most: float,
    generator: np.random.Generator,
) -> np.ndarray:
    """A place (2,) at most so far from where the block is; where it is when there is none."""
    low = np.minimum(np.array(table[0][:2]), block[:2])
    high = np.maximum(np.array(table[1][:2]), block[:2])
    for _ in range(_TRIES):
        angle, radius = generator.uniform(0, 2 * math.pi), most * math.sqrt(generator.uniform())
        place = block[:2] + radius * np.array([math.cos(angle), math.sin(angle)])
        inside = bool((place >= low).all() and (place <= high).all())
        clear = all(np.linalg.norm(place - other[:2]) >= size + other_size + _GAP for other, other_size in others)
        if inside and clear:
            return place
    return block[:2]
