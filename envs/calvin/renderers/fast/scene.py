"""What there is to draw: the loaded bodies' visual shapes, packed into flat arrays for the kernels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vla_bench.envs.calvin.renderers.fast import hull
from vla_bench.envs.calvin.renderers.fast.kinematics import compose, frame, inverse
from vla_bench.envs.calvin.renderers.fast.library import Library
from vla_bench.envs.calvin.renderers.fast.light import light_table
from vla_bench.envs.calvin.renderers.fast.meshes import Mesh
from vla_bench.envs.calvin.renderers.fast.textures import Texture
from vla_bench.envs.errors import RendererError


@dataclass(frozen=True, slots=True)
class Part:
    """One visual shape, fixed to a link."""

    body: int
    link: int
    """-1 is the base."""
    mesh: Mesh
    """In the frame of the link's centre of mass."""
    image: Texture | None
    rgba: tuple[float, float, float, float]
    file: Path | None = None
    """Where the mesh was read from, with ``scale``."""
    scale: tuple[float, ...] = (1.0, 1.0, 1.0)


class DrawList(NamedTuple):
    """All parts of a scene in flat arrays, as the kernels take them. P parts, V positions, T triangles."""

    positions: np.ndarray  # (V, 3) float32, in the frame of the part's link
    triangles: np.ndarray  # (T, 3) int32
    normals: np.ndarray  # (T, 3, 3) float32
    texture_coordinates: np.ndarray  # (T, 3, 2) float32
    part_of: np.ndarray  # (T,) int32
    vertex_ranges: np.ndarray  # (P, 2) int64: first and one past the last position
    triangle_ranges: np.ndarray  # (P, 2) int64
    spheres: np.ndarray  # (P, 4) float64: centre and radius of a sphere around the part
    colours: np.ndarray  # (P, 4) float32
    textures: np.ndarray  # (P,) int32, -1 without
    texture_levels: np.ndarray  # (I, 2) int32: first level and number of levels of each image
    levels: np.ndarray  # (L, 3) int32: offset, width, height
    texels: np.ndarray  # (N, 3) uint8
    worlds: np.ndarray  # (P, 3, 4) float64: part to world, current
    projections: np.ndarray  # (P, 3, 4) float64: part to pixels of the camera being drawn
    light: np.ndarray  # (5, 4) float64, see light.light_table


def draw_list(parts: list[Part]) -> DrawList:
    """Packs ``parts`` for the kernels."""
    vertices = np.cumsum([0, *(len(part.mesh.positions) for part in parts)])
    triangles = np.cumsum([0, *(len(part.mesh.triangles) for part in parts)])
    return DrawList(
        positions=np.concatenate([part.mesh.positions for part in parts]),
        triangles=np.concatenate([p.mesh.triangles + start for p, start in zip(parts, vertices, strict=False)]).astype(
            np.int32
        ),
        normals=np.concatenate([part.mesh.normals for part in parts]),
        texture_coordinates=np.concatenate([part.mesh.texture_coordinates for part in parts]),
        part_of=np.repeat(np.arange(len(parts), dtype=np.int32), np.diff(triangles)),
        vertex_ranges=np.stack([vertices[:-1], vertices[1:]], axis=1).astype(np.int64),
        triangle_ranges=np.stack([triangles[:-1], triangles[1:]], axis=1).astype(np.int64),
        spheres=np.array([_sphere(part.mesh.positions) for part in parts]),
        colours=np.array([part.rgba for part in parts], dtype=np.float32),
        **packed([part.image for part in parts]),
        worlds=np.zeros((len(parts), 3, 4)),
        projections=np.zeros((len(parts), 3, 4)),
        light=light_table(),
    )


def packed(images: Sequence[Texture | None]) -> dict[str, np.ndarray]:
    """The fields of a draw list whose parts have these images."""
    pyramids = list({id(image): image for image in images if image is not None}.values())
    numbers = {id(pyramid): number for number, pyramid in enumerate(pyramids)}
    texel_starts = np.cumsum([0, *(len(pyramid.texels) for pyramid in pyramids)])
    level_counts = [len(pyramid.levels) for pyramid in pyramids]
    level_starts = np.cumsum([0, *level_counts])
    levels = [p.levels + np.array([start, 0, 0]) for p, start in zip(pyramids, texel_starts, strict=False)]
    return {
        "textures": np.array([numbers.get(id(image), -1) for image in images], dtype=np.int32),
        "texture_levels": np.array(
            list(zip(level_starts, level_counts, strict=False)) or np.zeros((0, 2)), dtype=np.int32
        ).reshape(-1, 2),
        "levels": np.concatenate([*levels, np.zeros((0, 3))]).astype(np.int32),
        "texels": np.concatenate([*(p.texels for p in pyramids), np.zeros((0, 3), dtype=np.uint8)]),
    }


def _sphere(positions: np.ndarray) -> tuple[float, float, float, float]:
    centre = (positions.min(axis=0) + positions.max(axis=0)).astype(np.float64) / 2
    return (*centre, float(np.linalg.norm(positions - centre, axis=1).max()) + 1e-6)


def parts_of(
    bullet: Any,
    client: int,
    bodies: Iterable[int],
    library: Library,
) -> list[Part]:
    """The visual shapes of ``bodies``, body by body."""
    parts = []
    for body in bodies:
        for shape in bullet.getVisualShapeData(body, physicsClientId=client):
            link, kind, dimensions, file = shape[1], shape[2], shape[3], shape[4].decode()
            image = None
            if kind == bullet.GEOM_MESH:
                image = library.texture(Path(file))
                mesh = library.mesh(Path(file), dimensions)
            else:
                mesh = _primitive(bullet, kind, dimensions)
            dynamics = bullet.getDynamicsInfo(body, link, physicsClientId=client)
            # The shape is given in the link's frame; links are posed by their centre of mass.
            local = np.empty((3, 4))
            compose(inverse(frame(bullet, *dynamics[3:5])), frame(bullet, *shape[5:7]), local)
            mesh = mesh.transformed(np.ones(3), local[:, :3], local[:, 3])
            parts.append(Part(body, link, mesh, image, shape[7], Path(file), dimensions))
    return parts


def _primitive(bullet: Any, kind: int, dimensions: tuple[float, ...]) -> Mesh:
    if kind == bullet.GEOM_BOX:
        return hull.box(np.array(dimensions))
    if kind == bullet.GEOM_CYLINDER:
        return hull.cylinder(dimensions[1], dimensions[0])
    if kind == bullet.GEOM_CAPSULE:
        return hull.capsule(dimensions[1], dimensions[0])
    if kind == bullet.GEOM_SPHERE:
        return hull.sphere(dimensions[0])
    raise RendererError(
        f"the fast renderer does not draw PyBullet's visual shapes of type {kind}; type benchmark.renderer=egl or tiny"
    )
