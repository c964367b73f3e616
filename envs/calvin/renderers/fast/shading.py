"""The colour of each pixel: texture, Lambert's law, highlight and shadow as PyBullet's shader has them.

The shader (``useShadowMapInstancingPS.glsl`` of PyBullet 3.2.7), for a surface of colour ``c`` with unit
normal ``N``, towards the light ``L``:

    intensity = .5 + .5 N·L
    shade     = intensity (.7 + .3 visibility), visibility 0 where N turns away from L
    colour    = c (.5 + .5 shade + highlight visibility)

A surface is first described by eight numbers (below), which for a camera that stands still are computed
once for everything that never moves; then it is lit. Where no shadow has moved, what was lit before is
taken again.
"""

from __future__ import annotations

import numpy as np

from vla_bench.envs.calvin.renderers.fast.compiled import inlined, kernel
from vla_bench.envs.calvin.renderers.fast.light import HIGHLIGHT_EYE, visibility

BACKGROUND = np.array((0.7, 0.7, 0.8), dtype=np.float32)
"""``glClearColor`` of the EGL plugin."""
SURFACE_FIELDS = 8
"""Red, green, blue (0 to 1), intensity, highlight, shadow map column, row and depth step."""
_UNLIT = np.float32(2)
"""Intensity of the background, which no light reaches."""
_HIGHLIGHT = 0.5
_DULL = 0.86  # cosines under it give less than half of a 255th


# As tuples, which are constants to the compiler.
_EYE = tuple(HIGHLIGHT_EYE.tolist())


def backdrop(height: int, width: int) -> np.ndarray:
    """Surfaces (H, W, SURFACE_FIELDS) that show the background everywhere."""
    surfaces = np.zeros((height, width, SURFACE_FIELDS), dtype=np.float32)
    surfaces[:, :, :3] = BACKGROUND
    surfaces[:, :, 3] = _UNLIT
    return surfaces


@kernel
def fill_surfaces(owners, scene, surfaces):
    """Fills ``surfaces`` (H, W, SURFACE_FIELDS) float32 where ``owners`` (H, W) names a triangle."""
    height, width = owners.shape
    for row in range(height):
        for column in range(width):
            triangle = owners[row, column]
            if triangle >= 0:
                surface = _surface_of(
                    triangle,
                    scene.part_of[triangle],
                    column,
                    row,
                    scene.triangles,
                    scene.positions,
                    scene.normals,
                    scene.texture_coordinates,
                    scene.worlds,
                    scene.projections,
                    scene.colours,
                    scene.textures,
                    scene.texture_levels,
                    scene.levels,
                    scene.texels,
                    scene.light,
                )
                for field in range(SURFACE_FIELDS):
                    surfaces[row, column, field] = surface[field]


@kernel
def illuminate(owners, seen, behind, settled, touched, shadows, colours, strength):
    """Fills ``colours`` (H, W, 3) uint8: surfaces ``seen`` where a triangle is, else ``behind`` it.

    ``settled`` (H, W, 3) uint8 are the colours of ``behind`` that hold wherever the shadow map is not
    ``touched``, see :func:`vla_bench.envs.calvin.renderers.fast.drawing.cast_shadows`. ``strength`` float32 is
    that of the light; PyBullet's is 1.
    """
    height, width = owners.shape
    # A point is shaded by the texels that it lies between.
    left, right, top, bottom = touched[0] - 1, touched[1] + 1, touched[2] - 1, touched[3] + 1
    for row in range(height):
        for column in range(width):
            if owners[row, column] >= 0:
                red, green, blue, factor = _lit(seen, row, column, shadows, strength)
            else:
                x, y = behind[row, column, 5], behind[row, column, 6]
                if x < left or x >= right or y < top or y >= bottom:
                    for channel in range(3):
                        colours[row, column, channel] = settled[row, column, channel]
                    continue
                red, green, blue, factor = _lit(behind, row, column, shadows, strength)
            colours[row, column, 0] = _byte(red * factor)
            colours[row, column, 1] = _byte(green * factor)
            colours[row, column, 2] = _byte(blue * factor)


@inlined
def _lit(surfaces, row, column, shadows, strength):
    """Colour of a surface, and the factor by which light changes it."""
    half = np.float32(0.5)
    red, green, blue = surfaces[row, column, 0], surfaces[row, column, 1], surfaces[row, column, 2]
    intensity = surfaces[row, column, 3]
    if intensity == _UNLIT:
        return red, green, blue, np.float32(1)
    lit = np.float32(0)
    if intensity >= half:
        lit = visibility(shadows, surfaces[row, column, 5], surfaces[row, column, 6], surfaces[row, column, 7])
    shade = intensity * (np.float32(0.7) + np.float32(0.3) * lit)
    return red, green, blue, half + strength * (half * shade) + strength * (surfaces[row, column, 4] * lit)


@inlined
def _byte(value):
    return np.uint8(min(value, np.float32(1)) * np.float32(255) + np.float32(0.5))


@inlined
def _surface_of(
    triangle,
    part,
    column,
    row,
    triangles,
    positions,
    normals,
    coordinates,
    worlds,
    projections,
    dyes,
    textures,
    pyramids,
    levels,
    texels,
    light,
):
    """What ``triangle`` shows at a pixel, as the fields of a surface."""
    pa = _row(positions, triangles[triangle, 0])
    pb = _row(positions, triangles[triangle, 1])
    pc = _row(positions, triangles[triangle, 2])
    matrix = _matrix(projections, part)
    seen = (_moved(matrix, pa), _moved(matrix, pb), _moved(matrix, pc))
    weights = _barycentric(seen, column, row)

    red, green, blue = dyes[part, 0], dyes[part, 1], dyes[part, 2]
    texture = textures[part]
    if texture >= 0:
        uv = (
            (coordinates[triangle, 0, 0], coordinates[triangle, 0, 1]),
            (coordinates[triangle, 1, 0], coordinates[triangle, 1, 1]),
            (coordinates[triangle, 2, 0], coordinates[triangle, 2, 1]),
        )
        first, count = pyramids[texture, 0], pyramids[texture, 1]
        if uv[0] == uv[1] and uv[1] == uv[2]:  # one spot of a palette, as on the robot
            u, v = np.float64(uv[0][0]), np.float64(uv[0][1])
            level, share = 0, 0.0
        else:
            u, v = _blend2(weights, uv)
            pace = _texels_per_pixel(uv, seen, column, row, levels[first, 1], levels[first, 2])
            level, share = _mip_level(pace, count)
        red_texel, green_texel, blue_texel = _bilinear(levels, texels, first + level, u, v)
        if share > 0:
            red_next, green_next, blue_next = _bilinear(levels, texels, first + level + 1, u, v)
            red_texel += share * (red_next - red_texel)
            green_texel += share * (green_next - green_texel)
            blue_texel += share * (blue_next - blue_texel)
        red, green, blue = red * red_texel, green * green_texel, blue * blue_texel

    matrix = _matrix(worlds, part)
    given = (
        (normals[triangle, 0, 0], normals[triangle, 0, 1], normals[triangle, 0, 2]),
        (normals[triangle, 1, 0], normals[triangle, 1, 1], normals[triangle, 1, 2]),
        (normals[triangle, 2, 0], normals[triangle, 2, 1], normals[triangle, 2, 2]),
    )
    normal = _turned(matrix, _blend3(weights, given))
    length = np.sqrt(_dot(normal, normal))
    scale = 1.0 / length if length > 0 else 0.0
    normal = (normal[0] * scale, normal[1] * scale, normal[2] * scale)
    facing = _dot(normal, _row(light, 1))
    world = _moved(matrix, _blend3(weights, (pa, pb, pc)))
    shadow = _moved((_row4(light, 2), _row4(light, 3), _row4(light, 4)), world)
    return (
        np.float32(red),
        np.float32(green),
        np.float32(blue),
        np.float32(0.5 + 0.5 * min(max(facing, -1.0), 1.0)),
        np.float32(_highlight(world, normal, _row(light, 0)) if facing >= 0 else 0.0),
        np.float32(shadow[0]),
        np.float32(shadow[1]),
        np.float32(shadow[2]),
    )


@inlined
def _row(table, i):
    return table[i, 0], table[i, 1], table[i, 2]


@inlined
def _row4(table, i):
    return table[i, 0], table[i, 1], table[i, 2], table[i, 3]


@inlined
def _matrix(m, i):
    """The (3, 4) matrix ``m[i]`` as tuples."""
    return (
        (m[i, 0, 0], m[i, 0, 1], m[i, 0, 2], m[i, 0, 3]),
        (m[i, 1, 0], m[i, 1, 1], m[i, 1, 2], m[i, 1, 3]),
        (m[i, 2, 0], m[i, 2, 1], m[i, 2, 2], m[i, 2, 3]),
    )


@inlined
def _moved(m, p):
    x, y, z = _turned(m, p)
    return x + m[0][3], y + m[1][3], z + m[2][3]


@inlined
def _turned(m, p):
    return _dot(m[0], p), _dot(m[1], p), _dot(m[2], p)


@inlined
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@inlined
def _blend3(w, t):
    return (
        w[0] * t[0][0] + w[1] * t[1][0] + w[2] * t[2][0],
        w[0] * t[0][1] + w[1] * t[1][1] + w[2] * t[2][1],
        w[0] * t[0][2] + w[1] * t[1][2] + w[2] * t[2][2],
    )


@inlined
def _blend2(w, t):
    return (
        w[0] * t[0][0] + w[1] * t[1][0] + w[2] * t[2][0],
        w[0] * t[0][1] + w[1] * t[1][1] + w[2] * t[2][1],
    )


@inlined
def _barycentric(seen, column, row):
    """Weights of the corners at a pixel, on the triangle itself (not on its picture)."""
    va, vb, vc = seen
    ax, ay = va[0] - column * va[2], va[1] - row * va[2]
    bx, by = vb[0] - column * vb[2], vb[1] - row * vb[2]
    cx, cy = vc[0] - column * vc[2], vc[1] - row * vc[2]
    a = bx * cy - by * cx
    b = cx * ay - cy * ax
    c = ax * by - ay * bx
    total = a + b + c
    share = 1.0 / total if total != 0 else 0.0
    return a * share, b * share, c * share


@inlined
def _highlight(world, normal, light):
    """The mirror image of the light, as seen from ``HIGHLIGHT_EYE``."""
    ray = (light[0] - world[0], light[1] - world[1], light[2] - world[2])
    away = (_EYE[0] - world[0], _EYE[1] - world[1], _EYE[2] - world[2])
    mirrored = 2 * _dot(ray, normal) * _dot(normal, away) - _dot(ray, away)
    if mirrored <= 0:
        return 0.0
    cosine = mirrored / np.sqrt(_dot(ray, ray) * _dot(away, away))
    if cosine < _DULL:
        return 0.0
    square = cosine * cosine
    eighth = square * square * square * square
    return _HIGHLIGHT * eighth * eighth * eighth * eighth * eighth * cosine  # cosine ** 41


@inlined
def _texels_per_pixel(uv, seen, column, row, width, height):
    """How fast the texture runs past the pixels, along the axis where it is fastest.

    As graphics hardware does, differences are taken over blocks of two by two pixels.
    """
    left, top = column & ~1, row & ~1
    u0, v0 = _blend2(_barycentric(seen, left, top), uv)
    ur, vr = _blend2(_barycentric(seen, left + 1, top), uv)
    ud, vd = _blend2(_barycentric(seen, left, top + 1), uv)
    return max(max(abs(ur - u0), abs(ud - u0)) * width, max(abs(vr - v0), abs(vd - v0)) * height)


@inlined
def _mip_level(texels_per_pixel, count):
    """The finer of two levels, and the share of the coarser.

    Mesa's software driver blends over half of the way between two levels only, with the middle of the
    blend where linear filtering has it (``lp_build_brilinear_rho``, factor 2).
    """
    scaled = texels_per_pixel * 1.2374368670764582  # 3.5 / (2 sqrt 2)
    if scaled < 1.0:
        return 0, 0.0
    level = 0
    while scaled >= 2.0 and level < count:
        scaled *= 0.5
        level += 1
    if level >= count - 1:
        return count - 1, 0.0
    return level, max(2.0 * scaled - 3.0, 0.0)


@inlined
def _bilinear(levels, texels, level, u, v):
    """Blends the four texels around (u, v), repeating the image, with weights of 8 bits."""
    offset, width, height = levels[level, 0], levels[level, 1], levels[level, 2]
    across = np.int32(np.floor((u - np.floor(u)) * width * 256.0)) - np.int32(128)
    up = np.int32(np.floor((v - np.floor(v)) * height * 256.0)) - np.int32(128)
    i0, j0 = across >> 8, up >> 8
    fx, fy = across & 255, up & 255
    i1 = i0 + 1 if i0 + 1 < width else 0
    j1 = j0 + 1 if j0 + 1 < height else 0
    i0 = i0 if i0 >= 0 else width - 1
    j0 = j0 if j0 >= 0 else height - 1
    a, b = _row(texels, offset + j0 * width + i0), _row(texels, offset + j0 * width + i1)
    c, d = _row(texels, offset + j1 * width + i0), _row(texels, offset + j1 * width + i1)
    wa, wb = (256 - fx) * (256 - fy), fx * (256 - fy)
    wc, wd = (256 - fx) * fy, fx * fy
    share = 1 / (255.0 * 65536.0)
    return (
        (a[0] * wa + b[0] * wb + c[0] * wc + d[0] * wd) * share,
        (a[1] * wa + b[1] * wb + c[1] * wc + d[1] * wd) * share,
        (a[2] * wa + b[2] * wb + c[2] * wc + d[2] * wd) * share,
    )
