"""Small extractions on disk, for tests."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np

from vla_bench.bench.vectors.store import Writer


def write_extraction(
    folder: Path, *, n: int = 60, width: int = 6, shift: float = 0.0, task: str = "push", frames: str = "f"
) -> Path:
    """An extraction of n frames, three an episode, of two tasks; values are the same but for ``shift``."""
    values = np.random.default_rng(0).normal(size=(n, 1, 1, width)).astype(np.float32)
    values[..., 0] += shift
    rows = [
        {
            "episode": f"e{number // 3}",
            "frame": number,
            "task": task if number // 3 % 2 else "lift",
            "instruction": "do it",
            "scene": "AB"[number // 3 % 2],
            "position": number % 3 / 2,
            "success": bool(number // 6 % 2),
            "faithful": True,
            "x": float(values[number, 0, 0, 1]),
            "picture": base64.b64encode(b"jpeg %d" % number).decode(),
        }
        for number in range(n)
    ]
    writer = Writer(folder, {"policy": "p", "identity": {"policy": "p", "frames": frames}}, n)
    writer.add({"head": values}, rows)
    writer.finish()
    return folder
