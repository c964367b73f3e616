"""Boxes, and how far points are from them: all the geometry that planning needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """A solid box anywhere in space."""

    centre: np.ndarray
    """(3,) metres, world."""
    axes: np.ndarray
    """(3, 3) rotation matrix; its columns are the box's own axes."""
    half: np.ndarray
    """(3,) half of the extent along each own axis, metres."""

    def reach(self, direction: np.ndarray) -> float:
        """How far the box extends from its centre along a unit vector (3,), metres."""
        return float(np.abs(direction @ self.axes) @ self.half)

    @property
    def bottom(self) -> float:
        """Height of the lowest corner, metres."""
        return float(self.centre[2] - np.abs(self.axes[2]) @ self.half)

    @property
    def top(self) -> float:
        """Height of the highest corner, metres."""
        return float(self.centre[2] + np.abs(self.axes[2]) @ self.half)


def axis_aligned(low: Sequence[float], high: Sequence[float]) -> Box:
    """The box between two corners (3,)."""
    low_corner, high_corner = np.array(low, dtype=float), np.array(high, dtype=float)
    return Box((low_corner + high_corner) / 2, np.eye(3), (high_corner - low_corner) / 2)


def distances(points: np.ndarray, boxes: Sequence[Box]) -> np.ndarray:
    """Distance of each of ``points`` (..., 3) to the nearest of ``boxes``; negative inside. (...,)."""
    nearest = np.full(points.shape[:-1], np.inf)
    for box in boxes:
        outside = np.abs((points - box.centre) @ box.axes) - box.half
        distance = np.linalg.norm(np.maximum(outside, 0.0), axis=-1) + np.minimum(outside.max(axis=-1), 0.0)
        np.minimum(nearest, distance, out=nearest)
    return nearest
