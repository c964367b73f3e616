"""The four scenes: which blocks they hold, in which order, and where blocks may lie.

Everything else that tells the scenes apart (joint positions and ranges, meshes, textures) is in the
table's URDF. Values: the scene files of calvin_env 797142c.
"""

from __future__ import annotations

from dataclasses import dataclass

Range = tuple[tuple[float, float, float], tuple[float, float, float]]

BLOCK_HALF_LENGTH = {"small": 0.02, "middle": 0.028, "big": 0.04}
"""Half of a block's long side, metres, after scaling."""
BLOCK_HALF_WIDTH = 0.02
"""Half of a block's two short sides, metres, after scaling."""
GLOBAL_SCALING = 0.8
"""Factor applied to the URDFs of the table and the blocks when they are loaded."""
ROBOT_BASE = (-0.34, -0.46, 0.24)
"""World position of the Panda's base, metres."""


@dataclass(frozen=True, slots=True)
class Block:
    """A movable block: a box with a long horizontal side and two short ones."""

    name: str
    """``block_red``, ``block_blue`` or ``block_pink``."""
    size: str
    """``small``, ``middle`` or ``big``."""

    @property
    def urdf(self) -> str:
        """File name below ``data/`` of an asset bundle."""
        return f"blocks/{self.name}_{self.size}.urdf"

    @property
    def half_length(self) -> float:
        """Half of the long side (the block's own x axis), metres."""
        return BLOCK_HALF_LENGTH[self.size]


@dataclass(frozen=True, slots=True)
class Scene:
    """One of the scenes A, B, C, D."""

    name: str
    blocks: tuple[Block, ...]
    """In load order, which is also the order of the poses in ``scene_obs``."""
    table: Range
    """Where blocks are dropped on the table top: lowest and highest block centre (x, y, z), metres."""
    slider_left: Range
    """The same behind the left half of the sliding door."""
    slider_right: Range
    """The same behind the right half of the sliding door."""

    @property
    def surfaces(self) -> tuple[Range, Range, Range]:
        """The surfaces in the order from which the official generator draws."""
        return (self.table, self.slider_left, self.slider_right)

    @property
    def urdf(self) -> str:
        """The table's file name below ``data/`` of an asset bundle."""
        return f"calvin_table_{self.name}/urdf/calvin_table_{self.name}.urdf"

    def block(self, name: str) -> Block:
        """The block of that name."""
        return next(block for block in self.blocks if block.name == name)


def _surface(x_low: float, x_high: float, y_low: float, y_high: float) -> Range:
    return ((x_low, y_low, 0.46), (x_high, y_high, 0.46))


def _scene(name: str, blocks: str, table: tuple[float, float], left: tuple, right: tuple) -> Scene:
    pairs = (pair.split(":") for pair in blocks.split())
    return Scene(
        name=name,
        blocks=tuple(Block(f"block_{colour}", size) for colour, size in pairs),
        table=_surface(*table, -0.15, -0.03),
        slider_left=_surface(*left, 0.05, 0.12),
        slider_right=_surface(*right, 0.05, 0.12),
    )


SCENES = {
    scene.name: scene
    for scene in (
        _scene("A", "pink:small blue:big red:middle", (-0.2, 0.35), (-0.32, -0.16), (-0.05, 0.13)),
        _scene("B", "red:small blue:big pink:middle", (-0.35, 0.15), (-0.12, 0.06), (0.15, 0.33)),
        _scene("C", "blue:small red:big pink:middle", (0.0, 0.35), (-0.12, 0.06), (0.15, 0.3)),
        _scene("D", "red:middle blue:small pink:big", (0.0, 0.35), (-0.32, -0.16), (-0.05, 0.13)),
    )
}
"""Scenes by name."""


def scene_named(name: str) -> Scene:
    """The scene of that name; ValueError names the four there are."""
    try:
        return SCENES[name]
    except KeyError:
        raise ValueError(f"unknown CALVIN scene {name!r}; there are {', '.join(SCENES)}") from None
