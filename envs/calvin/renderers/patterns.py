"""Textures that table and floor may have in place of their own: drawn by code, the same on any machine.

A pattern is as coarse in metres on every mesh, however its texture coordinates run: an image of it holds as many
periods as the mesh's coordinates need.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vla_bench.envs.calvin.builtin.textures import smooth_noise
from vla_bench.envs.calvin.renderers.fast.meshes import read_mesh
from vla_bench.envs.calvin.renderers.look import Pattern

_SHARP, _SMALLEST, _LARGEST = 24, 128, 512
"""Pixels for each period, at least; and of a side, which is a power of two."""
_MOST = 64
"""Periods in one image: finer ones would be of less than eight pixels."""
_CONTRAST = 0.3
"""Least distance between the luminances of a pattern's two colours."""
_LUMINANCE = np.array((0.299, 0.587, 0.114))
_PATTERN = 51
"""Of the seeds: keeps the draws of patterns apart from others."""


class Periods(NamedTuple):
    """How often a pattern is repeated in one image."""

    across: int
    up: int


def drawn(pattern: Pattern, periods: Periods) -> np.ndarray:
    """The pattern as an image (H, W, 3) uint8, first row at the top, which tiles without a seam."""
    kinds = {"checker": _checker, "noise": _noise, "stripes": _stripes, "wood": _wood}
    generator = np.random.default_rng((_PATTERN, list(kinds).index(pattern.kind), pattern.variant))
    dark, light = _two_woods(generator) if pattern.kind == "wood" else _two_colours(generator)
    width, height = (min(max(_SMALLEST, 1 << (_SHARP * count - 1).bit_length()), _LARGEST) for count in periods)
    rows, columns = (np.arange(height)[:, None] + 0.5) / height, (np.arange(width)[None] + 0.5) / width
    tone = kinds[pattern.kind](generator, rows, columns, periods)[:, :, None]
    image: np.ndarray = np.floor(255 * (dark + tone * (light - dark)) + 0.5).astype(np.uint8)
    return image


def _two_colours(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A darker and a lighter one, (3,) each from 0.05 to 1."""
    while True:
        first, second = generator.uniform(0.05, 1.0, (2, 3))
        if second @ _LUMINANCE - first @ _LUMINANCE >= _CONTRAST:
            return first, second


def _two_woods(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Dark grain and light ground between white birch, red cherry and dark walnut, (3,) each."""
    brightness, red, shade = generator.uniform((0.45, 0.0, 0.35), (1.0, 1.0, 0.65))
    ground = brightness * np.array((1.0, 0.9 - 0.35 * red, 0.7 - 0.5 * red))
    return shade * ground, ground


def _checker(_generator: np.random.Generator, rows: np.ndarray, columns: np.ndarray, periods: Periods) -> np.ndarray:
    return (np.floor(columns * 2 * periods.across) + np.floor(rows * 2 * periods.up)) % 2


def _stripes(generator: np.random.Generator, rows: np.ndarray, columns: np.ndarray, periods: Periods) -> np.ndarray:
    """Across, upwards or in between, one of them wider than the other."""
    right, up = ((1, 0), (0, 1), (1, 1), (1, -1))[generator.integers(4)]
    phase = columns * periods.across * right + rows * periods.up * up
    return (phase - np.floor(phase) < generator.uniform(0.3, 0.7)).astype(float)


def _noise(generator: np.random.Generator, rows: np.ndarray, columns: np.ndarray, periods: Periods) -> np.ndarray:
    """Blotches and finer ones on them."""
    coarse = smooth_noise(generator, rows, columns, 2 * periods.up, 2 * periods.across)
    fine = smooth_noise(generator, rows, columns, 4 * periods.up, 4 * periods.across)
    return np.clip(0.5 + 0.75 * coarse + 0.35 * fine, 0, 1)


def _wood(generator: np.random.Generator, rows: np.ndarray, columns: np.ndarray, periods: Periods) -> np.ndarray:
    """Rings that wander, three a period: each grows light and ends in a dark line."""
    wander = smooth_noise(generator, rows, columns, 2 * periods.up, periods.across)
    rings = rows * 3 * periods.up + generator.uniform(0.6, 1.6) * wander
    phase = rings - np.floor(rings)
    fibre = smooth_noise(generator, rows, columns, min(12 * periods.up, 128), periods.across)
    growth = (1 - phase * phase * phase) * np.clip(0.5 + 4 * phase, 0, 1)
    return np.clip(0.1 + 0.75 * growth + 0.15 * fibre, 0, 1)


def periods_on(pattern: Pattern, path: Path, scale: tuple[float, ...]) -> Periods:
    """How often the pattern has to be repeated in the image that the mesh in ``path`` is covered with."""
    across, up = (round(span / pattern.period) for span in _spans(path, tuple(scale)))
    return Periods(min(max(across, 1), _MOST), min(max(up, 1), _MOST))


@functools.lru_cache(maxsize=64)
def _spans(path: Path, scale: tuple[float, ...]) -> tuple[float, float]:
    """Metres on the mesh that an image's width and its height cover, on half of its area more and on half less."""
    mesh = read_mesh(path)
    corners = mesh.positions[mesh.triangles].astype(float) * np.array(scale)
    coordinates = mesh.texture_coordinates.astype(float)
    first, second = (corners[:, i] - corners[:, 0] for i in (1, 2))
    a, b, c = (np.einsum("ij,ij->i", *pair) for pair in ((first, first), (first, second), (second, second)))
    square = a * c - b * b  # of twice the area
    spans = []
    for axis in (0, 1):
        p, q = (coordinates[:, i, axis] - coordinates[:, 0, axis] for i in (1, 2))
        slope = np.sqrt(np.maximum(c * p * p - 2 * b * p * q + a * q * q, 0) / np.maximum(square, 1e-30))
        known = (square > 1e-18) & (slope > 1e-6)
        if not known.any():
            spans.append(1.0)
            continue
        slope, areas = slope[known], np.sqrt(square[known])
        order = np.argsort(slope, kind="stable")
        middle = np.searchsorted(np.cumsum(areas[order]), areas.sum() / 2)
        spans.append(float(1 / slope[order][min(int(middle), len(order) - 1)]))
    return spans[0], spans[1]
