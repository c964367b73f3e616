"""Digests of the files a policy is made of: no run is to be finished with other weights at the same path."""

from __future__ import annotations

import hashlib
from pathlib import Path

_BLOCK = 1 << 16
_SAMPLES = 64
"""Blocks of a large file that are read, evenly spaced, its first and last among them: 4 MB in all. Training
changes all weights of a checkpoint, and so every block."""
WEIGHTS = (".safetensors", ".pt", ".ckpt", ".bin")
DESCRIPTIONS = (".json", ".model", ".txt")


def digest(path: Path, suffixes: tuple[str, ...] = WEIGHTS + DESCRIPTIONS) -> str:
    """Sixteen hexadecimal digits: of a file's size and sampled content, or of all such files in a folder."""
    seen = hashlib.sha256()
    if path.is_dir():
        for file in sorted(path.iterdir()):
            if file.is_file() and file.suffix in suffixes:
                seen.update(f"{file.name} {digest(file)}\n".encode())
        return seen.hexdigest()[:16]
    size = path.stat().st_size
    seen.update(str(size).encode())
    with open(path, "rb") as file:
        for offset in _offsets(size):
            file.seek(offset)
            seen.update(file.read(_BLOCK))
    return seen.hexdigest()[:16]


def _offsets(size: int) -> list[int]:
    if size <= _BLOCK * _SAMPLES:
        return list(range(0, size, _BLOCK))
    return [(size - _BLOCK) * sample // (_SAMPLES - 1) for sample in range(_SAMPLES)]
