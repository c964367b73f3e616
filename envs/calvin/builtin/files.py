"""Collects the text files of one URDF and its meshes while its links are being described."""

from __future__ import annotations

from dataclasses import dataclass, field

from envs.calvin.builtin.shapes import Mesh
from envs.calvin.builtin.urdf import MeshFile
from envs.calvin.builtin.wavefront import material_file, object_file


@dataclass(slots=True)
class MeshFiles:
    """Texts of mesh files by path; meshes are named by how a URDF refers to them."""

    folder: str
    """Folder of the meshes, below the folder all paths start from."""
    reference: str
    """The same folder as seen from the URDF."""
    texture: str = ""
    """Texture of the textured meshes, relative to them."""
    texts: dict[str, str] = field(default_factory=dict)

    def textured(self, name: str, mesh: Mesh) -> MeshFile:
        """A mesh with the texture on it."""
        self.texts[f"{self.folder}/surface.mtl"] = material_file("surface", self.texture)
        return self._add(name, object_file([(name, mesh)], material="surface", library="surface.mtl"))

    def plain(self, name: str, mesh: Mesh) -> MeshFile:
        """A mesh whose colour comes from the URDF."""
        return self._add(name, object_file([(name, mesh)]))

    def hulls(self, name: str, parts: list[Mesh]) -> MeshFile:
        """A collision shape of convex parts."""
        return self._add(name, object_file([(f"part_{k}", part) for k, part in enumerate(parts)]))

    def _add(self, name: str, text: str) -> MeshFile:
        self.texts[f"{self.folder}/{name}.obj"] = text
        return MeshFile(f"{self.reference}/{name}.obj")
