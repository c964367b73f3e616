"""Collects the text files of one URDF and its meshes while its links are being described."""

from __future__ import annotations

from dataclasses import dataclass, field

from vla_bench.envs.calvin.builtin.shapes import Mesh
from vla_bench.envs.calvin.builtin.urdf import MeshFile
from vla_bench.envs.calvin.builtin.wavefront import material_file, object_file


@dataclass(slots=True)
class MeshFiles:
    """Texts of mesh files by path; meshes are named by how a URDF refers to them."""

    folder: str
    """Folder of the meshes, below the folder all paths start from."""
    reference: str
    """The same folder as seen from the URDF."""
    textures: str = ""
    """Folder of the textures, relative to the meshes."""
    texts: dict[str, str] = field(default_factory=dict)

    def textured(self, name: str, mesh: Mesh, texture: str) -> MeshFile:
        """A mesh that shows the texture of that name."""
        library = f"{texture}.mtl"
        self.texts[f"{self.folder}/{library}"] = material_file(texture, f"{self.textures}{texture}.png")
        return self._add(name, object_file([(name, mesh)], material=texture, library=library))

    def plain(self, name: str, mesh: Mesh) -> MeshFile:
        """A mesh whose colour comes from the URDF."""
        return self._add(name, object_file([(name, mesh)]))

    def hulls(self, name: str, parts: list[Mesh]) -> MeshFile:
        """A collision shape of convex parts."""
        return self._add(name, object_file([(f"part_{k}", part) for k, part in enumerate(parts)]))

    def _add(self, name: str, text: str) -> MeshFile:
        self.texts[f"{self.folder}/{name}.obj"] = text
        return MeshFile(f"{self.reference}/{name}.obj")
