"""Reads the trajectories recorded from the original environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

GOLDEN = os.environ.get("CALVIN_GOLDEN")
ASSETS = os.environ.get("CALVIN_ASSETS")
needs_golden = pytest.mark.skipif(not GOLDEN, reason="CALVIN_GOLDEN names no folder of recorded trajectories")
needs_assets = pytest.mark.skipif(not ASSETS, reason="CALVIN_ASSETS names no folder of official assets")

CONVENTIONS = {
    "rel": "relative",
    "rel_f32": "relative",
    "abs": "absolute",
    "absdict": "absolute",
    "absquat": "absolute_quaternion",
    "joint_rel": "joint_relative",
}


@dataclass(frozen=True)
class Recording:
    """One trajectory: T actions, T+1 states."""

    scene: str
    name: str
    format: str
    arrays: dict[str, np.ndarray]

    def __getitem__(self, field: str) -> np.ndarray:
        return self.arrays[field]

    def actions(self) -> np.ndarray:
        """In the convention and the dtype in which they were executed."""
        actions = self["actions"]
        if self.format == "rel_f32":
            return actions.astype(np.float32)
        if self.format == "absquat":
            import pybullet

            quaternions = [pybullet.getQuaternionFromEuler(action[3:6]) for action in actions]
            return np.concatenate([actions[:, :3], quaternions, actions[:, 6:]], axis=1)
        return actions

    def start(self) -> dict[str, tuple[float, ...]]:
        """The arguments of the reset; none when the original was reset without any."""
        vectors = {name: self[f"init_{name}"] for name in ("robot_obs", "scene_obs")}
        return {name: tuple(v.tolist()) for name, v in vectors.items() if not np.isnan(v).any()}


@cache
def _file(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {key: file[key] for key in file.files}


def recordings(file: str) -> Iterator[Recording]:
    """The recordings of one file, e.g. ``traj_A``, in recorded order."""
    if not GOLDEN or not (path := Path(GOLDEN) / f"{file}.npz").is_file():
        return
    data = _file(path)
    for name, form in zip(data["_names"], data["_fmt"], strict=True):
        prefix = f"{name}/"
        arrays = {key[len(prefix) :]: value for key, value in data.items() if key.startswith(prefix)}
        yield Recording(file.split("_")[1], str(name), str(form), arrays)


def recorded_array(file: str, key: str) -> np.ndarray:
    """One array of a file, by its whole key."""
    return _file(Path(GOLDEN) / f"{file}.npz")[key]


def recorded_files(kind: str) -> list[str]:
    """Names of the files of a kind (``traj`` or ``history``) that are there."""
    return sorted(path.stem for path in Path(GOLDEN).glob(f"{kind}_?.npz")) if GOLDEN else []
