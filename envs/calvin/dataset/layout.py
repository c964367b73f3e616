"""Names, keys, shapes and folders of CALVIN's data sets.

Source: the data set's documentation and the loaders of mees/calvin fa03f01; what the loaders do not need is optional.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vla_bench.envs.errors import DatasetError

JOURNAL = "recordings.jsonl"
"""What a data set of ours records of its own writing."""
SPLITS = ("training", "validation")
"""The loaders look for one of these words in a folder's path."""
START_END_IDS = "ep_start_end_ids.npy"
LENGTHS = "ep_lens.npy"
SCENE_INFO = "scene_info.npy"
STATISTICS = "statistics.yaml"
ANNOTATION_FOLDER = "lang_annotations"
ANNOTATION_FILE = "auto_lang_ann.npy"
EMBEDDINGS = "embeddings.npy"
SCENE_PREFIX = "calvin_scene_"
DIGITS = 7
FREQUENCY = 30
"""Frames a second."""

NUMBERS = {"actions": 7, "rel_actions": 7, "robot_obs": 15, "scene_obs": 24}
"""Key to length of the vectors of a frame. World frame: metres, radians; see ``envs.calvin.state``."""
CAMERAS = {"rgb_static": (200, 200, 3), "rgb_gripper": (84, 84, 3)}
"""Key to the shape of CALVIN's own images, uint8; ours may have another height and width."""
OTHERS = {
    "rgb_tactile": ((160, 120, 6), "uint8"),
    "depth_static": ((200, 200), "float32"),
    "depth_gripper": ((84, 84), "float32"),
    "depth_tactile": ((160, 120, 2), "float32"),
}
"""Keys that only some copies hold: shape and dtype. Depth in metres."""
NEEDED = (*NUMBERS, *CAMERAS)

OFFICIAL_SCENES = {"A": (0, 611098), "B": (611099, 1210008), "C": (1210009, 1802437), "D": (1802438, 2406143)}
"""First and last frame of each scene in ABCD's numbering, which ABC shares (mees/calvin, issue 14)."""

_NUMBERED = re.compile(r"^(.*?)(\d+)\.npz$")


@dataclass(frozen=True, slots=True)
class Naming:
    """How frames' files are named."""

    prefix: str = "episode_"
    digits: int = DIGITS

    def name(self, index: int) -> str:
        """File name of a frame."""
        return f"{self.prefix}{index:0{self.digits}d}.npz"

    def index(self, name: str) -> int | None:
        """Frame of a file name; None when it is none."""
        found = _NUMBERED.match(name)
        return int(found[2]) if found and found[1] == self.prefix and len(found[2]) >= self.digits else None


def find_naming(folder: Path, first: int) -> Naming:
    """The naming of a folder's frames, from one of its files.

    Raises:
        DatasetError: it holds no numbered npz file.
    """
    usual = Naming()
    if (folder / usual.name(first)).is_file():
        return usual
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                found = _NUMBERED.match(entry.name)
                if found:
                    return Naming(found[1], len(found[2]))
    except OSError as error:
        raise DatasetError(f"cannot read {folder}: {error.strerror or error}") from error
    raise DatasetError(
        f"{folder} holds no frames: files like {usual.name(first)}. An archive that was cut off while unpacking "
        "looks so: unpack it again"
    )


def split_folder(folder: Path, split: str | None = None) -> Path:
    """The folder that holds the frames: ``folder`` itself, or its ``training`` or ``validation``.

    Raises:
        DatasetError: there is none, or no such split.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}; give a data set or one of its splits")
    if split is not None and split not in SPLITS:
        raise DatasetError(f"a split is {' or '.join(SPLITS)}, not {split!r}")
    if ((folder / START_END_IDS).is_file() or (folder / JOURNAL).is_file()) and (split is None or folder.name == split):
        return folder
    chosen = split or SPLITS[0]
    if (folder / chosen).is_dir():
        return folder / chosen
    if split is None and any(folder.glob("*.npz")):
        raise DatasetError(
            f"{folder} holds frames but no {START_END_IDS}, which says where recordings begin and end; "
            "take the data set from its source again"
        )
    others = [name for name in SPLITS if (folder / name).is_dir()]
    raise DatasetError(
        f"{folder} is no data set of CALVIN's layout: it has neither {START_END_IDS} nor {chosen}/"
        + (f"; it has {', '.join(others)}/" if others else "")
    )


def scenes_by_name(folder: Path) -> str:
    """Scene letters that a published set's name promises for a split's folder; empty for other names.

    ``task_ABC_D/training`` is of A, B and C, ``task_ABC_D/validation`` of D.
    """
    found = re.fullmatch(r"task_([A-D]+)_([A-D])", folder.resolve().parent.name)
    return "" if not found else found[2 if folder.name == SPLITS[1] else 1]


def scene_letter(name: str) -> str:
    """``A`` of ``calvin_scene_A``; other names stay what they are."""
    return name.removeprefix(SCENE_PREFIX)


def check_shape(key: str, array: np.ndarray, where: str) -> None:
    """Refuses an array that cannot be a frame's.

    Raises:
        DatasetError: another length of a vector, or an image that is none.
    """
    if key in NUMBERS:
        if array.shape != (NUMBERS[key],) or array.dtype.kind != "f":
            raise DatasetError(
                f"{key} of {where} is {_is(array)}; CALVIN's has {NUMBERS[key]} floating-point numbers. "
                "Is this the data set of another robot?"
            )
    elif key in CAMERAS and (array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8):
        raise DatasetError(f"{key} of {where} is {_is(array)}; an image is (height, width, 3) uint8")


def check_present(keys: tuple[str, ...], held: Mapping | set | list, where: str) -> None:
    """Refuses a frame that lacks keys.

    Raises:
        DatasetError: names what is missing and what is there.
    """
    missing = [key for key in keys if key not in held]
    if missing:
        raise DatasetError(
            f"{where} has no {', '.join(missing)}; it has {', '.join(sorted(held)) or 'nothing'}. "
            "Is this a data set of CALVIN's layout?"
        )


def _is(array: np.ndarray) -> str:
    return f"{array.shape} {array.dtype}"
