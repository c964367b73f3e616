"""The LMDB of GR-1's training code (calvin2lmdb), which StarCycle and Seer-like code use too.

Frames ``start`` to ``end`` of each annotation, both included and counted anew; ``end`` only shows where the last
action led. Values are pickles: of plain values, and of tensors (images as JPEG bytes). Training and validation often
lie in one file.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from vla_bench.envs.calvin.dataset.foreign.tensor_pickles import read_pickle
from vla_bench.envs.calvin.dataset.foreign.trajectory import Trajectory, need
from vla_bench.envs.errors import DatasetError

PARTS = {
    "robot_obs": "robot_obs",
    "scene_obs": "scene_obs",
    "actions": "abs_action",
    "rel_actions": "rel_action",
    "rgb_static": "rgb_static",
    "rgb_gripper": "rgb_gripper",
}


class LmdbSource:
    """Trajectories of such a file.

    Args:
        folder: The LMDB.
        unpickle: That its pickles may be read, by a reader that admits tensors and plain values alone.

    Raises:
        DatasetError: not asked to read pickles, or no LMDB of this form.
    """

    def __init__(self, folder: Path, *, unpickle: bool) -> None:
        if not folder.exists():
            raise DatasetError(f"there is no {folder}")
        if not unpickle:
            raise DatasetError(
                f"the values of {folder} are pickles, which could run code in a reader that lets them. Ours admits "
                "only tensors and plain values; add --unpickle to read them with it"
            )
        lmdb = need("lmdb")
        try:
            self._file = lmdb.open(str(folder), readonly=True, lock=False, subdir=folder.is_dir(), max_readers=1)
        except lmdb.Error as error:
            raise DatasetError(f"{folder} is no LMDB: {error}") from error
        self.folder = folder
        with self._file.begin() as transaction:
            self._transaction = transaction
            last = self._get("cur_step")
            owner = None if last is None else self._get(f"cur_episode_{last}")
        if not isinstance(last, int) or not isinstance(owner, int):
            raise DatasetError(f"{folder} has no cur_step and cur_episode_…: it is not of GR-1's form")
        self._frames, self._count = last + 1, owner + 1

    def _get(self, key: str) -> Any:
        content = self._transaction.get(key.encode())
        return None if content is None else read_pickle(bytes(content), f"{key} of {self.folder}")

    def __len__(self) -> int:
        return self._count

    def trajectories(self, first: int) -> Iterable[Trajectory]:
        """See :class:`vla_bench.envs.calvin.dataset.foreign.trajectory.Source`."""
        with self._file.begin() as self._transaction:
            step = 0
            for number in range(self._count):
                begin = step
                while step < self._frames and self._get(f"cur_episode_{step}") == number:
                    step += 1
                if step == begin:
                    raise DatasetError(f"{self.folder} has no frames of episode {number}, or not in order")
                if number >= first:
                    yield self._trajectory(number, range(begin, step))

    def _trajectory(self, number: int, steps: range) -> Trajectory:
        instruction = self._get(f"inst_{number}")
        if not isinstance(instruction, str):
            raise DatasetError(f"{self.folder} has no inst_{number}")
        held = {ours: np.stack([self._array(f"{theirs}_{step}") for step in steps]) for ours, theirs in PARTS.items()}
        return Trajectory(
            instruction=instruction,
            states=held["robot_obs"],
            images={key: held[key] for key in ("rgb_static", "rgb_gripper")},
            actions=held["actions"],
            rel_actions=held["rel_actions"],
            scene_obs=held["scene_obs"],
            closing=True,
        )

    def _array(self, key: str) -> np.ndarray:
        value = self._get(key)
        if not isinstance(value, np.ndarray):
            raise DatasetError(f"{self.folder} has no tensor {key}")
        return decoded(value.tobytes(), f"{key} of {self.folder}") if key.startswith("rgb_") else value


def decoded(content: bytes, where: str) -> np.ndarray:
    """(H, W, 3) uint8 of a JPEG or PNG.

    Raises:
        DatasetError: it is no such image.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        return np.asarray(Image.open(io.BytesIO(content), formats=("JPEG", "PNG")).convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{where} is no image: {error}") from error
