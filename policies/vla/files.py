"""The digest of what a backbone's folder says of its structure and its tokens."""

from __future__ import annotations

import hashlib
from pathlib import Path

from vla_bench.policies.identity.digests import digest_of

DESCRIPTIONS = (".json", ".model", ".txt")


def descriptions_digest(folder: Path) -> str:
    """64 hexadecimal digits of all descriptions that lie in the folder; its weights do not count."""
    seen = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.is_file() and file.suffix in DESCRIPTIONS:
            seen.update(f"{file.name} {digest_of(file)}\n".encode())
    return seen.hexdigest()
