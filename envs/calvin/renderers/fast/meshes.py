"""Triangle meshes as PyBullet's OpenGL renderer sees them, read from Wavefront and STL files.

Shading happens per pixel, so normals and texture coordinates stay with the corners of triangles, and
positions are welded: a position that a file repeats is transformed once. The order of triangles is
kept: where two have the same depth the earlier one is seen.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vla_bench.envs.errors import RendererError

_STATEMENT = re.compile(r"^(mtllib|usemtl)[ \t]+(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Mesh:
    """Triangles in the units and the frame of their file."""

    positions: np.ndarray
    """(V, 3) float32, no two equal."""
    triangles: np.ndarray
    """(T, 3) int32, indices into ``positions``; counter-clockwise seen from outside."""
    normals: np.ndarray
    """(T, 3, 3) float32, a unit normal for each corner of each triangle."""
    texture_coordinates: np.ndarray
    """(T, 3, 2) float32, origin at the image's lower left corner."""

    def transformed(self, scale: np.ndarray, rotation: np.ndarray, translation: np.ndarray) -> Mesh:
        """The mesh scaled along its axes (3,), then rotated (3, 3) and moved (3,).

        Normals are only rotated, as PyBullet does.
        """
        positions = (self.positions * np.asarray(scale)) @ rotation.T + translation
        return Mesh(
            positions.astype(np.float32),
            self.triangles,
            (self.normals @ rotation.T).astype(np.float32),
            self.texture_coordinates,
        )


def weld(corners: np.ndarray, normals: np.ndarray, texture_coordinates: np.ndarray) -> Mesh:
    """A mesh from corner positions (T, 3, 3), with equal positions made one."""
    flat = np.ascontiguousarray(corners.reshape(-1, 3), dtype=np.float32) + np.float32(0)  # no -0.0
    positions, inverse = np.unique(flat, axis=0, return_inverse=True)
    return Mesh(
        positions,
        inverse.reshape(-1, 3).astype(np.int32),
        np.ascontiguousarray(normals, dtype=np.float32),
        np.ascontiguousarray(texture_coordinates, dtype=np.float32),
    )


def read_mesh(path: Path) -> Mesh:
    """The mesh in a ``.obj`` or binary ``.stl`` file.

    Raises:
        RendererError: for another format, or a file that is not what its name says.
    """
    suffix = path.suffix.lower()
    if suffix == ".obj":
        return _read_wavefront(path)
    if suffix == ".stl":
        return _read_stl(path)
    raise RendererError(f"{path}: the fast renderer reads .obj and .stl meshes; type benchmark.renderer=egl or tiny")


def _read_stl(path: Path) -> Mesh:
    data = path.read_bytes()
    count = int.from_bytes(data[80:84], "little")
    if len(data) != 84 + 50 * count:
        raise RendererError(f"{path} is not a binary STL file")
    facet = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    facets = np.frombuffer(data, facet, count, 84)
    normals = np.repeat(facets["normal"][:, None], 3, axis=1)
    return weld(facets["corners"], normals, np.full((count, 3, 2), 0.5))


def _read_wavefront(path: Path) -> Mesh:
    """Polygons become fans; without normals a triangle is flat; without coordinates they are .5."""
    tables: dict[str, list[list[float]]] = {"v": [], "vt": [], "vn": []}
    corners: list[tuple[int, int, int]] = []
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            kind, _, rest = line.partition(" ")
            if kind in tables:
                width = 2 if kind == "vt" else 3
                tables[kind].append([float(word) for word in rest.split()[:width]])
            elif kind == "f":
                polygon = [_corner(word, tables) for word in rest.split()]
                for second, third in itertools.pairwise(polygon[1:]):
                    corners += (polygon[0], second, third)
    if not corners:
        raise RendererError(f"{path} holds no triangle")
    indices = np.array(corners).reshape(-1, 3, 3)
    vertices = np.array(tables["v"], dtype=np.float32)[indices[:, :, 0]]
    if len(tables["vt"]):
        listed = np.array(tables["vt"], dtype=np.float32)
        coordinates = np.where(indices[:, :, 1:2] >= 0, listed[indices[:, :, 1]], np.float32(0))
    else:
        coordinates = np.full((len(indices), 3, 2), 0.5, dtype=np.float32)
    flat = _flat_normals(vertices)
    if tables["vn"]:
        given = indices[:, :, 2:3].min(axis=1, keepdims=True) >= 0
        normals = np.where(given, np.array(tables["vn"], dtype=np.float32)[indices[:, :, 2]], flat)
    else:
        normals = flat
    return weld(vertices, normals, coordinates)


def _corner(word: str, tables: dict[str, list]) -> tuple[int, int, int]:
    """``v/vt/vn`` as indices from 0, -1 for what is missing."""
    fields = [*word.split("/"), "", ""][:3]
    result = []
    for field, table in zip(fields, ("v", "vt", "vn"), strict=True):
        number = int(field) if field else 0
        result.append(number - 1 if number >= 0 else len(tables[table]) + number)
    return tuple(result)


def _flat_normals(corners: np.ndarray) -> np.ndarray:
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    unit = np.divide(normals, length, out=np.zeros_like(normals), where=length > 1e-7)
    return np.repeat(unit[:, None], 3, axis=1)


def texture_of(path: Path) -> Path | None:
    """The image of the first material that a ``.obj`` file uses and whose image is there.

    PyBullet takes one image for a whole file, and draws without one when it finds none.
    """
    if path.suffix.lower() != ".obj":
        return None
    images: dict[str, str] = {}
    used: list[str] = []
    for kind, name in _STATEMENT.findall(path.read_text(encoding="utf-8", errors="replace")):
        if kind == "usemtl":
            used.append(name.strip())
        else:
            images |= _images_of(path.parent / name.strip())
    for name in used:
        image = images.get(name)
        if image and (path.parent / image).is_file():
            return path.parent / image
    return None


def _images_of(library: Path) -> dict[str, str]:
    images: dict[str, str] = {}
    if not library.is_file():
        return images
    material = ""
    with library.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            kind, _, rest = line.strip().partition(" ")
            if kind == "newmtl":
                material = rest.strip()
            elif kind == "map_Kd":
                images[material] = rest.strip()
    return images
