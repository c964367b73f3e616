"""Parts of a scene drawn one after another: into the picture, and into the shadow map."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vla_bench.envs.calvin.renderers.fast.compiled import inlined, kernel
from vla_bench.envs.calvin.renderers.fast.kinematics import compose
from vla_bench.envs.calvin.renderers.fast.light import draw_shadow
from vla_bench.envs.calvin.renderers.fast.rasteriser import draw, project


class Workspace(NamedTuple):
    """Scratch of the kernels."""

    x: np.ndarray
    """(V,) int32, one for each position of the scene, as the next two."""
    y: np.ndarray
    """(V,) int32."""
    depth: np.ndarray
    """(V,) float32."""
    matrix: np.ndarray
    """(3, 4) float32."""
    clipped: np.ndarray
    """(4, 3) float64: the corners of a triangle cut by the near plane."""

    @staticmethod
    def of(positions: int) -> Workspace:
        """For a scene of that many positions."""
        return Workspace(
            np.zeros(positions, np.int32),
            np.zeros(positions, np.int32),
            np.zeros(positions, np.float32),
            np.zeros((3, 4), np.float32),
            np.zeros((4, 3)),
        )


@kernel
def rank_parts(worlds, back, ranks):
    """Fills ``ranks`` (P,) int32: place of each part of ``worlds`` (P, 3, 4) in the order of drawing.

    The farthest against ``back`` (3,), the direction towards the eye, comes first; equals keep
    their order.
    """
    for part in range(len(worlds)):
        mine = _nearness(worlds, part, back)
        rank = 0
        for other in range(len(worlds)):
            its = _nearness(worlds, other, back)
            if its < mine or (its == mine and other < part):
                rank += 1
        ranks[part] = rank


@inlined
def _nearness(worlds, part, back):
    near = worlds[part, 0, 3] * back[0] + worlds[part, 1, 3] * back[1]
    return near + worlds[part, 2, 3] * back[2]


@kernel
def draw_parts(scene, parts, ranks, camera, near, far, workspace, depths, owners):
    """Draws ``parts`` (N,) of ``scene``; fills ``scene.projections`` for those that may be seen.

    ``camera`` (3, 4) takes a world position to (column w, row w, w); ``ranks`` (P,) int32 is the
    drawing order of all parts. See :func:`vla_bench.envs.calvin.renderers.fast.rasteriser.draw`.
    """
    height, width = depths.shape
    matrix = workspace.matrix
    for part in parts:
        projection = scene.projections[part]
        compose(camera, scene.worlds[part], projection)
        if not _in_sight(projection, scene.spheres[part], width, height, near, far):
            continue
        for i in range(3):
            for j in range(4):
                matrix[i, j] = projection[i, j]
        first, last = scene.vertex_ranges[part]
        project(scene.positions, first, last, matrix, workspace.x, workspace.y, workspace.depth)
        first, last = scene.triangle_ranges[part]
        draw(
            scene.triangles,
            first,
            last,
            scene.positions,
            matrix,
            workspace.x,
            workspace.y,
            workspace.depth,
            workspace.clipped,
            ranks[part],
            near,
            far,
            depths,
            owners,
        )


@kernel
def _in_sight(projection, sphere, width, height, near, far):
    """Whether a sphere (centre, radius) reaches into what the camera sees."""
    x, y, w = projection[0], projection[1], projection[2]
    for plane in range(6):
        if plane == 0:
            a, b, c, d = x[0] + 0.5 * w[0], x[1] + 0.5 * w[1], x[2] + 0.5 * w[2], x[3] + 0.5 * w[3]
        elif plane == 1:
            e = width - 0.5
            a, b, c, d = e * w[0] - x[0], e * w[1] - x[1], e * w[2] - x[2], e * w[3] - x[3]
        elif plane == 2:
            a, b, c, d = y[0] + 0.5 * w[0], y[1] + 0.5 * w[1], y[2] + 0.5 * w[2], y[3] + 0.5 * w[3]
        elif plane == 3:
            e = height - 0.5
            a, b, c, d = e * w[0] - y[0], e * w[1] - y[1], e * w[2] - y[2], e * w[3] - y[3]
        elif plane == 4:
            a, b, c, d = w[0], w[1], w[2], w[3] - near
        else:
            a, b, c, d = -w[0], -w[1], -w[2], far - w[3]
        distance = a * sphere[0] + b * sphere[1] + c * sphere[2] + d
        if distance < -sphere[3] * np.sqrt(a * a + b * b + c * c):
            return False
    return True


@kernel
def cast_shadows(scene, parts, light_matrix, workspace, depths, touched):
    """Draws ``parts`` (N,) of ``scene`` into the shadow map ``depths``.

    ``light_matrix`` is :data:`vla_bench.envs.calvin.renderers.fast.light.LIGHT_MATRIX`. ``touched`` (4,) int64
    becomes the first and last column, first and last row of the texels that may have changed; the last
    are below the first when none have.
    """
    matrix = workspace.matrix
    height, width = depths.shape
    touched[0], touched[1], touched[2], touched[3] = width, -1, height, -1
    for part in parts:
        compose(light_matrix, scene.worlds[part], matrix)
        first_vertex, last_vertex = scene.vertex_ranges[part]
        first, last = scene.triangle_ranges[part]
        draw_shadow(
            scene.positions,
            first_vertex,
            last_vertex,
            scene.triangles,
            first,
            last,
            matrix,
            workspace.x,
            workspace.y,
            workspace.depth,
            depths,
        )
        for i in range(first_vertex, last_vertex):
            column, row = workspace.x[i] >> 8, workspace.y[i] >> 8
            touched[0] = min(touched[0], column)
            touched[1] = max(touched[1], column + 1)
            touched[2] = min(touched[2], row)
            touched[3] = max(touched[3], row + 1)
    touched[0], touched[2] = max(touched[0], 0), max(touched[2], 0)
    touched[1], touched[3] = min(touched[1], width - 1), min(touched[3], height - 1)
