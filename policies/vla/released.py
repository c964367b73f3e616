"""Brings a published checkpoint from its hub: resumed where it broke off, its checksum verified.

``huggingface_hub`` does the transfer; the hub says the SHA-256 of a large file before it is fetched, and what
came is compared with it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_bench.envs.errors import AssetError, suggestion

ROBOVLMS = "robovlms/RoboVLMs"
"""Repository of the checkpoints of arXiv 2412.14058."""
PUBLISHED: Mapping[str, str] = {
    name: f"{ROBOVLMS}/checkpoints/{name}.pt"
    for name in (
        "kosmos_ph_calvin_abc",
        "kosmos_ph_calvin_abcd",
        "kosmos_ph_oxe-pretrain",
        "kosmos_ph_google-robot-post-train",
    )
}
"""Names for what is published; any other file of a hub is ``owner/repository/path``."""
_SHA256_DIGITS = 64
_BLOCK = 1 << 22


@dataclass(frozen=True, slots=True)
class FetchedCheckpoint:
    """A file of a hub, here."""

    path: Path
    size: int
    """Bytes."""
    sha256: str
    verified: bool
    """Whether the hub said which checksum it must have."""
    commit: str
    """Of the hub's repository."""


def fetch_checkpoint(
    name: str, folder: Path, *, revision: str | None = None, endpoint: str | None = None
) -> FetchedCheckpoint:
    """Fetches a file into ``folder``, showing progress; what an earlier try brought is not fetched again.

    Args:
        name: one of :data:`PUBLISHED`, or ``owner/repository/path/of/the/file``.
        revision: branch, tag or commit; the newest by default.
        endpoint: address of the hub; by default ``HF_ENDPOINT``, else Hugging Face's.

    Raises:
        AssetError: no such file, no connection, a full disk, or a checksum that is not the hub's.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    repository, filename = file_of(name)
    try:
        url = hf_hub_url(repository, filename, revision=revision, endpoint=endpoint)
        about = get_hf_file_metadata(url, endpoint=endpoint)
        _check_room(folder, about.size or 0)
        path = Path(
            hf_hub_download(repository, filename, revision=about.commit_hash, local_dir=folder, endpoint=endpoint)
        )
    except (HfHubHTTPError, HFValidationError, OSError, ValueError, RuntimeError) as error:
        raise AssetError(_reason(name, repository, filename, error)) from error
    expected = about.etag if about.etag and len(about.etag) == _SHA256_DIGITS else None
    digest = sha256_of(path)
    if expected is not None and digest != expected:
        path.unlink()
        raise AssetError(
            f"{path} came with checksum {digest[:16]}…, the hub says {expected[:16]}…; the file was removed: "
            "type the command again"
        )
    return FetchedCheckpoint(path, path.stat().st_size, digest, expected is not None, str(about.commit_hash))


def file_of(name: str) -> tuple[str, str]:
    """Repository and path within it. AssetError: neither a known name nor ``owner/repository/path``."""
    parts = PUBLISHED.get(name, name).split("/")
    if len(parts) < 3 or not all(parts) or ".." in parts:
        raise AssetError(
            f"no published checkpoint {name!r}; known: {', '.join(PUBLISHED)}, or any file of a hub as "
            f"owner/repository/path.{suggestion(name, PUBLISHED)}"
        )
    return "/".join(parts[:2]), "/".join(parts[2:])


def sha256_of(path: Path) -> str:
    """Hexadecimal digits, reading the file once."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _check_room(folder: Path, size: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if size > free:
        raise OSError(f"{size / 1e9:.1f} GB do not fit into {folder}, which has {free / 1e9:.1f} GB free")


def _reason(name: str, repository: str, filename: str, error: Any) -> str:
    said = str(error).strip().partition("\n")[0].rstrip(".")
    where = os.environ.get("HF_ENDPOINT", "the hub")
    kind = type(error).__name__
    if "EntryNotFound" in kind or "RepositoryNotFound" in kind:
        return f"{repository} has no file {filename} that you may read ({said})"
    return (
        f"{name} could not be fetched from {where}: {said or kind}. What did come is kept: type the command "
        "again to go on"
    )
