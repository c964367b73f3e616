"""What the Panda looks like."""

from __future__ import annotations

from envs.calvin.builtin.files import MeshFiles
from envs.calvin.builtin.shapes import Mesh
from envs.calvin.builtin.urdf import WHITE, Colour, Geometry

Visuals = tuple[tuple[Geometry, Colour], ...]


def link_visuals(files: MeshFiles, number: int) -> Visuals:
    """Link ``number`` of the arm."""
    from envs.calvin.builtin.panda_hulls import arm_hull

    return ((files.plain(f"link{number}", arm_hull(number)), WHITE),)


def hand_visuals(files: MeshFiles) -> Visuals:
    """The hand."""
    from envs.calvin.builtin.panda_hulls import hand_hull

    return ((files.plain("hand", hand_hull()), WHITE),)


def finger_visuals(files: MeshFiles, side: str, body: Mesh) -> Visuals:
    """A finger."""
    return ((files.plain(f"{side}_finger", body), WHITE),)
