"""Every file of the official asset bundle, with its checksum and where the original keeps it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Repository:
    """An original repository at the commit whose files the manifest describes."""

    name: str
    """``owner/name`` on GitHub."""
    commit: str
    licence: str
    """One line on what its files are licensed under, and where that is written in the bundle."""

    @property
    def short(self) -> str:
        """The name without its owner."""
        return self.name.partition("/")[2]


CALVIN_ENV = Repository(
    "mees/calvin_env",
    "797142c588c21e76717268b7b430958dbd13bf48",
    "scenes, blocks and plane: MIT, (c) 2021 Oier Mees (LICENSE.calvin_env); "
    "Panda: Apache-2.0 (data/franka_panda/LICENSE.txt)",
)
CALVIN = Repository(
    "mees/calvin",
    "fa03f01f19c65920e18cf37398a9ce859274af76",
    "instruction texts: MIT, (c) 2021 Oier Mees (LICENSE.calvin)",
)
REPOSITORIES = (CALVIN_ENV, CALVIN)


@dataclass(frozen=True, slots=True)
class BundleFile:
    """One file of the bundle."""

    path: str
    """Below the bundle's folder, e.g. ``data/plane/plane.urdf``."""
    size: int
    """Bytes."""
    sha256: str
    needed: bool
    """Whether a simulation reads it; the rest are licence and further instruction texts."""

    @property
    def repository(self) -> Repository:
        """Where it comes from."""
        return CALVIN if self.path == "LICENSE.calvin" or self.path.startswith("annotations/") else CALVIN_ENV

    @property
    def origin(self) -> str:
        """Its path in that repository."""
        if self.path.startswith("LICENSE."):
            return "LICENSE"
        return f"calvin_models/conf/{self.path}" if self.repository is CALVIN else self.path

    @property
    def places(self) -> tuple[str, ...]:
        """Where it may lie below a source: a bundle, its repository, or calvin with its submodule."""
        places = (self.path, self.origin)
        return places if self.repository is CALVIN else (*places, f"{CALVIN_ENV.short}/{self.origin}")

    def is_content(self, content: bytes) -> bool:
        """Whether these are the file's bytes."""
        return len(content) == self.size and hashlib.sha256(content).hexdigest() == self.sha256


@dataclass(frozen=True, slots=True)
class Fault:
    """A file that is not as the manifest has it."""

    file: BundleFile
    missing: bool
    """Else it is there, with other content."""

    def __str__(self) -> str:
        return f"{self.file.path} is {'missing' if self.missing else 'altered'}"


@cache
def bundle_files() -> tuple[BundleFile, ...]:
    """Every file, in the order of their paths."""
    text = resources.files("vla_bench.envs.calvin").joinpath("data/official_files.txt").read_text(encoding="ascii")
    rows = (line.split(" ", 3) for line in text.splitlines() if not line.startswith("#"))
    return tuple(BundleFile(path, int(size), digest, kind == "needed") for digest, size, kind, path in rows)


def needed_files() -> tuple[BundleFile, ...]:
    """The files that a simulation reads."""
    return tuple(file for file in bundle_files() if file.needed)


def first_fault(root: Path) -> Fault | None:
    """The first needed file that is missing or of another size; a look at each, nothing is read."""
    for file in needed_files():
        try:
            size = (root / file.path).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return Fault(file, missing=True)
        if size != file.size:
            return Fault(file, missing=False)
    return None


def faults(root: Path, files: Iterable[BundleFile] | None = None) -> list[Fault]:
    """Every file (of all there are) whose content below ``root`` is not the manifest's."""
    found = []
    for file in bundle_files() if files is None else files:
        try:
            content = (root / file.path).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            found.append(Fault(file, missing=True))
            continue
        if not file.is_content(content):
            found.append(Fault(file, missing=False))
    return found


def cache_folder() -> Path:
    """Where a fetched bundle lies: below ``$XDG_CACHE_HOME`` or ``~/.cache``, by commit."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "vla-bench" / f"calvin-{CALVIN_ENV.commit[:12]}"
