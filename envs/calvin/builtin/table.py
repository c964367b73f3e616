"""Puts a table together: the fixed part first, then the links in the order PyBullet numbers them."""

from __future__ import annotations

from vla_bench.envs.calvin.builtin import carcase, fittings
from vla_bench.envs.calvin.builtin.files import MeshFiles
from vla_bench.envs.calvin.builtin.layouts import Layout
from vla_bench.envs.calvin.builtin.urdf import Joint, Link, document

LINKS = (
    fittings.button,
    fittings.switch,
    fittings.slide,
    fittings.drawer,
    fittings.led,
    fittings.light,
    fittings.plank,
)
"""Links 0 to 6; the oracle knows the cabinet's plank and the drawer by these numbers."""


def table_files(scene: str, layout: Layout) -> dict[str, str]:
    """All text files of a scene's table, by path below ``data/``."""
    folder = f"calvin_table_{scene}"
    files = MeshFiles(f"{folder}/meshes", "../meshes", textures="../textures/")
    members: list[Link | Joint] = [carcase.base_link(files, layout)]
    for build in LINKS:
        members += build(files, layout)
    return files.texts | {f"{folder}/urdf/{folder}.urdf": document(folder, members)}
