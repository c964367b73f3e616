"""Builds the wheel that the tests of the installed package look at."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("vla_bench", "bench", "policies", "envs", "configs", "results/published")


def build_wheel(copy: Path) -> Path:
    """Built by setuptools itself from a copy of the sources: no network, and nothing left in the checkout."""
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", "importable")
    for folder in SOURCES:
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignore)
    for file in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, copy)
    build = "from setuptools.build_meta import build_wheel; build_wheel('dist')"
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", build], cwd=copy, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = (copy / "dist").glob("*.whl")
    return wheel
