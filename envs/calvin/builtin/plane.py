"""The floor."""

from __future__ import annotations

import numpy as np

from vla_bench.envs.calvin.builtin.files import MeshFiles
from vla_bench.envs.calvin.builtin.shapes import Mesh
from vla_bench.envs.calvin.builtin.urdf import WHITE, Box, Inertial, Link, document

EXTENT = 15.0
"""Half side of the square that is drawn, model units."""
TILE = 2.0
"""Length one texture covers: two squares of the checker."""


def plane_files() -> dict[str, str]:
    """The floor, by path below ``data/``."""
    files = MeshFiles("plane", ".")
    corners = EXTENT * np.array(((-1, -1), (1, -1), (1, 1), (-1, 1), (0, 1)))
    floor = Mesh(
        points=np.c_[corners, np.zeros(5)],
        normals=np.tile((0.0, 0.0, 1.0), (5, 1)),
        texture=(corners + EXTENT) / TILE,
        # What the cameras see lies in the first: the software renderer tests every pixel of the box
        # around a triangle, and along a diagonal it would test most of them twice.
        triangles=np.array(((0, 1, 4), (1, 2, 4), (0, 4, 3))),
    )
    link = Link(
        "planeLink",
        Inertial(0.0),
        visuals=((files.textured("plane", floor, "checker"), WHITE),),
        collisions=(Box((-100.0, -100.0, -10.0), (100.0, 100.0, 0.0)),),
        contact={"lateral_friction": 1.0},
    )
    return files.texts | {"plane/plane.urdf": document("plane", [link])}
