"""Asset bundles: folders of URDFs, meshes, textures and instruction texts, all of one layout.

``data/`` holds what calvin_env keeps there, ``annotations/`` the instruction texts.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from envs.calvin.scenes import SCENES
from envs.errors import AssetError

BUILTIN_ROOT = Path(__file__).parent / "builtin" / "assets"
ENVIRONMENT_VARIABLE = "CALVIN_ASSETS"
ANNOTATIONS = "annotations/new_playtable_validation.yaml"
PANDA = "data/franka_panda/panda_longer_finger.urdf"
PLANE = "data/plane/plane.urdf"


@dataclass(frozen=True)
class AssetBundle:
    """A folder that holds everything a scene is made of."""

    name: str
    """``official`` or ``builtin``."""
    root: Path

    @property
    def data(self) -> Path:
        """The folder the URDFs lie in."""
        return self.root / "data"

    @cached_property
    def instructions(self) -> dict[str, str]:
        """The text of each of the 34 tasks. Official: the first validation annotation."""
        import yaml

        texts = yaml.safe_load((self.root / ANNOTATIONS).read_text(encoding="utf-8"))
        return {task: alternatives[0].strip() for task, alternatives in texts.items()}

    @cached_property
    def checksum(self) -> str:
        """First 16 hex digits of the SHA-256 over the paths and contents of every file."""
        total = hashlib.sha256()
        for path in sorted(p for p in self.root.rglob("*") if p.is_file()):
            relative = path.relative_to(self.root).as_posix()
            if relative.startswith(("data/", "annotations/")):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                total.update(f"{relative} {content}\n".encode())
        return total.hexdigest()[:16]

    def check(self) -> None:
        """Raises AssetError naming the first file that a scene cannot do without."""
        needed = [ANNOTATIONS, PANDA, PLANE]
        for scene in SCENES.values():
            needed += [f"data/{scene.urdf}", *(f"data/{block.urdf}" for block in scene.blocks)]
        for relative in needed:
            if not (self.root / relative).is_file():
                raise AssetError(f"the {self.name} CALVIN assets in {self.root} lack {relative}; {MENDING}")


MENDING = (
    "point CALVIN_ASSETS at a folder that holds data/ (of calvin_env) and annotations/ (of calvin), "
    "or choose benchmark.assets=builtin"
)


def find_bundle(name: str) -> AssetBundle:
    """The asset bundle of that name.

    Raises:
        AssetError: when the name is unknown, or the files are not there; says what to type.
    """
    if name == "builtin":
        bundle = AssetBundle("builtin", BUILTIN_ROOT)
    elif name == "official":
        folder = os.environ.get(ENVIRONMENT_VARIABLE)
        if not folder:
            raise AssetError(f"the official CALVIN assets are not on this machine; {MENDING}")
        bundle = AssetBundle("official", Path(folder).expanduser().resolve())
    else:
        raise AssetError(f"unknown asset bundle {name!r}; there are official and builtin")
    bundle.check()
    return bundle
