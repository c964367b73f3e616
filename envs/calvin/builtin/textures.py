"""Textures drawn by code: wood grain and the floor's checker. All tile without a seam."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from vla_bench.envs.calvin.builtin.layouts import Wood

SHADES = 32


def wood(look: Wood, size: int = 256) -> bytes:
    """PNG of sawn wood, ``size`` pixels square, its grain along the picture's x."""
    random = np.random.RandomState(look.seed)
    rows, columns = np.mgrid[0:size, 0:size] / size
    wander = smooth_noise(random, rows, columns, 3, 1) + 0.35 * smooth_noise(random, rows, columns, 7, 2)
    rings = rows * look.rings + look.figure * wander
    # A ring grows light in spring and ends in a dark line.
    phase = rings - np.floor(rings)
    growth = 1 - phase**3
    # The seam of the saw tooth is softened over a tenth of a ring.
    growth *= np.clip(phase / 0.12, 0, 1) * 0.5 + 0.5
    fibre = smooth_noise(random, rows, columns, 96, 4)
    blotch = smooth_noise(random, rows, columns, 4, 3)
    tone = 0.25 + 0.5 * growth + 0.16 * fibre + 0.22 * blotch
    return _png(np.clip(tone, 0, 1), np.array(look.ramp))


def checker(size: int = 64) -> bytes:
    """PNG of two by two squares in two greys."""
    rows, columns = np.mgrid[0:size, 0:size] * 2 // size
    return _png(((rows + columns) % 2).astype(float), np.array(((202, 204, 208), (238, 239, 241))))


def smooth_noise(
    random: np.random.RandomState | np.random.Generator, rows: np.ndarray, columns: np.ndarray, down: int, across: int
) -> np.ndarray:
    """Smooth periodic noise within about [-1, 1] on a lattice of ``down`` x ``across`` cells."""
    lattice = random.uniform(-1, 1, (down, across))

    def mix(position: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        cell = np.floor(position * count).astype(int)
        fraction = position * count - cell
        return cell % count, (cell + 1) % count, fraction * fraction * (3 - 2 * fraction)

    r0, r1, v = mix(rows, down)
    c0, c1, u = mix(columns, across)
    upper = lattice[r0, c0] * (1 - u) + lattice[r0, c1] * u
    lower = lattice[r1, c0] * (1 - u) + lattice[r1, c1] * u
    return upper * (1 - v) + lower * v


def _png(tone: np.ndarray, ramp: np.ndarray) -> bytes:
    """A picture of tones in [0, 1], shown through a ramp of colours, as a palette PNG."""
    steps = np.linspace(0, 1, SHADES)
    stops = np.linspace(0, 1, len(ramp))
    palette = np.stack([np.interp(steps, stops, ramp[:, channel]) for channel in range(3)], axis=1)
    picture = Image.fromarray(np.round(tone * (SHADES - 1)).astype(np.uint8), mode="P")
    picture.putpalette(np.round(palette).astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True, bits=5)
    return buffer.getvalue()
