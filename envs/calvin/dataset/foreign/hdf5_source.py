"""Trajectories in HDF5: a file each, or groups of one file (``data/demo_0`` …, as robomimic has them)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vla_bench.envs.calvin.dataset.foreign.lmdb_source import decoded
from vla_bench.envs.calvin.dataset.foreign.trajectory import Trajectory, chosen_names, need
from vla_bench.envs.errors import DatasetError

CANDIDATES = {
    "robot_obs": ("robot_obs", "proprio", "state", "robot_state", "abs_proprio", "qpos"),
    "rgb_static": ("rgb_static", "third_image", "static", "agentview_rgb", "agentview_image", "top", "image"),
    "rgb_gripper": ("rgb_gripper", "wrist_image", "gripper", "eye_in_hand_rgb", "robot0_eye_in_hand_image", "wrist"),
    "actions": ("actions_abs", "abs_action", "abs_actions", "action_absolute", "actions", "action"),
    "rel_actions": ("rel_actions", "rel_action", "action_relative"),
    "scene_obs": ("scene_obs", "environment_state"),
    "instruction": ("language_instruction", "instruction", "language", "lang", "text"),
    "task": ("task", "task_name"),
    "scene": ("scene",),
}
"""Our part to the names it goes by, the first that is there."""


class Hdf5Source:
    """Trajectories of a file or of all ``.h5`` and ``.hdf5`` files of a folder, in order of their names.

    Args:
        path: File or folder.
        mapping: Our part (of :data:`CANDIDATES`) to the path of a dataset in a trajectory, where names differ.

    Raises:
        DatasetError: there is none, or it lacks what a demonstration needs.
    """

    def __init__(self, path: Path, mapping: Mapping[str, str] | None = None) -> None:
        if not path.exists():
            raise DatasetError(f"there is no {path}")
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.suffix in (".h5", ".hdf5"))
        if not files:
            raise DatasetError(f"{path} holds no .h5 or .hdf5 file")
        self._h5py = need("h5py")
        self._mapping = dict(mapping or {})
        self._places = [(file, group) for file in files for group in self._groups(file)]

    def _open(self, file: Path) -> Any:
        try:
            return self._h5py.File(file, "r")
        except OSError as error:
            raise DatasetError(f"{file} is no HDF5 file, or was cut off: {error}") from error

    def _groups(self, file: Path) -> list[str]:
        with self._open(file) as held:
            inner = held.get("data", held, getlink=False) if "data" in held else held
            names = [name for name in inner if isinstance(inner.get(name, getlink=True), self._h5py.HardLink)]
            groups = [name for name in names if isinstance(inner[name], self._h5py.Group)]
            numbered = [name for name in groups if name.rstrip("0123456789") != name]
            if numbered and not any(isinstance(inner[name], self._h5py.Dataset) for name in names):
                return [f"{inner.name.rstrip('/')}/{name}" for name in sorted(numbered, key=_numbered)]
            return ["/"]

    def __len__(self) -> int:
        return len(self._places)

    def trajectories(self, first: int) -> Iterable[Trajectory]:
        """See :class:`vla_bench.envs.calvin.dataset.foreign.trajectory.Source`."""
        for file, group in self._places[first:]:
            with self._open(file) as held:
                try:
                    yield self._trajectory(held[group], f"{file}{'' if group == '/' else group}")
                except (OSError, RuntimeError) as error:
                    raise DatasetError(f"{file} was cut off or is damaged: {error}") from error

    def _trajectory(self, group: Any, where: str) -> Trajectory:
        datasets: dict[str, Any] = {}

        def visit(name: str, node: Any) -> None:  # links to other files are not visited
            if isinstance(node, self._h5py.Dataset):
                if node.external or node.is_virtual:
                    raise DatasetError(f"{name} of {where} keeps its numbers in another file; it is not followed")
                datasets[name] = node

        group.visititems(visit)
        names = chosen_names(CANDIDATES, datasets, self._mapping)
        lacking = [part for part in ("robot_obs", "rgb_static") if part not in names]
        if "actions" not in names and "rel_actions" not in names:
            lacking.append("actions or rel_actions")
        if lacking:
            raise DatasetError(
                f"{where} has no {', '.join(lacking)} by a known name; it has {', '.join(sorted(datasets)) or '-'}. "
                f"Say which is which: --map {lacking[0].split()[0]}=<name>"
            )
        text = {part: self._text(group, datasets, names.get(part), part) for part in ("instruction", "task", "scene")}
        if not text["instruction"]:
            raise DatasetError(f"{where} has no instruction; say where it is: --map instruction=<name>")
        numbers = {
            part: np.asarray(datasets[names[part]], np.float64)
            for part in ("robot_obs", "actions", "rel_actions", "scene_obs")
            if part in names
        }
        return Trajectory(
            instruction=str(text["instruction"]),
            states=numbers["robot_obs"],
            images={
                part: self._images(datasets[names[part]], f"{names[part]} of {where}")
                for part in ("rgb_static", "rgb_gripper")
                if part in names
            },
            actions=numbers.get("actions"),
            rel_actions=numbers.get("rel_actions"),
            scene_obs=numbers.get("scene_obs"),
            task=text["task"],
            scene=text["scene"],
        )

    def _images(self, dataset: Any, where: str) -> np.ndarray:
        if dataset.ndim == 4:
            images = np.asarray(dataset)
            if images.dtype != np.uint8 or images.shape[3] != 3:
                raise DatasetError(f"{where} is {images.shape} {images.dtype}; images are (n, height, width, 3) uint8")
            return images
        if dataset.ndim == 1:  # encoded, each of its own length
            return np.stack([decoded(bytes(np.asarray(each).tobytes()), where) for each in dataset])
        raise DatasetError(f"{where} is {dataset.shape}; images are (n, height, width, 3), or n encoded ones")

    def _text(self, group: Any, datasets: Mapping[str, Any], name: str | None, part: str) -> str | None:
        if name:
            value = datasets[name][()]
            value = value.reshape(-1)[0] if isinstance(value, np.ndarray) and value.size else value
        else:
            value = next((group.attrs[each] for each in CANDIDATES[part] if each in group.attrs), None)
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else None if value is None else str(value)


def _numbered(name: str) -> tuple[str, int]:
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :])
