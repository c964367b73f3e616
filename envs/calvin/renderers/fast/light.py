"""The one light of PyBullet's OpenGL renderer, and the shadows it casts.

Values: the EGL plugin of PyBullet 3.2.7 (``eglRendererVisualShapeConverter.cpp``,
``GLInstancingRenderer.cpp``). The shadow map is orthographic along the light, 4096 x 4096 over 20 m,
16 bits deep over 299 m, and shows the faces turned away from the light. Only the window of it that
CALVIN's scenes can reach is drawn here; its texels are those of the whole map.
"""

from __future__ import annotations

import numpy as np

from vla_bench.envs.calvin.renderers.fast.compiled import inlined, kernel
from vla_bench.envs.calvin.renderers.fast.rasteriser import DEPTH_STEPS, SUBPIXEL

LIGHT_POSITION = np.array((-5.0, -40.0, 200.0))
"""World, metres."""
HIGHLIGHT_EYE = np.array((-1.4547, -0.25653, 0.26047))
"""World, metres. Not the camera: the plugin's default camera (1.5 m from the origin, yaw -80, pitch
-10 degrees), since it resets the position that the shader is given before every frame."""
_MAP_TEXELS, _MAP_HALF_SIZE = 4096, 10.0
_NEAR, _FAR = 1.0, 300.0
WINDOW_TEXELS = 720
"""Side of the window that is drawn: 3.5 m."""
_WINDOW_CENTRE = np.array((-0.05, -0.2, 0.45))
"""World point in the middle of the window, metres."""


def light_matrix(position: np.ndarray = LIGHT_POSITION) -> np.ndarray:
    """:data:`LIGHT_MATRIX` of a light at ``position`` (3,), metres, as far away as PyBullet's."""
    back = position / np.linalg.norm(position)
    length = np.hypot(back[1], back[2])
    up = np.array((0.0, -back[2] / length, back[1] / length))
    side = np.cross(up, back)
    up = np.cross(back, side)
    rows = np.zeros((3, 4))
    scale = _MAP_TEXELS / (2 * _MAP_HALF_SIZE)
    rows[0, :3], rows[0, 3] = side * scale, _MAP_TEXELS / 2 - 0.5
    rows[1, :3], rows[1, 3] = up * scale, _MAP_TEXELS / 2 - 0.5
    distance = np.linalg.norm(position)
    rows[2, :3], rows[2, 3] = -back, distance - _NEAR
    rows[2] *= DEPTH_STEPS / (_FAR - _NEAR)
    corner = np.floor(rows[:2] @ [*_WINDOW_CENTRE, 1]) - WINDOW_TEXELS / 2
    rows[:2, 3] -= corner
    return rows


LIGHT_MATRIX = light_matrix()
"""(3, 4): world position to texels of the window (column, row) and depth in steps. Whole numbers are
texel centres."""


def light_table(position: np.ndarray = LIGHT_POSITION) -> np.ndarray:
    """What the shader has to know of a light at ``position`` (3,): (5, 4) float64, its position, the unit vector
    towards it, and its three rows of :func:`light_matrix`."""
    table = np.zeros((5, 4))
    table[0, :3] = position
    table[1, :3] = position / np.linalg.norm(position)
    table[2:] = light_matrix(position)
    return table


@kernel
def draw_shadow(positions, first_vertex, last_vertex, triangles, first, last, matrix, x, y, z, depths):
    """Draws the faces turned away from the light into the shadow map ``depths`` (N, N) uint16.

    ``matrix`` (3, 4) float32 takes positions to texels and depth steps; ``x``, ``y`` int32 and ``z``
    float32 are scratch, one for each vertex.
    """
    size = np.float32(SUBPIXEL)
    half = np.float32(0.5)
    m00, m01, m02, m03 = matrix[0, 0], matrix[0, 1], matrix[0, 2], matrix[0, 3]
    m10, m11, m12, m13 = matrix[1, 0], matrix[1, 1], matrix[1, 2], matrix[1, 3]
    m20, m21, m22, m23 = matrix[2, 0], matrix[2, 1], matrix[2, 2], matrix[2, 3]
    limit = np.float32(1 << 28)
    for i in range(first_vertex, last_vertex):
        px, py, pz = positions[i, 0], positions[i, 1], positions[i, 2]
        column = (m00 * px + m01 * py + m02 * pz + m03) * size
        row = (m10 * px + m11 * py + m12 * pz + m13) * size
        x[i] = np.int32(np.floor(min(max(column, -limit), limit) + half))
        y[i] = np.int32(np.floor(min(max(row, -limit), limit) + half))
        z[i] = m20 * px + m21 * py + m22 * pz + m23
    for t in range(first, last):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        _fill_depth(x[a], y[a], z[a], x[b], y[b], z[b], x[c], y[c], z[c], depths)


@inlined
def _fill_depth(xa, ya, za, xb, yb, zb, xc, yc, zc, depths):
    abx, aby = np.int64(xb) - xa, np.int64(yb) - ya
    acx, acy = np.int64(xc) - xa, np.int64(yc) - ya
    area = acx * aby - abx * acy  # rows count upwards here: positive is turned away
    if area <= 0:
        return
    height, width = depths.shape
    left = max((min(xa, xb, xc) + (SUBPIXEL - 1)) >> 8, 0)
    right = min(max(xa, xb, xc) >> 8, width - 1)
    top = max((min(ya, yb, yc) + (SUBPIXEL - 1)) >> 8, 0)
    bottom = min(max(ya, yb, yc) >> 8, height - 1)
    if left > right or top > bottom:
        return
    bcx, bcy = acx - abx, acy - aby
    px, py = np.int64(left) * SUBPIXEL, np.int64(top) * SUBPIXEL
    row_c = (px - xa) * aby - (py - ya) * abx
    row_a = (px - xb) * bcy - (py - yb) * bcx
    row_b = (py - yc) * acx - (px - xc) * acy
    share = 1.0 / area
    kept_a = 0 if bcy > 0 or (bcy == 0 and bcx > 0) else 1
    kept_b = 0 if acy < 0 or (acy == 0 and acx < 0) else 1
    kept_c = 0 if aby > 0 or (aby == 0 and abx > 0) else 1
    for row in range(top, bottom + 1):
        ea, eb, ec = row_a, row_b, row_c
        for column in range(left, right + 1):
            if ea >= kept_a and eb >= kept_b and ec >= kept_c:
                depth = (ea * za + eb * zb + ec * zc) * share
                step = np.uint16(min(max(depth, 0.0), np.float64(DEPTH_STEPS)) + 0.5)
                if step < depths[row, column]:
                    depths[row, column] = step
            ea += bcy * SUBPIXEL
            eb -= acy * SUBPIXEL
            ec += aby * SUBPIXEL
        row_a -= bcx * SUBPIXEL
        row_b += acx * SUBPIXEL
        row_c -= abx * SUBPIXEL


@inlined
def visibility(depths, column, row, step):
    """Share of the light that reaches a point: the four texels around it compared, then blended.

    ``column``, ``row`` in texels of the window, ``step`` the point's depth. Outside the window
    nothing casts a shadow.
    """
    height, width = depths.shape
    left, top = np.floor(column), np.floor(row)
    i, j = np.int64(left), np.int64(top)
    if i < 0 or j < 0 or i + 1 >= width or j + 1 >= height:
        return np.float32(1)
    right, down = column - left, row - top
    one = np.float32(1)
    lit = np.float32(0)
    if step <= depths[j, i]:
        lit += (one - right) * (one - down)
    if step <= depths[j, i + 1]:
        lit += right * (one - down)
    if step <= depths[j + 1, i]:
        lit += (one - right) * down
    if step <= depths[j + 1, i + 1]:
        lit += right * down
    return lit
