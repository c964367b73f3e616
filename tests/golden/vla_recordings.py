"""Where the recordings of the original RoboVLMs code lie, and how they are read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FOLDER = Path(os.environ.get("ROBOVLMS_GOLDEN", ""))
STRUCTURES = ("onestep_cont", "onestep_disc", "interleaved_cont", "ph_lstm", "ph_gpt")

needs_recordings = pytest.mark.skipif(
    not os.environ.get("ROBOVLMS_GOLDEN"), reason="set ROBOVLMS_GOLDEN to the recordings of RoboVLMs"
)


def read_json(name: str) -> Any:
    return json.loads((FOLDER / name).read_text())


def observations() -> list[dict[str, np.ndarray]]:
    """26 CALVIN-like observations."""
    arrays = np.load(FOLDER / "obs_calvin_like.npz")
    return [{name: arrays[name][step] for name in arrays.files} for step in range(26)]


def arguments(structure: str, **more: Any) -> dict[str, Any]:
    """Arguments of the policy ``vla`` for a recorded structure."""
    return {
        "config": str(FOLDER / structure / "config.json"),
        "backbone_path": str(FOLDER / "tiny_kosmos"),
        "checkpoint": str(FOLDER / structure / "weights_fp16.safetensors"),
        **more,
    }
