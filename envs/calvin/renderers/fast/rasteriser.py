"""Which triangle each pixel shows.

Coordinates are fixed-point with 8 bits below the pixel, pixel centres at whole pixels, rows counted
from the top; a pixel on an edge belongs to the triangle for which the edge is a top or a left one.
These are OpenGL's rules with the precision that drivers use, and integers make them exact.

The depth buffer holds ``depth << RANK_BITS | rank``: depth of 16 bits, then the rank of the object in
drawing order. So coarse is the depth buffer of the frames that CALVIN's renderer makes: at the static
camera's distance one step of it is 2.7 cm, and what was drawn first is seen. Objects of one rank keep the
order of their triangles.
"""

from __future__ import annotations

import numpy as np

from vla_bench.envs.calvin.renderers.fast.compiled import inlined, kernel

SUBPIXEL = 256
DEPTH_STEPS = 65535
"""Steps of a 16-bit depth buffer between the clipping planes."""
RANK_BITS = 8
FARTHEST = np.int32((DEPTH_STEPS + 1) << RANK_BITS)
"""What the depth buffer is cleared to."""
NOTHING = -1
"""Triangle of a pixel that shows none."""
_LIMIT = 1 << 28  # of a fixed-point coordinate, so that edge functions fit 64 bits


@kernel
def project(positions, first, last, matrix, x, y, w):
    """Projects ``positions[first:last]`` to fixed-point pixels ``x``, ``y`` and the distance ``w``.

    ``matrix`` (3, 4) float32 takes a position to (column w, row w, w), columns and rows in pixels
    from the centre of the first. Vertices behind the eye get no pixel; :func:`draw` clips them.
    """
    m00, m01, m02, m03 = matrix[0, 0], matrix[0, 1], matrix[0, 2], matrix[0, 3]
    m10, m11, m12, m13 = matrix[1, 0], matrix[1, 1], matrix[1, 2], matrix[1, 3]
    m20, m21, m22, m23 = matrix[2, 0], matrix[2, 1], matrix[2, 2], matrix[2, 3]
    size = np.float32(SUBPIXEL)
    limit = np.float32(_LIMIT)
    for i in range(first, last):
        px, py, pz = positions[i, 0], positions[i, 1], positions[i, 2]
        depth = m20 * px + m21 * py + m22 * pz + m23
        scale = size / depth
        column = (m00 * px + m01 * py + m02 * pz + m03) * scale
        row = (m10 * px + m11 * py + m12 * pz + m13) * scale
        w[i] = depth
        x[i] = np.int32(np.floor(min(max(column, -limit), limit) + np.float32(0.5)))
        y[i] = np.int32(np.floor(min(max(row, -limit), limit) + np.float32(0.5)))


@kernel
def draw(triangles, first, last, positions, matrix, x, y, w, clipped, rank, near, far, depths, owners):
    """Draws ``triangles[first:last]``: those that face the eye, nearer than what is there.

    ``depths`` (H, W) int32 as described above, ``owners`` (H, W) int32 gets the triangle's index.
    """
    for t in range(first, last):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        wa, wb, wc = w[a], w[b], w[c]
        if wa > near and wb > near and wc > near:
            _fill(x[a], y[a], wa, x[b], y[b], wb, x[c], y[c], wc, t, rank, near, far, depths, owners)
        elif wa > near or wb > near or wc > near:
            _fill_clipped(triangles, positions, matrix, clipped, t, rank, near, far, depths, owners)


@kernel
def _fill_clipped(triangles, positions, matrix, clipped, triangle, rank, near, far, depths, owners):
    """Draws the part of a triangle that lies beyond the near plane: a triangle or a quadrangle.

    ``clipped`` (4, 3) float64 is scratch.
    """
    count = 0
    for i in range(3):
        hx, hy, hw = _seen(matrix, positions, triangles[triangle, i])
        tx, ty, tw = _seen(matrix, positions, triangles[triangle, (i + 1) % 3])
        if hw >= near:
            clipped[count, 0], clipped[count, 1], clipped[count, 2] = hx, hy, hw
            count += 1
        if (hw >= near) != (tw >= near):
            share = (near - hw) / (tw - hw)
            clipped[count, 0], clipped[count, 1] = hx + share * (tx - hx), hy + share * (ty - hy)
            clipped[count, 2] = near
            count += 1
    for i in range(count):
        for k in range(2):
            pixel = clipped[i, k] / clipped[i, 2] * SUBPIXEL
            clipped[i, k] = np.floor(min(max(pixel, -_LIMIT), _LIMIT) + 0.5)
    xa, ya, wa = np.int32(clipped[0, 0]), np.int32(clipped[0, 1]), np.float32(clipped[0, 2])
    for i in range(1, count - 1):
        xb, yb, wb = np.int32(clipped[i, 0]), np.int32(clipped[i, 1]), np.float32(clipped[i, 2])
        xc, yc, wc = (
            np.int32(clipped[i + 1, 0]),
            np.int32(clipped[i + 1, 1]),
            np.float32(clipped[i + 1, 2]),
        )
        _fill(xa, ya, wa, xb, yb, wb, xc, yc, wc, triangle, rank, near, far, depths, owners)


@kernel
def _seen(matrix, positions, i):
    """A position through ``matrix``, in double precision."""
    x, y, z = np.float64(positions[i, 0]), np.float64(positions[i, 1]), np.float64(positions[i, 2])
    return (
        matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2] * z + matrix[0, 3],
        matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2] * z + matrix[1, 3],
        matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2] * z + matrix[2, 3],
    )


@inlined
def _fill(xa, ya, wa, xb, yb, wb, xc, yc, wc, triangle, rank, near, far, depths, owners):
    abx, aby = np.int64(xb) - xa, np.int64(yb) - ya
    acx, acy = np.int64(xc) - xa, np.int64(yc) - ya
    area = acx * aby - abx * acy
    if area <= 0:  # seen from behind, or from the side
        return
    height, width = depths.shape
    left = max((min(xa, xb, xc) + (SUBPIXEL - 1)) >> 8, 0)
    right = min(max(xa, xb, xc) >> 8, width - 1)
    top = max((min(ya, yb, yc) + (SUBPIXEL - 1)) >> 8, 0)
    bottom = min(max(ya, yb, yc) >> 8, height - 1)
    if left > right or top > bottom:
        return
    bcx, bcy = acx - abx, acy - aby
    # Edge functions: positive inside. One off for edges that are neither top nor left.
    px, py = np.int64(left) * SUBPIXEL, np.int64(top) * SUBPIXEL
    row_c = (px - xa) * aby - (py - ya) * abx
    row_a = (px - xb) * bcy - (py - yb) * bcx
    row_b = (py - yc) * acx - (px - xc) * acy
    # inside depths, linear in 1/w: depth = offset - slope / w
    ia, ib, ic = 1.0 / wa, 1.0 / wb, 1.0 / wc
    offset = far / (far - near) * DEPTH_STEPS
    slope = offset * near
    share = 1.0 / area
    kept_a = 0 if bcy > 0 or (bcy == 0 and bcx < 0) else 1
    kept_b = 0 if acy < 0 or (acy == 0 and acx > 0) else 1
    kept_c = 0 if aby > 0 or (aby == 0 and abx < 0) else 1
    for row in range(top, bottom + 1):
        ea, eb, ec = row_a, row_b, row_c
        for column in range(left, right + 1):
            if ea >= kept_a and eb >= kept_b and ec >= kept_c:
                inverse = (ea * ia + eb * ib + ec * ic) * share
                depth = offset - slope * inverse
                if 0.0 <= depth <= DEPTH_STEPS:
                    key = (np.int32(depth + 0.5) << RANK_BITS) | rank
                    if key < depths[row, column]:
                        depths[row, column] = key
                        owners[row, column] = triangle
            ea += bcy * SUBPIXEL
            eb -= acy * SUBPIXEL
            ec += aby * SUBPIXEL
        row_a -= bcx * SUBPIXEL
        row_b += acx * SUBPIXEL
        row_c -= abx * SUBPIXEL
