"""Images as mip pyramids: the same image at half the size again and again, for filtering."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, slots=True)
class Texture:
    """All levels of one image, packed one after another."""

    texels: np.ndarray
    """(N, 3) uint8, level after level, each row by row from the bottom of the image."""
    levels: np.ndarray
    """(L, 3) int32: offset into ``texels``, width, height of each level; level 0 is the image."""


WHITE = Texture(np.full((1, 3), 255, dtype=np.uint8), np.array([[0, 1, 1]], dtype=np.int32))
"""What an object without an image is drawn with."""


def read_texture(path: Path) -> Texture:
    """The image in ``path`` with its mip levels.

    Raises:
        OSError: when the file is no image.
    """
    from PIL import Image

    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGBA"))[:, :, :3]
    return mip_pyramid(pixels[::-1])


def mip_pyramid(pixels: np.ndarray) -> Texture:
    """The pyramid over ``pixels`` (H, W, 3) uint8, first row at the bottom.

    Every level has half the size of the one before, rounded down; a texel is the image before it
    sampled linearly at its centre, which for even sizes is the mean of two by two.
    """
    level = pixels
    texels, levels, offset = [], [], 0
    while True:
        height, width = level.shape[:2]
        texels.append(level.reshape(-1, 3))
        levels.append((offset, width, height))
        offset += height * width
        if height == width == 1:
            return Texture(np.ascontiguousarray(np.concatenate(texels)), np.array(levels, dtype=np.int32))
        rows = _resampled(level.astype(np.float64), max(height // 2, 1), axis=0)
        both = _resampled(rows, max(width // 2, 1), axis=1)
        level = np.floor(both + 0.5).astype(np.uint8)


def _resampled(values: np.ndarray, size: int, axis: int) -> np.ndarray:
    before = values.shape[axis]
    centre = (np.arange(size) + 0.5) * before / size - 0.5
    low = np.clip(np.floor(centre).astype(int), 0, before - 1)
    high = np.clip(low + 1, 0, before - 1)
    weight = np.clip(centre - low, 0, 1).reshape([-1 if a == axis else 1 for a in range(values.ndim)])
    return np.take(values, low, axis) * (1 - weight) + np.take(values, high, axis) * weight
