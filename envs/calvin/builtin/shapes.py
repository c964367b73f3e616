"""Small triangle meshes: boxes, prisms, turned and swept parts.

Everything a part of the bundle looks like or collides with is made of these. A mesh is visual when
its normals and texture coordinates matter, and a hull when only its corners do.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import ConvexHull

AXES = {"x": 0, "y": 1, "z": 2}


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """Triangles with one normal and one texture coordinate per point."""

    points: np.ndarray
    """(N, 3) float64, in the units of the URDF the mesh belongs to."""
    normals: np.ndarray
    """(N, 3) float64, unit length, outwards."""
    texture: np.ndarray
    """(N, 2) float64, in repeats of the texture; never negative, see :func:`grained`."""
    triangles: np.ndarray
    """(M, 3) int, counter-clockwise seen from outside."""

    def moved(self, rotation: np.ndarray | None = None, shift: Sequence[float] = (0, 0, 0)) -> Mesh:
        """The mesh rotated by a (3, 3) matrix, then shifted."""
        turn = np.eye(3) if rotation is None else np.asarray(rotation, float)
        return replace(self, points=self.points @ turn.T + np.asarray(shift), normals=self.normals @ turn.T)


def joined(meshes: Sequence[Mesh]) -> Mesh:
    """All meshes as one."""
    starts = np.cumsum([0] + [len(mesh.points) for mesh in meshes])
    return Mesh(
        points=np.concatenate([mesh.points for mesh in meshes]),
        normals=np.concatenate([mesh.normals for mesh in meshes]),
        texture=np.concatenate([mesh.texture for mesh in meshes]),
        triangles=np.concatenate([mesh.triangles + start for mesh, start in zip(meshes, starts, strict=False)]),
    )


def facets(polygons: Sequence[np.ndarray]) -> Mesh:
    """Flat convex polygons (K, 3), each counter-clockwise from outside, shaded flat."""
    points, normals, triangles, count = [], [], [], 0
    for polygon in polygons:
        polygon = np.asarray(polygon, float)
        # Newell's sum is the area vector of any planar polygon, even when three corners are in line.
        area = np.cross(polygon, np.roll(polygon, -1, axis=0)).sum(axis=0)
        points.append(polygon)
        normals.append(np.tile(area / np.linalg.norm(area), (len(polygon), 1)))
        triangles += [(count, count + k, count + k + 1) for k in range(1, len(polygon) - 1)]
        count += len(polygon)
    stacked = np.concatenate(points)
    return Mesh(stacked, np.concatenate(normals), np.zeros((len(stacked), 2)), np.array(triangles))


def without_face(mesh: Mesh, normal: np.ndarray) -> Mesh:
    """The mesh without the triangles that face exactly that way."""
    faced = mesh.normals[mesh.triangles].mean(axis=1) @ normal
    return replace(mesh, triangles=mesh.triangles[faced < 1 - 1e-9])


def exposed(mesh: Mesh, others: Sequence[Mesh]) -> Mesh:
    """The mesh without the triangles that lie against or inside one of some convex meshes.

    What cannot be seen costs time to draw and shows through where a depth buffer is coarse.
    """
    corners = mesh.points[mesh.triangles]
    centres = corners.mean(axis=1, keepdims=True)
    # Just outside of the face, and just inside of its outline.
    probes = corners + 1e-4 * (mesh.normals[mesh.triangles] + centres - corners)
    hidden = np.zeros(len(mesh.triangles), bool)
    for other in others:
        reach = np.einsum("ij,ij->i", other.normals, other.points)
        hidden |= (probes @ other.normals.T <= reach + 1e-6).all(axis=(1, 2))
    return replace(mesh, triangles=mesh.triangles[~hidden])


def prism(section: np.ndarray, low: float, high: float, axis: str = "x") -> Mesh:
    """A convex section (K, 2) drawn out along an axis from ``low`` to ``high``.

    The section's two coordinates are the next two axes in the order x, y, z, x (axis ``x``: (y, z))
    and its corners go counter-clockwise.
    """
    along = AXES[axis]

    def ring(position: float) -> np.ndarray:
        corners = np.empty((len(section), 3))
        corners[:, along] = position
        corners[:, (along + 1) % 3], corners[:, (along + 2) % 3] = np.asarray(section, float).T
        return corners

    near, far = ring(low), ring(high)
    count = len(section)
    # Counter-clockwise in the two following axes is counter-clockwise seen from the far side.
    sides = [np.array([near[k], near[(k + 1) % count], far[(k + 1) % count], far[k]]) for k in range(count)]
    return facets([near[::-1], far, *sides])


def box(low: Sequence[float], high: Sequence[float]) -> Mesh:
    """An axis-aligned box between two corners."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    return prism(np.array([(y0, z0), (y1, z0), (y1, z1), (y0, z1)]), x0, x1)


def bevelled_box(low: Sequence[float], high: Sequence[float], bevel: float) -> Mesh:
    """A box whose twelve edges are cut at 45 degrees, ``bevel`` from each face."""
    lows, highs = np.asarray(low, float), np.asarray(high, float)
    corners = []
    for axis in range(3):
        for end in (0, 1):
            inner_low, inner_high = lows + bevel, highs - bevel
            inner_low[axis] = inner_high[axis] = (lows, highs)[end][axis]
            for signs in ((0, 0), (0, 1), (1, 0), (1, 1)):
                corner = inner_low.copy()
                for other, sign in zip([a for a in range(3) if a != axis], signs, strict=True):
                    corner[other] = (inner_low, inner_high)[sign][other]
                corners.append(corner)
    return hull(np.array(corners))


def hull(points: np.ndarray) -> Mesh:
    """The convex hull of points (N, 3), its coplanar triangles joined and shaded flat."""
    found = ConvexHull(points)
    planes: dict[tuple[float, ...], set[int]] = {}
    for equation, simplex in zip(found.equations, found.simplices, strict=True):
        planes.setdefault(tuple(np.round(equation, 6) + 0.0), set()).update(simplex.tolist())
    polygons = []
    for plane in sorted(planes):
        normal, corners = np.array(plane[:3]), points[sorted(planes[plane])]
        centred = corners - corners.mean(axis=0)
        # The longest arm makes a stable first direction in the plane.
        first = centred[np.argmax(np.linalg.norm(centred, axis=1))]
        first = first / np.linalg.norm(first)
        angles = np.arctan2(centred @ np.cross(normal, first), centred @ first)
        polygons.append(corners[np.argsort(np.round(angles, 9))])
    return facets(polygons)


def ring(centre: Sequence[float], axis: Sequence[float], radius: float, segments: int = 12) -> np.ndarray:
    """Points (segments, 3) of a circle around ``axis``; hulls of a few rings are the arm's links."""
    normal = np.asarray(axis, float) / np.linalg.norm(axis)
    start = np.eye(3)[np.argmin(np.abs(normal))]
    first = np.cross(normal, start)
    first /= np.linalg.norm(first)
    angles = 2 * np.pi * np.arange(segments) / segments
    circle = np.outer(np.cos(angles), first) + np.outer(np.sin(angles), np.cross(normal, first))
    return np.asarray(centre, float) + radius * circle


def turned(profile: Sequence[tuple[float, float]], axis: str = "z", segments: int = 20, crease: float = 40) -> Mesh:
    """A profile of (radius, height) points, upwards, turned around an axis.

    Edges of the profile that bend by more than ``crease`` degrees stay sharp, others are shaded
    smooth. Points of radius 0 close the ends.
    """
    profile_array = np.asarray(profile, float)
    steps = np.diff(profile_array, axis=0)
    steps /= np.linalg.norm(steps, axis=1)[:, None]
    outward = np.stack([steps[:, 1], -steps[:, 0]], axis=1)
    sharp = np.ones(len(profile_array), bool)
    bend = np.einsum("ij,ij->i", outward[:-1], outward[1:])
    sharp[1:-1] = bend < np.cos(np.radians(crease))
    angles = 2 * np.pi * np.arange(segments + 1) / segments
    cos, sin = np.cos(angles), np.sin(angles)
    meshes = []
    for k in range(len(steps)):
        rows = []
        for end, neighbour in ((k, k - 1), (k + 1, k + 1)):
            normal = outward[k] if sharp[end] else outward[k] + outward[neighbour]
            rows.append((profile_array[end], normal / np.linalg.norm(normal)))
        points = np.concatenate([np.stack([r * cos, r * sin, np.full_like(cos, h)], 1) for (r, h), _ in rows])
        normals = np.concatenate([np.stack([n[0] * cos, n[0] * sin, np.full_like(cos, n[1])], 1) for _, n in rows])
        texture = np.concatenate([np.stack([angles / (2 * np.pi), np.full_like(cos, h)], 1) for (_, h), _ in rows])
        low, high = np.arange(segments), np.arange(segments) + segments + 1
        triangles = []
        if rows[0][0][0] > 0:
            triangles.append(np.stack([low, low + 1, high], 1))
        if rows[1][0][0] > 0:
            triangles.append(np.stack([low + 1, high + 1, high], 1))
        meshes.append(Mesh(points, normals, texture, np.concatenate(triangles)))
    mesh = joined(meshes)
    return mesh.moved(np.roll(np.eye(3), AXES[axis] - 2, axis=0))


def rounded_rectangle(width: float, height: float, radius: float, segments: int = 2) -> np.ndarray:
    """Corners (K, 2), counter-clockwise around the origin, of a rectangle with rounded corners."""
    corners = []
    for quarter, (sx, sy) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1))):
        for k in range(segments + 1):
            angle = (quarter + k / segments) * np.pi / 2
            corners.append(
                (
                    sx * (width / 2 - radius) + radius * np.cos(angle),
                    sy * (height / 2 - radius) + radius * np.sin(angle),
                )
            )
    return np.array(corners)


def sweep_rings(section: np.ndarray, path: np.ndarray, side: Sequence[float]) -> list[np.ndarray]:
    """Rings (K, 3) of a section carried along a flat path, mitred at its bends.

    The section's first coordinate goes along ``side`` (perpendicular to the path's plane), its
    second along ``tangent x side``.
    """
    side_vector = np.asarray(side, float)
    tangents = np.diff(path, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1)[:, None]
    rings = []
    for k, point in enumerate(path):
        before, after = tangents[max(k - 1, 0)], tangents[min(k, len(tangents) - 1)]
        across = np.cross(before + after, side_vector)
        across /= np.linalg.norm(across)
        stretch = 1 / np.sqrt((1 + before @ after) / 2)
        rings.append(point + np.outer(section[:, 0], side_vector) + np.outer(section[:, 1] * stretch, across))
    return rings


def lofted(rings: Sequence[np.ndarray], crease: float = 50) -> Mesh:
    """A skin over rings of equal point count, shaded smooth around the section, with flat ends."""
    count = len(rings[0])
    quads, ends = [], [rings[0][::-1], rings[-1]]
    for lower, upper in itertools.pairwise(rings):
        for k in range(count):
            n = (k + 1) % count
            quads.append(np.array([lower[k], lower[n], upper[n], upper[k]]))
    flat = facets([*ends, *quads])
    return smoothed(flat, crease)


def smoothed(mesh: Mesh, crease: float) -> Mesh:
    """The mesh with normals averaged over all faces at a point that bend less than ``crease`` degrees."""
    members: dict[tuple[float, ...], list[int]] = {}
    for index, point in enumerate((np.round(mesh.points, 7) + 0.0).tolist()):
        members.setdefault(tuple(point), []).append(index)
    normals = mesh.normals.copy()
    for indices in members.values():
        # Each direction once, however many polygons of a plane meet here.
        faces = np.array(list(dict.fromkeys(map(tuple, np.round(mesh.normals[indices], 6).tolist()))))
        near = mesh.normals[indices] @ faces.T > np.cos(np.radians(crease))
        totals = near @ faces
        normals[indices] = totals / np.linalg.norm(totals, axis=1, keepdims=True)
    return replace(mesh, normals=normals)


def grained(mesh: Mesh, grain: str, repeat: float, shift: tuple[float, float] = (0.0, 0.0)) -> Mesh:
    """The mesh with a wood texture laid on it, the grain along one axis.

    ``repeat`` is the length one texture covers, ``shift`` (fractions of a texture) tells parts
    apart. Coordinates are moved up by whole repeats because the renderers do not agree on negatives.
    """
    along = AXES[grain]
    others = [axis for axis in range(3) if axis != along]
    # A face shows the grain axis and whichever other axis lies more in the face.
    across = np.where(
        np.abs(mesh.normals[:, others[0]]) > np.abs(mesh.normals[:, others[1]]),
        mesh.points[:, others[1]],
        mesh.points[:, others[0]],
    )
    lengthwise = mesh.points[:, along]
    end_grain = np.abs(mesh.normals[:, along]) > 0.9
    lengthwise = np.where(end_grain, mesh.points[:, others[0]], lengthwise)
    across = np.where(end_grain, mesh.points[:, others[1]], across)
    texture = np.stack([lengthwise, across], axis=1) / repeat + np.asarray(shift)
    return replace(mesh, texture=texture + max(0.0, np.ceil(-texture.min())))
