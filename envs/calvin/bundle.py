"""Asset bundles: folders of URDFs, meshes, textures and instruction texts, all of one layout.

``data/`` holds what calvin_env keeps there, ``annotations/`` the instruction texts.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from shlex import quote

from vla_bench.envs.calvin.official.manifest import Fault, cache_folder, first_fault, needed_files
from vla_bench.envs.calvin.scenes import SCENES
from vla_bench.envs.errors import AssetError, suggestion
from vla_bench.program import program

BUILTIN_ROOT = Path(__file__).parent / "builtin" / "assets"
ENVIRONMENT_VARIABLE = "CALVIN_ASSETS"
ANNOTATIONS = "annotations/new_playtable_validation.yaml"
ALL_ANNOTATIONS = "annotations/new_playtable.yaml"
"""Several texts for each task, which the official bundle has."""
PANDA = "data/franka_panda/panda_longer_finger.urdf"
PLANE = "data/plane/plane.urdf"
BUNDLES = ("official", "builtin")


def fetch_command() -> str:
    """The command that brings the official files."""
    return f"{program()} assets fetch calvin"


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

    def annotated(self) -> dict[str, tuple[str, ...]]:
        """All sentences that each task was annotated with in the training data. AssetError: they are not there."""
        import yaml

        path = self.root / ALL_ANNOTATIONS
        if not path.is_file():
            raise AssetError(f"{self.root} lacks {ALL_ANNOTATIONS}; bring it with: {fetch_command()}")
        texts = yaml.safe_load(path.read_text(encoding="utf-8"))
        return {task: tuple(text.strip() for text in alternatives) for task, alternatives in texts.items()}

    @cached_property
    def checksum(self) -> str:
        """First 16 hex digits of the SHA-256 over the paths and contents of the files that count.

        Official: those a simulation reads, each compared with the manifest, so that it is the same on
        every machine and whatever else lies in the folder. Built-in: all of them.

        Raises:
            AssetError: names a file of the official bundle that is missing or altered.
        """
        total = hashlib.sha256()
        if self.name == "official":
            for file in needed_files():
                content = self._read(file.path)
                if not file.is_content(content):
                    raise self._fault(Fault(file, missing=False))
                total.update(f"{file.path} {file.sha256}\n".encode())
        else:
            for relative in self._paths():
                content = hashlib.sha256(self._read(relative)).hexdigest()
                total.update(f"{relative} {content}\n".encode())
        return total.hexdigest()[:16]

    def _paths(self) -> Iterable[str]:
        paths = (path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file())
        return sorted(path for path in paths if path.startswith(("data/", "annotations/")))

    def _read(self, relative: str) -> bytes:
        try:
            return (self.root / relative).read_bytes()
        except OSError as error:
            raise AssetError(f"cannot read {self.root / relative}: {error.strerror or error}") from error

    def check(self) -> None:
        """Looks at the files without reading them: presence, and for the official ones their size.

        Raises:
            AssetError: names the first that is missing or altered, and the command that mends it.
        """
        if self.name == "official":
            fault = first_fault(self.root)
            if fault:
                raise self._fault(fault)
            return
        needed = [ANNOTATIONS, PANDA, PLANE]
        for scene in SCENES.values():
            needed += [f"data/{scene.urdf}", *(f"data/{block.urdf}" for block in scene.blocks)]
        for relative in needed:
            if not (self.root / relative).is_file():
                raise AssetError(f"{self.root} lacks {relative}: this installation is incomplete; install again")

    def _fault(self, fault: Fault) -> AssetError:
        place = "" if self.root == cache_folder() else f" --to {quote(str(self.root))}"
        return AssetError(
            f"{fault} in the official CALVIN assets in {self.root}; mend it with: {fetch_command()}{place}"
        )


def tasks_by_instruction() -> dict[str, str]:
    """Task of every instruction, in lower case, of all annotation files on this machine: built-in and official."""
    import yaml

    found: dict[str, str] = {}
    for root in (official_root(), BUILTIN_ROOT):
        for path in sorted((root / "annotations").glob("*.yaml")):
            texts = yaml.safe_load(path.read_text(encoding="utf-8"))
            found |= {text.strip().lower(): task for task, alternatives in texts.items() for text in alternatives}
    return found


def official_root() -> Path:
    """The folder of the official bundle: ``CALVIN_ASSETS``, else the cache. It need not exist."""
    folder = os.environ.get(ENVIRONMENT_VARIABLE)
    return Path(folder).expanduser().resolve() if folder else cache_folder()


def find_bundle(name: str) -> AssetBundle:
    """The asset bundle of that name.

    Raises:
        AssetError: when the name is unknown, or the files are not there; says what to type.
    """
    if name not in BUNDLES:
        raise AssetError(f"unknown asset bundle {name!r}; there are {', '.join(BUNDLES)}.{suggestion(name, BUNDLES)}")
    if name == "builtin":
        bundle = AssetBundle("builtin", BUILTIN_ROOT)
    else:
        bundle = AssetBundle("official", official_root())
        if not bundle.root.is_dir():
            if os.environ.get(ENVIRONMENT_VARIABLE):
                raise AssetError(
                    f"{ENVIRONMENT_VARIABLE} names {bundle.root}, which is no folder; "
                    f"name one that holds data/ and annotations/, or type: {fetch_command()} --to {bundle.root}"
                )
            raise AssetError(
                f"the official CALVIN assets (14 MB) are not on this machine; fetch them with: {fetch_command()}  "
                f"(or point {ENVIRONMENT_VARIABLE} at a folder of them, or choose benchmark.assets=builtin)"
            )
    bundle.check()
    return bundle
