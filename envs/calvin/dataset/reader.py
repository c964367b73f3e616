"""Reads CALVIN's layout: a folder of frames, one npz file each."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from vla_bench.envs.calvin.dataset import frame_file
from vla_bench.envs.calvin.dataset.annotations import Annotation, annotation_path, read_annotations
from vla_bench.envs.calvin.dataset.journal import NOTES, read_notes, unfinished
from vla_bench.envs.calvin.dataset.layout import (
    ANNOTATION_FOLDER,
    SCENE_INFO,
    START_END_IDS,
    Naming,
    check_present,
    check_shape,
    find_naming,
    scene_letter,
    scenes_by_name,
    split_folder,
)
from vla_bench.envs.calvin.dataset.pickles import load_object
from vla_bench.envs.damaged import DAMAGED_ARCHIVE
from vla_bench.envs.errors import DatasetError

SAMPLED = 64
"""Frames whose content the digest covers."""


def read_frame(path: Path, keys: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of one frame as they are stored.

    Args:
        path: Its file.
        keys: Those wanted; all when None.

    Raises:
        DatasetError: the file is missing or damaged, or lacks a key.
    """
    try:
        return frame_file.decode(path, keys)
    except FileNotFoundError:
        raise DatasetError(f"frame {path.name} is missing in {path.parent}") from None
    except DAMAGED_ARCHIVE as error:
        raise DatasetError(
            f"frame {path} is truncated or damaged ({error or type(error).__name__}): take it from its source again"
        ) from error


@dataclass(frozen=True)
class CalvinDataset:
    """One split of a data set in CALVIN's layout.

    Opening reads the ends of the recordings and one frame's shapes; nothing is listed or kept open, so a folder of
    a million files opens as quickly as one of a hundred. Fields:

    Raises:
        DatasetError: it cannot be a data set; says what is missing.
    """

    given: Path
    """A split's folder, or the data set's."""
    split: str | None = None
    """``training`` or ``validation``, when ``given`` holds both."""
    language: str = ANNOTATION_FOLDER
    """Folder of the annotations."""
    folder: Path = field(init=False)
    """The split's folder."""
    recordings: np.ndarray = field(init=False, compare=False)
    """(E, 2) int64, first and last frame of each recording."""
    naming: Naming = field(init=False)
    shapes: Mapping[str, tuple[int, ...]] = field(init=False)
    """Shape of each key, of the first frame."""

    def __post_init__(self) -> None:
        folder = split_folder(self.given, self.split)
        put = object.__setattr__
        put(self, "folder", folder)
        cut_off = unfinished(folder)
        if cut_off:
            raise DatasetError(cut_off)
        ends = load_object(folder / START_END_IDS)
        if (
            not isinstance(ends, np.ndarray)
            or ends.ndim != 2
            or ends.shape[1] != 2
            or ends.dtype.kind not in "iu"
            or not len(ends)
        ):
            raise DatasetError(f"{folder / START_END_IDS} must hold first and last frame of each recording, (E, 2)")
        put(self, "recordings", ends.astype(np.int64))
        put(self, "naming", find_naming(folder, int(ends[0, 0])))
        put(self, "shapes", self._shapes())

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        for first in self.recordings[:64, 0]:
            path = self.path(int(first))
            if not path.is_file():
                continue
            frame = read_frame(path)
            check_present(("robot_obs", "rel_actions"), frame, str(path))
            for key, array in frame.items():
                check_shape(key, array, str(path))
            return {key: array.shape for key, array in frame.items()}
        raise DatasetError(f"frame {int(self.recordings[0, 0])}, with which {self.folder} begins, is missing there")

    @property
    def spans(self) -> np.ndarray:
        """The recordings; whether each of their files is there is not looked at."""
        return self.recordings

    def path(self, index: int) -> Path:
        """File of a frame."""
        return self.folder / self.naming.name(index)

    def has(self, index: int) -> bool:
        """Whether a frame's file is there."""
        return self.path(int(index)).is_file()

    @cached_property
    def scenes(self) -> tuple[tuple[str, int, int], ...]:
        """Scene letter, first and last frame, where the data set says; else empty."""
        path = self.folder / SCENE_INFO
        if not path.is_file():
            return ()
        held = load_object(path)
        try:
            return tuple((scene_letter(str(name)), int(first), int(last)) for name, (first, last) in held.items())
        except (AttributeError, TypeError, ValueError) as error:
            raise DatasetError(f"{path} must be a dictionary of scene to first and last frame: {error}") from error

    @cached_property
    def _scene_ranges(self) -> tuple[list[int], list[tuple[str, int]]]:
        """First frames, ascending, and scene letter and last frame of each."""
        # A set of ours may come back to a scene, which CALVIN's dictionary of ranges cannot say.
        ranges = [(int(first), str(name), int(last)) for name, first, last in self.notes.get("scenes") or self.scenes]
        ranges.sort()
        return [first for first, _, _ in ranges], [(name, last) for _, name, last in ranges]

    def scene_of(self, index: int) -> str | None:
        """Scene letter of a frame by ``scene_info.npy``, else by the set's name; None when neither says."""
        firsts, ranges = self._scene_ranges
        if not firsts:  # the validation splits of published sets have no scene_info
            named = scenes_by_name(self.folder)
            return named if len(named) == 1 else None
        place = bisect_right(firsts, index) - 1
        return ranges[place][0] if place >= 0 and index <= ranges[place][1] else None

    @cached_property
    def annotations(self) -> tuple[Annotation, ...]:
        """All annotations, in the order of the file.

        Raises:
            DatasetError: there are none, or they cannot be read.
        """
        return read_annotations(annotation_path(self.folder, self.language), self.scene_of)

    @cached_property
    def notes(self) -> Mapping:
        """What the writer said of a set of ours (label, provenance); empty for others."""
        return read_notes(self.folder / NOTES)

    @property
    def label(self) -> str:
        """What ``actions`` are: ``achieved`` unless the set says otherwise."""
        return str(self.notes.get("label", "achieved"))

    def frames(self, indices: Sequence[int] | np.ndarray, keys: Sequence[str]) -> dict[str, np.ndarray]:
        """See :class:`vla_bench.envs.calvin.dataset.source.Dataset`."""
        found: dict[str, np.ndarray] = {}
        read: dict[int, int] = {}
        for place, index in enumerate(int(index) for index in indices):
            if index in read:
                for key in keys:
                    found[key][place] = found[key][read[index]]
                continue
            path = self.path(index)
            for key, array in read_frame(path, keys).items():
                check_shape(key, array, str(path))
                if key not in found:
                    dtype = np.float32 if array.dtype.kind == "f" else array.dtype
                    found[key] = np.empty((len(indices), *array.shape), dtype)
                if array.shape != found[key].shape[1:]:
                    raise DatasetError(
                        f"{key} of {path} is {array.shape}, of the frames before it {found[key].shape[1:]}: "
                        "a data set has one size of image"
                    )
                found[key][place] = array
            read[index] = place
        return found

    @cached_property
    def digest(self) -> str:
        """16 hex digits over recordings, annotations and the numbers of up to 64 frames spread over the set."""
        total = hashlib.sha256(np.ascontiguousarray(self.recordings, np.int64).tobytes())
        total.update(json.dumps([self.label, sorted((key, *shape) for key, shape in self.shapes.items())]).encode())
        for each in self.annotations:
            total.update(f"{each.start} {each.end} {each.task} {each.instruction}\n".encode())
        lengths = self.recordings[:, 1] - self.recordings[:, 0] + 1
        before = np.concatenate([[0], np.cumsum(lengths)])
        for place in np.unique(np.linspace(0, before[-1] - 1, SAMPLED).astype(np.int64)):
            recording = int(np.searchsorted(before, place, side="right")) - 1
            index = int(self.recordings[recording, 0] + place - before[recording])
            frame = read_frame(self.path(index), ("robot_obs", "rel_actions"))
            total.update(frame["robot_obs"].astype(np.float32).tobytes())
            total.update(frame["rel_actions"].astype(np.float32).tobytes())
        return total.hexdigest()[:16]
