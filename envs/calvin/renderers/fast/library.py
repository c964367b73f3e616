"""Meshes and images of an asset bundle, read once and simplified once.

A simplified mesh is kept on disk under the checksum of the file it was made from, so that it is made
when a bundle is first drawn and never again.
"""

from __future__ import annotations

import functools
import hashlib
import io
from pathlib import Path

import numpy as np

from vla_bench.envs.calvin.renderers.fast import meshes, simplify
from vla_bench.envs.calvin.renderers.fast.cache import cache_folder, keep
from vla_bench.envs.calvin.renderers.fast.meshes import Mesh, read_mesh, texture_of
from vla_bench.envs.calvin.renderers.fast.textures import Texture, read_texture
from vla_bench.envs.damaged import NO_ARCHIVE

TOLERANCE = 0.001
"""How far a simplified surface may be from the original's planes, metres. A pixel of the static camera is
4.4 mm wide on the table; one of the gripper camera 2 mm, 10 cm away."""
_FEW = 500
"""Meshes with no more triangles than this are left as they are."""


class Library:
    """What has been read in this process. Objects are shared: the same arguments give the same object."""

    def __init__(self, tolerance: float = TOLERANCE) -> None:
        """``tolerance`` 0 leaves all meshes as they are."""
        self._tolerance = tolerance
        self._meshes: dict[tuple[Path, tuple[float, ...]], Mesh] = {}
        self._textures: dict[Path, Texture] = {}

    def mesh(self, path: Path, scale: tuple[float, ...]) -> Mesh:
        """The mesh in a file, in metres after ``scale`` (3,) along its axes, simplified.

        Raises:
            RendererError: when the file holds no mesh that can be read.
        """
        key = (path, tuple(scale))
        if key not in self._meshes:
            self._meshes[key] = self._simplified(path, key[1])
        return self._meshes[key]

    def texture(self, path: Path) -> Texture | None:
        """The image that the mesh in ``path`` is covered with."""
        image = texture_of(path)
        if image is None:
            return None
        if image not in self._textures:
            self._textures[image] = read_texture(image)
        return self._textures[image]

    def _simplified(self, path: Path, scale: tuple[float, ...]) -> Mesh:
        identity = hashlib.sha256(path.read_bytes())
        identity.update(f"{_code()} {path.suffix} {scale} {self._tolerance}".encode())
        kept = cache_folder("meshes") / f"{identity.hexdigest()[:32]}.npz"
        mesh = _load(kept)
        if mesh is None:
            mesh = read_mesh(path).transformed(np.array(scale), np.eye(3), np.zeros(3))
            if self._tolerance > 0 and len(mesh.triangles) > _FEW:
                mesh = simplify.simplified(mesh, self._tolerance)
            keep(kept, _dump(mesh))
        return mesh


@functools.cache
def _code() -> str:
    """Checksum of the code that makes meshes, so that a change of it makes them anew."""
    sources = (Path(module.__file__).read_bytes() for module in (meshes, simplify))
    return hashlib.sha256(b"".join(sources)).hexdigest()


def _dump(mesh: Mesh) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, *(getattr(mesh, field) for field in Mesh.__slots__))
    return buffer.getvalue()


def _load(path: Path) -> Mesh | None:
    """The mesh that was kept in ``path``, if one was and it is whole."""
    try:
        with np.load(path) as arrays:
            return Mesh(*(arrays[f"arr_{i}"] for i in range(4)))
    except NO_ARCHIVE:
        return None
