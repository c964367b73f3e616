"""The built-in asset bundle: four play tables, three blocks, a Panda and a floor, written by us.

Same joints, limits, sizes and surfaces as the official CALVIN scenes, our own look and wording. The
files are made by ``python -m vla_bench.envs.calvin.builtin.generate`` and shipped with the package.
"""

from __future__ import annotations

from pathlib import Path

ASSETS = Path(__file__).parent / "assets"
"""Folder of the bundle, laid out like the official one: ``data/`` and ``annotations/``."""
