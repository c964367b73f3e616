"""Brings the official files into a folder: verified one by one, resumable, never half visible.

Files gather in a hidden folder beside the target. Only when every one of them is there and has the
manifest's checksum is the target made, by one rename; a target that exists is mended file by file.
What an interrupted fetch had verified is kept for the next one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vla_bench.envs.calvin.official.manifest import BundleFile, bundle_files, faults
from vla_bench.envs.calvin.official.sources import Source
from vla_bench.envs.errors import AssetError

ATTEMPTS = 3
"""Times a source that broke off is asked again, as long as each time brought something new."""

OnProgress = Callable[[str, int, int], None]
"""Told the source, the verified bytes so far and the bytes in all."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a fetch did."""

    root: Path
    brought: int
    """Files that came from a source now."""
    resumed: int
    """Files that an interrupted fetch had left."""
    kept: int
    """Files that were right already."""


def fetch_official(
    root: Path, sources: Sequence[Source], on_progress: OnProgress = lambda source, done, total: None
) -> Fetched:
    """Makes ``root`` a complete official bundle.

    Args:
        root: the bundle's folder; made, or mended when it exists.
        sources: asked in this order for whatever is still missing.
        on_progress: called after every file.

    Raises:
        AssetError: a file could not be had or not be written; says which, and what to type.
    """
    root = root.expanduser().absolute()
    if root.is_dir() and not faults(root):
        return Fetched(root, 0, 0, len(bundle_files()))
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(root.parent / f".{root.name}.lock"):
            return _fetch(root, sources, on_progress)
    except OSError as error:
        where = error.filename or root
        raise AssetError(
            f"cannot write {where}: {error.strerror or error}; name a folder of yours with --to"
        ) from error


def _fetch(root: Path, sources: Sequence[Source], on_progress: OnProgress) -> Fetched:
    if root.exists() and not root.is_dir():
        raise AssetError(f"{root} is not a folder; name another with --to")
    wanted = [fault.file for fault in faults(root)]
    kept = len(bundle_files()) - len(wanted)
    if not wanted:
        return Fetched(root, 0, 0, kept)
    staging = root.parent / f".{root.name}.partial"
    staging.mkdir(exist_ok=True)
    missing = {fault.file for fault in faults(staging, wanted)}
    resumed = len(wanted) - len(missing)
    total = sum(file.size for file in wanted)
    reasons: list[str] = []
    for source in sources:
        if missing:
            reasons += _take(source, missing, staging, total, on_progress)
    if missing:
        raise AssetError(_incomplete(missing, wanted, sources, reasons))
    _publish(staging, root, wanted)
    return Fetched(root, len(wanted) - resumed, resumed, kept)


def _take(source: Source, missing: set[BundleFile], staging: Path, total: int, on_progress: OnProgress) -> list[str]:
    """Moves what ``source`` has from ``missing`` into ``staging``; why it broke off, if it did."""
    for _ in range(ATTEMPTS):
        before = len(missing)
        try:
            on_progress(source.name, total - sum(file.size for file in missing), total)
            for file, content in source.offers(sorted(missing, key=lambda file: file.path)):
                if file in missing and file.is_content(content):
                    _write(staging, file.path, content)
                    missing.remove(file)
                    on_progress(source.name, total - sum(file.size for file in missing), total)
                if not missing:
                    break
            return []
        except AssetError as error:
            if len(missing) == before:
                return [str(error)]
            reason = str(error)
    return [reason]


def _write(folder: Path, relative: str, content: bytes) -> None:
    target = _inside(folder, relative)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    part.write_bytes(content)
    part.replace(target)


def _inside(folder: Path, relative: str) -> Path:
    """The path below ``folder``, refusing a folder on the way that is a link to somewhere else."""
    target = folder / relative
    if not target.parent.resolve().is_relative_to(folder.resolve()):
        raise AssetError(f"{target.parent} is a link that leads out of {folder}; remove it and try again")
    return target


def _publish(staging: Path, root: Path, wanted: Collection[BundleFile]) -> None:
    if not root.exists() or not any(root.iterdir()):
        staging.replace(root)
        return
    for file in wanted:
        target = _inside(root, file.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        (staging / file.path).replace(target)
    shutil.rmtree(staging)


def _incomplete(
    missing: set[BundleFile], wanted: list[BundleFile], sources: Sequence[Source], reasons: list[str]
) -> str:
    first = min(missing, key=lambda file: (not file.needed, file.path))
    count = f"{len(missing)} of {len(wanted)} files" if len(missing) > 1 else "one file"
    asked = " or ".join(source.name for source in sources)
    why = f" ({'; '.join(reasons)})" if reasons else ""
    return (
        f"{count} could not be had from {asked}{why}; the first is {first.path}, which "
        f"{first.repository.name} has at commit {first.repository.commit[:12]} as {first.origin}. "
        "What did come is kept: type the command again to go on, or name a further source with --from"
    )


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    """Lets one process at a time fetch into a folder; the others wait, then find it done."""
    descriptor = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
