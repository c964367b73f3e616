"""The renderer: a loaded world and a camera in, pixels out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vla_bench.envs.calvin.cameras import View
from vla_bench.envs.calvin.renderers.fast.drawing import Workspace, cast_shadows, draw_parts, rank_parts
from vla_bench.envs.calvin.renderers.fast.library import Library
from vla_bench.envs.calvin.renderers.fast.light import WINDOW_TEXELS, light_table
from vla_bench.envs.calvin.renderers.fast.posed import PosedScene
from vla_bench.envs.calvin.renderers.fast.rasteriser import DEPTH_STEPS, FARTHEST, NOTHING, RANK_BITS
from vla_bench.envs.calvin.renderers.fast.shading import backdrop, fill_surfaces, illuminate
from vla_bench.envs.calvin.renderers.look import Look
from vla_bench.envs.calvin.world import World

VERSION = "1"
"""Goes up whenever a pixel may change."""


_EVERYWHERE = np.array((-(1 << 40), 1 << 40, -(1 << 40), 1 << 40))
_NOWHERE = np.array((0, -1, 0, -1))
"""Texels of the shadow map: first and last column, first and last row."""
_NO_SHADOWS = np.zeros((1, 1), dtype=np.uint16)

STILL_CAMERAS = frozenset({"static"})
"""Cameras that see what is at rest from one place, so that it can be kept."""


class _Backdrop(NamedTuple):
    """What is at rest, as a camera that never moves sees it."""

    epoch: int
    view: View
    depths: np.ndarray
    """(H, W) int32: depth with rank 0."""
    parts: np.ndarray
    """(H, W) intp: which part is seen; one past the last for none."""
    surfaces: np.ndarray
    """(H, W, SURFACE_FIELDS) float32."""
    colours: np.ndarray
    """(H, W, 3) uint8: the surfaces under the shadows of what is at rest."""


class _Canvas(NamedTuple):
    """Where a picture of some size is made; kept, since fresh memory costs more than what is drawn on it."""

    owners: np.ndarray
    """(H, W) int32: triangle of each pixel."""
    depths: np.ndarray
    """(H, W) int32."""
    seen: np.ndarray
    """(H, W, SURFACE_FIELDS) float32: surfaces of the triangles."""
    nothing: np.ndarray
    """(H, W, SURFACE_FIELDS) float32: the background everywhere."""
    nothing_lit: np.ndarray
    """(H, W, 3) uint8: its colours."""

    @staticmethod
    def of(height: int, width: int) -> _Canvas:
        nothing = backdrop(height, width)
        owners, depths = np.zeros((2, height, width), np.int32)
        colours = np.zeros((height, width, 3), np.uint8)
        illuminate(owners, nothing, nothing, colours, _EVERYWHERE, _NO_SHADOWS, colours, np.float32(1))
        return _Canvas(owners, depths, np.zeros_like(nothing), nothing, colours)


class FastRenderer:
    """Draws what PyBullet's OpenGL renderer draws, on the processor."""

    def __init__(self, bullet: Any, library: Library | None = None) -> None:
        """``library`` reads meshes; by default one that simplifies them."""
        self._bullet = bullet
        self._library = library or Library()
        self._scenes: dict[tuple[Path, str, int], _Stage] = {}
        self._stage: _Stage | None = None

    def load(self, world: World) -> None:
        """See :class:`vla_bench.envs.calvin.renderers.Renderer`."""
        scene = world.shown
        if scene not in self._scenes:
            self._scenes[scene] = _Stage(PosedScene(self._bullet, world, self._library))
        self._stage = self._scenes[scene]
        self._stage.posed.begin(world)

    def relook(self, look: Look) -> None:
        """See :class:`vla_bench.envs.calvin.renderers.Renderer`."""
        if self._stage is None:
            raise RuntimeError("relook() before load()")
        self._stage.relook(look)

    def render(self, view: View) -> tuple[np.ndarray, np.ndarray | None]:
        """See :class:`vla_bench.envs.calvin.renderers.Renderer`."""
        if self._stage is None:
            raise RuntimeError("render() before load()")
        return self._stage.render(view)

    def describe(self) -> dict[str, str]:
        """See :class:`vla_bench.envs.calvin.renderers.Renderer`."""
        import numba

        return {
            "name": "fast",
            "renderer": f"software rasteriser {VERSION}, modelled on PyBullet's OpenGL renderer",
            "numba": numba.__version__,
        }

    def close(self) -> None:
        """Lets go of meshes and images."""
        self._scenes.clear()
        self._stage = None


class _Stage:
    """One scene with everything that is kept between its frames."""

    def __init__(self, posed: PosedScene) -> None:
        self.posed = posed
        self._workspace = Workspace.of(len(posed.scene.positions))
        self._shadows = np.zeros((WINDOW_TEXELS, WINDOW_TEXELS), dtype=np.uint16)
        self._shadows_at_rest = np.zeros_like(self._shadows)
        self._touched = _NOWHERE.copy()
        """Texels in which the two differ, at most."""
        self._shadows_epoch = self._shadows_frame = -1
        self._backdrop: _Backdrop | None = None
        self._canvases: dict[tuple[int, int], _Canvas] = {}
        self._strength = np.float32(1)
        self._dyes = posed.scene.colours.copy()

    def relook(self, look: Look) -> None:
        posed = self.posed
        posed.cover(look)
        scene = posed.scene
        scene.light[:] = light_table(np.array(look.light_position))
        self._strength = np.float32(look.light_strength)
        tints = [look.tint(body, link) for body, link in posed.places]
        scene.colours[:, :3] = self._dyes[:, :3] * np.array(tints, dtype=np.float32)
        posed.begin(posed.world)

    def render(self, view: View) -> tuple[np.ndarray, np.ndarray | None]:
        posed, scene = self.posed, self.posed.scene
        posed.update()
        self._cast_shadows()
        ranks = drawing_order(view, scene.worlds)
        canvas = self._canvas(view.height, view.width)
        owners, depths, seen, behind, settled = canvas
        owners.fill(NOTHING)
        if view.name in STILL_CAMERAS:
            rest = self._see_at_rest(view, ranks)
            np.take(np.append(ranks, np.int32(0)), rest.parts, out=depths, mode="clip")
            depths |= rest.depths
            behind, settled = rest.surfaces, rest.colours
            parts = posed.moving
        else:
            depths.fill(FARTHEST)
            parts = np.arange(len(ranks))
        self._draw(view, parts, ranks, depths, owners)
        fill_surfaces(owners, scene, seen)
        colours = np.empty((*owners.shape, 3), dtype=np.uint8)
        illuminate(owners, seen, behind, settled, self._touched, self._shadows, colours, self._strength)
        if not view.depth:
            return colours, None
        buffer = (depths >> RANK_BITS).astype(np.float32) / np.float32(DEPTH_STEPS)
        return colours, view.metric_depth(np.minimum(buffer, np.float32(1)))

    def _canvas(self, height: int, width: int) -> _Canvas:
        size = height, width
        if size not in self._canvases:
            self._canvases[size] = _Canvas.of(height, width)
        return self._canvases[size]

    def _cast_shadows(self) -> None:
        posed = self.posed
        if self._shadows_frame == posed.frame:
            return
        if self._shadows_epoch != posed.epoch:
            rest = self._shadows_at_rest
            rest.fill(DEPTH_STEPS)
            cast_shadows(posed.scene, posed.at_rest, posed.scene.light[2:], self._workspace, rest, self._touched)
            np.copyto(self._shadows, rest)
            self._shadows_epoch = posed.epoch
        else:
            left, right, top, bottom = self._touched
            window = slice(top, bottom + 1), slice(left, right + 1)
            self._shadows[window] = self._shadows_at_rest[window]
        moving = posed.moving
        cast_shadows(posed.scene, moving, posed.scene.light[2:], self._workspace, self._shadows, self._touched)
        self._shadows_frame = posed.frame

    def _draw(self, view: View, parts: np.ndarray, ranks: np.ndarray, depths: np.ndarray, owners: np.ndarray) -> None:
        scene = self.posed.scene
        camera = _camera_matrix(view)
        draw_parts(scene, parts, ranks, camera, view.near, view.far, self._workspace, depths, owners)

    def _see_at_rest(self, view: View, ranks: np.ndarray) -> _Backdrop:
        posed = self.posed
        if self._backdrop is None or (self._backdrop.epoch, self._backdrop.view) != (posed.epoch, view):
            depths = np.full((view.height, view.width), FARTHEST, dtype=np.int32)
            owners = np.full(depths.shape, NOTHING, dtype=np.int32)
            self._draw(view, posed.at_rest, ranks, depths, owners)
            surfaces = backdrop(*depths.shape)
            fill_surfaces(owners, posed.scene, surfaces)
            parts = np.where(owners == NOTHING, len(ranks), posed.scene.part_of[owners])
            depths = (depths >> RANK_BITS) << RANK_BITS
            colours = np.empty((*owners.shape, 3), dtype=np.uint8)
            owners.fill(NOTHING)
            illuminate(owners, surfaces, surfaces, colours, _EVERYWHERE, self._shadows_at_rest, colours, self._strength)
            self._backdrop = _Backdrop(posed.epoch, view, depths, parts, surfaces, colours)
        return self._backdrop


def drawing_order(view: View, worlds: np.ndarray) -> np.ndarray:
    """Rank of each part (P,) int32: the farthest along the optical axis is drawn first."""
    ranks = np.empty(len(worlds), dtype=np.int32)
    rank_parts(worlds, np.array((view.view[2], view.view[6], view.view[10])), ranks)
    return ranks


def _camera_matrix(view: View) -> np.ndarray:
    """(3, 4): world position to (column w, row w, w), pixel centres at whole numbers."""
    # In plain floats: the order in which a library adds four products is its own affair.
    eye = [view.view[4 * column : 4 * column + 4] for column in range(4)]
    projection = [view.projection[4 * column : 4 * column + 4] for column in range(4)]
    x, y, w = ([sum(eye[column][k] * projection[k][row] for k in range(4)) for column in range(4)] for row in (0, 1, 3))
    half_width, half_height = 0.5 * view.width, 0.5 * view.height
    return np.array(
        [
            [half_width * x[i] + (half_width - 0.5) * w[i] for i in range(4)],
            [-half_height * y[i] + (half_height - 0.5) * w[i] for i in range(4)],
            w,
        ]
    )
