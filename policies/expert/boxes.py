"""Boxes, and how far points are from them: all the geometry that planning needs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LATTICE = np.array(list(itertools.product((-1.0, 0.0, 1.0), repeat=3)))


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
    def lattice(self) -> np.ndarray:
        """Corners, middles of edges and faces, and the centre (27, 3), metres, world."""
        return self.centre + (LATTICE * self.half) @ self.axes.T

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
    """Distance of each of ``points`` (n, 3) to the nearest of ``boxes``; negative inside. (n,) metres.

    Exact beside a face; beside an edge or a corner up to 1.7 times too small, which errs on the
    safe side and is much faster.
    """
    nearest = np.full(len(points), np.inf)
    for box in boxes:
        beyond = np.abs(points @ box.axes - box.centre @ box.axes)
        beyond -= box.half
        x, y, z = beyond.T
        np.minimum(nearest, np.maximum(np.maximum(x, y), z), out=nearest)
    return nearest


def near(boxes: Sequence[Box], point: np.ndarray, distance: float) -> list[Box]:
    """The boxes of which some part may be within ``distance`` of a point (3,), metres."""
    gaps = (np.abs((point - box.centre) @ box.axes) - box.half for box in boxes)
    return [box for box, gap in zip(boxes, gaps, strict=True) if gap.max() < distance]
