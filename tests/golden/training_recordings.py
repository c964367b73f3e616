"""Where the data set, windows and optimiser runs recorded from the original training code lie."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(os.environ.get("TRAINING_GOLDEN", ""))
DATASET = FOLDER / "calvin_synthetic"

needs_training_recordings = pytest.mark.skipif(
    not os.environ.get("TRAINING_GOLDEN"), reason="set TRAINING_GOLDEN to the recordings of RoboVLMs' training code"
)


def read_json(name: str) -> Any:
    return json.loads((FOLDER / name).read_text())
