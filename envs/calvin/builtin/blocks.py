"""The movable blocks and the floor."""

from __future__ import annotations

from vla_bench.envs.calvin.builtin.files import MeshFiles
from vla_bench.envs.calvin.builtin.shapes import bevelled_box
from vla_bench.envs.calvin.builtin.urdf import Box, Colour, Inertial, Link, document

COLOURS: dict[str, Colour] = {"red": (1.0, 0.0, 0.0), "blue": (0.0, 0.0, 1.0), "pink": (1.0, 0.0, 1.0)}
LENGTHS = {"small": 0.05, "middle": 0.07, "big": 0.1}
"""Length of the long side, model units (1 unit = 0.8 m)."""
WIDTH = 0.05
MASS = 1.0


def block_files() -> dict[str, str]:
    """The nine blocks, by path below ``data/``."""
    files = MeshFiles("blocks/meshes", "meshes")
    for size, length in LENGTHS.items():
        half = (length / 2, WIDTH / 2, WIDTH / 2)
        low = (-half[0], -half[1], -half[2])
        mesh = files.plain(f"block_{size}", bevelled_box(low, half, 0.002))
        for name, colour in COLOURS.items():
            link = Link(
                "base_link",
                Inertial(MASS, inertia=(1.0, 1.0, 1.0)),
                visuals=((mesh, colour),),
                collisions=(Box(low, half),),
                contact={"lateral_friction": 0.7, "spinning_friction": 0.001},
            )
            path = f"blocks/block_{name}_{size}.urdf"
            files.texts[path] = document(f"block_{name}_{size}", [link])
    return files.texts
