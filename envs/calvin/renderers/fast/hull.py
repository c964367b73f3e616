"""Boxes, cylinders, spheres and capsules as PyBullet's OpenGL renderer draws them.

It does not draw the shape but the hull of the 42 points where planes of as many directions touch it
(``btShapeHull``), with the direction from the centre as a corner's normal, which makes a box look
rounded.
"""

from __future__ import annotations

import math

import numpy as np

from vla_bench.envs.calvin.renderers.fast.meshes import Mesh, weld

_MARGIN = 0.001
"""``setMargin`` of every primitive, metres: how much a cylinder or capsule grows."""


def _directions() -> np.ndarray:
    """The 42 directions (unit): corners of an icosahedron and the middles of its edges."""
    ring = 2 / math.sqrt(5)
    corners = [(0.0, 0.0, -1.0)]
    for height, turn in ((-1 / math.sqrt(5), 36), (1 / math.sqrt(5), 0)):
        for k in range(5):
            angle = math.radians(72 * k + turn)
            corners.append((ring * math.cos(angle), ring * math.sin(angle), height))
    corners.append((0.0, 0.0, 1.0))
    points = np.array(corners)
    edges = [points[i] + points[j] for i in range(12) for j in range(i) if np.linalg.norm(points[i] - points[j]) < 1.2]
    middles = np.array(edges) / np.linalg.norm(edges, axis=1, keepdims=True)
    return np.concatenate([points, middles])


def box(size: np.ndarray) -> Mesh:
    """A box of edge lengths ``size`` (3,), metres, around the origin."""
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float64)
    return _hull(signs * np.asarray(size) / 2)


def cylinder(radius: float, length: float) -> Mesh:
    """A cylinder along z around the origin, metres: a prism of 32 sides, touched from 42 directions."""
    angle = 2 * math.pi * np.arange(32) / 32
    ring = np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1)
    ends = [np.column_stack([ring, np.full(32, z)]) for z in (length / 2, -length / 2)]
    return _hull(_touched(np.concatenate(ends), _MARGIN))


def capsule(radius: float, length: float) -> Mesh:
    """A cylinder whose ends carry a point each, ``radius`` beyond them."""
    angle = 2 * math.pi * np.arange(32) / 32
    ring = np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1)
    ends = [np.column_stack([ring, np.full(32, z)]) for z in (length / 2, -length / 2)]
    poles = np.array([(0, 0, length / 2 + radius), (0, 0, -length / 2 - radius)])
    return _hull(_touched(np.concatenate([*ends, poles]), _MARGIN))


def sphere(radius: float) -> Mesh:
    """A sphere around the origin, metres."""
    return _hull(_directions() * radius)


def _touched(points: np.ndarray, margin: float) -> np.ndarray:
    """The points that are farthest in each direction, moved ``margin`` further that way."""
    directions = _directions()
    return points[np.argmax(directions @ points.T, axis=1)] + margin * directions


def _hull(points: np.ndarray) -> Mesh:
    corners = points[_hull_triangles(points)]
    normals = corners / np.linalg.norm(corners, axis=2, keepdims=True)
    u = np.arctan2(normals[:, :, 0], normals[:, :, 2]) / (2 * math.pi) + 0.5
    return weld(corners, normals, np.stack([u, normals[:, :, 1] * 0.5 + 0.5], axis=2))


def _hull_triangles(points: np.ndarray) -> np.ndarray:
    """The convex hull's triangles (T, 3), counter-clockwise from outside, one point after another."""
    nothing = 1e-9 * float(np.ptp(points, axis=0).max())
    triangles = _tetrahedron(points)
    for point in range(len(points)):
        corners = points[triangles]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        sees = np.sum(normals * (points[point] - corners[:, 0]), axis=1) > nothing
        if not sees.any():
            continue
        edges = triangles[sees][:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
        known = {tuple(edge) for edge in edges.tolist()}
        horizon = [edge for edge in edges.tolist() if (edge[1], edge[0]) not in known]
        triangles = np.concatenate([triangles[~sees], [[*edge, point] for edge in horizon]])
    return triangles


def _tetrahedron(points: np.ndarray) -> np.ndarray:
    """Four points that span the most space, as triangles seen from outside."""
    first = int(np.argmin(points[:, 0]))
    second = int(np.argmax(np.linalg.norm(points - points[first], axis=1)))
    across = np.cross(points - points[first], points[second] - points[first])
    third = int(np.argmax(np.linalg.norm(across, axis=1)))
    height = (points - points[first]) @ across[third]
    fourth = int(np.argmax(np.abs(height)))
    a, b, c, d = first, second, third, fourth
    if np.cross(points[b] - points[a], points[c] - points[a]) @ (points[d] - points[a]) > 0:
        b, c = c, b
    return np.array([(a, b, c), (a, d, b), (b, d, c), (c, d, a)])
