"""Fewer triangles for the same look: edges of a mesh are collapsed while it stays within a tolerance.

Each position keeps the planes of all triangles that it stands for, as a quadric (Garland and Heckbert,
*Surface simplification using quadric error metrics*, 1997); an edge collapses onto one of its ends when
that end is near enough to all planes of both. What corners look like belongs to *wedges*, the groups of
corners at one position that share it; a collapse carries the wedges of the position that vanishes along
the edge to those of the one that stays (Hoppe, *Progressive meshes*, 1996). It is not made when texture
coordinates have nowhere to go, and edges between different ones are kept in place by planes that stand on
them; a normal that has nowhere to go stays with its triangle, which is right for flat ones.

All collapses of one pass are far enough from each other not to meet, which makes a pass a handful of
array operations. The order of the triangles that remain is that of the file.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vla_bench.envs.calvin.renderers.fast.meshes import Mesh

_MAX_PASSES = 100
_LEAST_COSINE = 0.5
"""Between a triangle's direction before and after a collapse."""


class _Edges(NamedTuple):
    """Edges (E,) of a mesh, with the one or two triangles at each."""

    ends: np.ndarray
    """(E, 2): positions, the lower index first."""
    triangles: np.ndarray
    """(E, 2): the same triangle twice at a border."""
    count: np.ndarray
    """(E,): how many triangles meet; more than two is no surface."""


def simplified(mesh: Mesh, tolerance: float) -> Mesh:
    """``mesh`` with as few triangles as keep every position within ``tolerance`` of its planes.

    ``tolerance`` is in the mesh's own unit. The result depends on nothing but the arguments.
    """
    positions = mesh.positions.astype(np.float64)
    triangles = mesh.triangles.astype(np.int64)
    solid = _solid(triangles)
    triangles = triangles[solid]
    paints, painted = _wedges(triangles, mesh.texture_coordinates[solid])
    normals, directed = _wedges(triangles, mesh.normals[solid])
    quadrics = _quadrics(positions, triangles, painted)
    refused = np.zeros(0, dtype=np.int64)
    for _ in range(_MAX_PASSES):
        edges = _edges(triangles)
        start, end, through, cost = _candidates(edges, triangles, painted, positions, quadrics)
        fit = (cost <= tolerance**2) & ~np.isin(start * len(positions) + end, refused)
        start, end, through, cost = start[fit], end[fit], through[fit], cost[fit]
        apart = _apart(edges.ends, start, end, cost, len(positions))
        start, end, through = start[apart], end[apart], through[apart]
        if not len(start):
            break
        sound = _keeps_shape(edges, triangles, positions, start, end)
        refused = np.concatenate([refused, (start * len(positions) + end)[~sound]])
        start, end, through = start[sound], end[sound], through[sound]
        quadrics[end] += quadrics[start]
        moved = np.arange(len(positions))
        moved[start] = end
        painted = _carried(triangles, painted, start, end, through)
        directed = _carried(triangles, directed, start, end, through)
        triangles = moved[triangles]
        solid = _solid(triangles)
        triangles, painted, directed = triangles[solid], painted[solid], directed[solid]
    used, triangles = np.unique(triangles, return_inverse=True)
    return Mesh(
        mesh.positions[used],
        triangles.reshape(-1, 3).astype(np.int32),
        normals[directed].astype(np.float32),
        paints[painted].astype(np.float32),
    )


def _wedges(triangles: np.ndarray, looks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The looks of the wedges, and the wedge (T, 3) of each corner, from what corners look like."""
    table = np.concatenate([triangles[:, :, None], looks], axis=2).reshape(len(triangles) * 3, -1)
    wedges, number = np.unique(table, axis=0, return_inverse=True)
    return wedges[:, 1:], number.reshape(-1, 3)


def _carried(
    triangles: np.ndarray, wedges: np.ndarray, start: np.ndarray, end: np.ndarray, through: np.ndarray
) -> np.ndarray:
    """``wedges`` after collapses from ``start`` to ``end`` between the triangles ``through``."""
    carried = np.arange(wedges.max() + 1)
    for side in (1, 0):
        carried[_wedge_at(triangles, wedges, through[:, side], start)] = _wedge_at(
            triangles, wedges, through[:, side], end
        )
    return carried[wedges]


def _solid(triangles: np.ndarray) -> np.ndarray:
    a, b, c = triangles.T
    return (a != b) & (b != c) & (c != a)


def _edges(triangles: np.ndarray) -> _Edges:
    sides = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    keys = sides[:, 0] << 32 | sides[:, 1]
    order = np.argsort(keys, kind="stable")
    first = np.flatnonzero(np.diff(keys[order], prepend=-1))
    last = np.append(first[1:], len(keys)) - 1
    ends = sides[order[first]]
    return _Edges(ends, np.stack([order[first], order[last]], axis=1) // 3, last - first + 1)


def _quadrics(positions: np.ndarray, triangles: np.ndarray, wedges: np.ndarray) -> np.ndarray:
    """(V, 4, 4): the planes through each position, summed."""
    corners = positions[triangles]
    normals = _unit(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    quadrics = np.zeros((len(positions), 4, 4))
    _add_planes(quadrics, triangles, normals, corners[:, 0])
    edges = _edges(triangles)
    first, second = edges.triangles.T
    changes = edges.count != 2
    for end in edges.ends.T:
        changes |= _wedge_at(triangles, wedges, first, end) != _wedge_at(triangles, wedges, second, end)
    ends, first = edges.ends[changes], first[changes]
    along = positions[ends[:, 1]] - positions[ends[:, 0]]
    _add_planes(quadrics, ends, _unit(np.cross(along, normals[first])), positions[ends[:, 0]])
    return quadrics


def _add_planes(quadrics: np.ndarray, at: np.ndarray, normals: np.ndarray, points: np.ndarray) -> None:
    planes = np.concatenate([normals, -np.sum(normals * points, axis=1, keepdims=True)], axis=1)
    products = planes[:, :, None] * planes[:, None, :]
    for column in at.T:
        np.add.at(quadrics, column, products)


def _candidates(
    edges: _Edges, triangles: np.ndarray, wedges: np.ndarray, positions: np.ndarray, quadrics: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Collapses that carry every look along: position that goes, that stays, triangles between, cost."""
    border = np.zeros(len(positions), dtype=bool)
    border[edges.ends[edges.count == 1]] = True
    tangled = np.zeros(len(positions), dtype=bool)
    tangled[edges.ends[edges.count > 2]] = True
    looks = np.zeros(len(positions), dtype=np.int64)
    owners = np.unique(triangles.ravel() << 32 | wedges.ravel()) >> 32
    np.add.at(looks, owners, 1)
    found = []
    for direction in (0, 1):
        start, end = edges.ends[:, direction], edges.ends[:, 1 - direction]
        first, second = edges.triangles.T
        one = _wedge_at(triangles, wedges, first, start)
        two = _wedge_at(triangles, wedges, second, start)
        allowed = (
            ~tangled[start]
            & ~tangled[end]
            & (~border[start] | (edges.count == 1))
            & (looks[start] == np.where(one == two, 1, 2))
        )
        # A look that splits at the end that stays cannot be carried there by one wedge.
        split = (one == two) & (_wedge_at(triangles, wedges, first, end) != _wedge_at(triangles, wedges, second, end))
        allowed &= ~split
        start, end, between = start[allowed], end[allowed], edges.triangles[allowed]
        there = np.concatenate([positions[end], np.ones((len(end), 1))], axis=1)
        both = quadrics[start] + quadrics[end]
        cost = np.einsum("ni,nij,nj->n", there, both, there)
        found.append((start, end, between, np.maximum(cost, 0)))
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


def _wedge_at(triangles: np.ndarray, wedges: np.ndarray, chosen: np.ndarray, position: np.ndarray) -> np.ndarray:
    """The wedge of each ``chosen`` triangle at ``position``, one of its corners."""
    corner = np.argmax(triangles[chosen] == position[:, None], axis=1)
    return wedges[chosen, corner]


def _apart(ends: np.ndarray, start: np.ndarray, end: np.ndarray, cost: np.ndarray, count: int) -> np.ndarray:
    """Which collapses are the cheapest within two edges around them: none of those touch."""
    order = np.empty(len(cost))
    order[np.lexsort((end, start, cost))] = np.arange(len(cost))
    best = np.full(count, np.inf)
    np.minimum.at(best, start, order)
    np.minimum.at(best, end, order)
    around = best.copy()
    np.minimum.at(around, ends[:, 0], best[ends[:, 1]])
    np.minimum.at(around, ends[:, 1], best[ends[:, 0]])
    return (around[start] == order) & (around[end] == order)


def _keeps_shape(
    edges: _Edges, triangles: np.ndarray, positions: np.ndarray, start: np.ndarray, end: np.ndarray
) -> np.ndarray:
    """Which collapses turn no triangle far and glue nothing together."""
    number = np.full(len(positions), -1)
    number[start] = np.arange(len(start))
    sound = np.ones(len(start), dtype=bool)
    target = np.arange(len(positions))
    target[start] = end
    touched = triangles[(number[triangles] >= 0).any(axis=1)]
    after = target[touched]
    remains = _solid(after)
    touched, after = touched[remains], after[remains]
    before_normal, after_normal = _normals(positions[touched]), _normals(positions[after])
    turned = np.sum(before_normal * after_normal, axis=1) < _LEAST_COSINE
    sound[number[touched[turned]].max(axis=1)] = False
    # Positions next to both ends must be just those of the triangles between them.
    keys = np.concatenate([edges.ends, edges.ends[:, ::-1]])
    beside = keys[number[keys[:, 0]] >= 0]
    known = np.sort(keys[:, 0] * len(positions) + keys[:, 1])
    wanted = target[beside[:, 0]] * len(positions) + beside[:, 1]
    place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    common = np.bincount(number[beside[known[place] == wanted, 0]], minlength=len(start))
    edge_of = edges.ends[:, 0] * len(positions) + edges.ends[:, 1]
    pair = np.minimum(start, end) * len(positions) + np.maximum(start, end)
    return sound & (common == edges.count[np.searchsorted(edge_of, pair)])


def _normals(corners: np.ndarray) -> np.ndarray:
    return _unit(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
