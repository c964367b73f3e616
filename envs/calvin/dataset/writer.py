"""Writes CALVIN's layout so that the original loaders read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vla_bench.envs.calvin.dataset import frame_file
from vla_bench.envs.calvin.dataset.annotations import write_annotations
from vla_bench.envs.calvin.dataset.environment_config import FILE as MERGED_CONFIG
from vla_bench.envs.calvin.dataset.environment_config import merged_config
from vla_bench.envs.calvin.dataset.journal import JOURNAL, NOTES, add_line, read_lines, read_notes, write_notes
from vla_bench.envs.calvin.dataset.labels import LABELS, absolute_actions, relative_actions
from vla_bench.envs.calvin.dataset.layout import (
    ANNOTATION_FILE,
    ANNOTATION_FOLDER,
    CAMERAS,
    FREQUENCY,
    LENGTHS,
    NUMBERS,
    OTHERS,
    SCENE_INFO,
    SCENE_PREFIX,
    SPLITS,
    START_END_IDS,
    STATISTICS,
    Naming,
)
from vla_bench.envs.calvin.dataset.pickles import replace_file, save_array, save_object
from vla_bench.envs.calvin.dataset.statistics import Moments, write_statistics
from vla_bench.envs.errors import DatasetError

FORMAT = 1


@dataclass(frozen=True, slots=True)
class RecordedAnnotation:
    """A task done within a recording, in frames counted from its first."""

    start: int
    end: int
    """One past the last frame whose action belongs to the task: at most the number of steps taken."""
    task: str
    instruction: str


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """n + 1 states and the n steps between them, uninterrupted."""

    scene: str
    """``A`` to ``D``."""
    robot_obs: np.ndarray
    """(n + 1, 15) float64."""
    scene_obs: np.ndarray
    """(n + 1, 24) float64."""
    images: Mapping[str, np.ndarray]
    """``rgb_static`` and ``rgb_gripper`` (n + 1, H, W, 3) uint8, perhaps depth, of the same states."""
    annotations: tuple[RecordedAnnotation, ...] = ()
    actions: np.ndarray | None = None
    """(n, 7) absolute actions, metres and radians, world: for the label ``commanded`` only."""
    rel_actions: np.ndarray | None = None
    """(n, 7) relative actions: for the label ``commanded`` only."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """What else is to be remembered of it; JSON."""

    @property
    def steps(self) -> int:
        """n."""
        return len(self.robot_obs) - 1


class DatasetWriter:
    """Writes one split, recording by recording; goes on where an earlier writer was stopped.

    A recording is on the disk, whole, when :meth:`write` returns. Readers see what was there at the last
    :meth:`finish`. All n + 1 states become frames: the last one, which nothing follows, says "stay" and serves
    loaders that read frame ``end`` of an annotation for padding.

    Args:
        folder: Of the split; ``training`` or ``validation`` must be part of its path, for the original loaders.
        label: ``achieved`` or ``commanded``, see :data:`vla_bench.envs.calvin.dataset.labels.LABELS`.
        provenance: How the data came to be; JSON. When going on, it must be what it was.

    Raises:
        DatasetError: the folder cannot be one of this set.
    """

    def __init__(self, folder: Path | str, label: str = "achieved", provenance: Mapping[str, Any] | None = None):
        self.folder = Path(folder).expanduser()
        if label not in LABELS:
            raise DatasetError(f"a label is {' or '.join(LABELS)}, not {label!r}")
        if not any(split in str(self.folder) for split in SPLITS):
            raise DatasetError(
                f"{self.folder} must have {' or '.join(SPLITS)} in its path, which CALVIN's loaders need"
            )
        self.label = label
        self.lines = self._go_on(dict(provenance or {}))

    @classmethod
    def reopen(cls, folder: Path | str) -> DatasetWriter:
        """Goes on with a set as it says of itself.

        Raises:
            DatasetError: there is none of ours.
        """
        notes = read_notes(Path(folder).expanduser() / NOTES)
        if "label" not in notes:
            raise DatasetError(f"{folder} holds no data set that was begun here (no {NOTES})")
        return cls(folder, notes["label"], notes.get("provenance"))

    def _go_on(self, provenance: dict[str, Any]) -> list[dict[str, Any]]:
        notes = read_notes(self.folder / NOTES)
        if not notes:
            if self.folder.is_dir() and (any(self.folder.glob("*.npz")) or (self.folder / START_END_IDS).exists()):
                raise DatasetError(f"{self.folder} holds a data set that was not written here; choose a new folder")
            self.folder.mkdir(parents=True, exist_ok=True)
        elif notes.get("label") != self.label or notes.get("provenance") != provenance:
            raise DatasetError(
                f"{self.folder} holds a data set of another kind (label {notes.get('label')}, "
                f"{notes.get('provenance')}); choose a new folder"
            )
        self._notes = {
            "format": FORMAT,
            "label": self.label,
            "label_means": LABELS[self.label],
            "frequency": FREQUENCY,
            "closed": 0,
            "scenes": [],
            **notes,
            "provenance": provenance,
        }
        write_notes(self.folder / NOTES, self._notes)
        return read_lines(self.folder / JOURNAL)

    @property
    def recordings(self) -> int:
        """How many are written."""
        return len(self.lines)

    @property
    def next_frame(self) -> int:
        """Index of the next frame."""
        return int(self.lines[-1]["last"]) + 1 if self.lines else 0

    def write(self, recording: Recording) -> tuple[int, int]:
        """Writes a recording and returns its first and last frame.

        Raises:
            DatasetError: its arrays do not belong together, or the disk is full.
        """
        arrays = self._arrays(recording)
        first = self.next_frame
        last = first + recording.steps
        naming = Naming()
        try:
            for place in range(recording.steps + 1):
                content = frame_file.encode({key: array[place] for key, array in arrays.items()})
                (self.folder / naming.name(first + place)).write_bytes(content)
            line = {
                "first": first,
                "last": last,
                "scene": recording.scene,
                "annotations": [
                    [first + each.start, first + each.end, each.task, each.instruction]
                    for each in recording.annotations
                ],
                "shapes": {key: list(arrays[key].shape[1:]) for key in ("robot_obs", "scene_obs", *recording.images)},
                "notes": dict(recording.notes),
                "moments": Moments.of(arrays).as_plain(),
            }
            add_line(self.folder / JOURNAL, line)
        except OSError as error:
            raise DatasetError(
                f"cannot write to {self.folder}: {error.strerror or error}. What is written stays; the same command "
                "goes on from there"
            ) from error
        self.lines.append(line)
        return first, last

    def _arrays(self, recording: Recording) -> dict[str, np.ndarray]:
        states, steps = len(recording.robot_obs), recording.steps
        if steps < 1:
            raise DatasetError("a recording has two states or more")
        arrays = {"robot_obs": recording.robot_obs, "scene_obs": recording.scene_obs, **recording.images}
        for key, array in arrays.items():
            _check(key, np.asarray(array), states)
        shapes = {key: list(np.shape(array)[1:]) for key, array in arrays.items()}
        if self.lines and self._shapes() != shapes:
            raise DatasetError(f"a recording of {shapes} does not fit a data set of {self._shapes()}")
        for each in recording.annotations:
            if not 0 <= each.start < each.end <= steps:
                raise DatasetError(
                    f"an annotation of frames {each.start} to {each.end} in a recording of {steps} steps"
                )
        robot_obs = np.asarray(recording.robot_obs, np.float64)
        if self.label == "achieved":
            if recording.actions is not None or recording.rel_actions is not None:
                raise DatasetError("achieved actions follow from the states; give none, or label the set commanded")
            actions = absolute_actions(robot_obs)
            relative = relative_actions(actions, robot_obs[:-1])
        else:
            if recording.actions is None or recording.rel_actions is None:
                raise DatasetError("the label commanded needs actions and rel_actions, (n, 7) each")
            actions, relative = np.asarray(recording.actions, float), np.asarray(recording.rel_actions, float)
            for key, array in (("actions", actions), ("rel_actions", relative)):
                _check(key, array, steps)
        stay = np.concatenate([robot_obs[-1:, :6], actions[-1:, 6:7]], axis=1)
        still = np.concatenate([np.zeros((1, 6)), actions[-1:, 6:7]], axis=1)
        return {
            "actions": np.concatenate([actions, stay]),
            "rel_actions": np.concatenate([relative, still]),
            "robot_obs": robot_obs,
            "scene_obs": np.asarray(recording.scene_obs, np.float64),
            **{key: np.asarray(array) for key, array in recording.images.items()},
        }

    def _shapes(self) -> dict[str, list[int]]:
        """Of what a recording gives: the first one's are the set's."""
        return dict(self.lines[0]["shapes"])

    def finish(self, embeddings: np.ndarray | None = None) -> None:
        """Writes what loaders need to find the recordings written so far; may be called again after more.

        Args:
            embeddings: (N, 1, d) of the annotations, for loaders that read them.

        Raises:
            DatasetError: nothing was written, or the disk is full.
        """
        if not self.lines:
            raise DatasetError(f"{self.folder} has no recording yet")
        ends = np.array([(line["first"], line["last"]) for line in self.lines], np.int64)
        items = [tuple(item) for line in self.lines for item in line["annotations"]]
        scenes = _scene_ranges(self.lines)
        configuration = merged_config(str(self.lines[-1]["scene"]), self._shapes())
        try:
            if configuration:
                replace_file(self.folder / MERGED_CONFIG, configuration.encode())
            write_statistics(self.folder / STATISTICS, Moments.sum(line["moments"] for line in self.lines))
            write_annotations(self.folder / ANNOTATION_FOLDER / ANNOTATION_FILE, items, embeddings)
            save_object(self.folder / SCENE_INFO, _one_range_each(scenes))
            save_array(self.folder / LENGTHS, ends[:, 1] - ends[:, 0] + 1)
            save_array(self.folder / START_END_IDS, ends)
            self._notes |= {"closed": len(self.lines), "scenes": scenes}
            write_notes(self.folder / NOTES, self._notes)
        except OSError as error:
            raise DatasetError(f"cannot write to {self.folder}: {error.strerror or error}") from error

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.finish()


def _check(key: str, array: np.ndarray, count: int) -> None:
    good = len(array) == count
    if key in NUMBERS:
        good &= array.shape[1:] == (NUMBERS[key],) and array.dtype.kind == "f" and bool(np.isfinite(array).all())
    elif key in CAMERAS:
        good &= array.ndim == 4 and array.shape[-1] == 3 and array.dtype == np.uint8
    elif key in OTHERS:
        good &= array.dtype == OTHERS[key][1]
    else:
        raise DatasetError(f"a frame has no {key!r}; it has {', '.join((*NUMBERS, *CAMERAS, *OTHERS))}")
    if not good:
        raise DatasetError(f"{key} of a recording is {array.shape} {array.dtype}, not finite, or not of {count} frames")


def _scene_ranges(lines: Sequence[Mapping[str, Any]]) -> list[list]:
    ranges: list[list] = []
    for line in lines:
        if ranges and ranges[-1][0] == line["scene"]:
            ranges[-1][2] = line["last"]
        else:
            ranges.append([line["scene"], line["first"], line["last"]])
    return ranges


def _one_range_each(ranges: Sequence[Sequence]) -> dict[str, list[int]]:
    """CALVIN's dictionary: one range a scene. A scene that came back later keeps its longest."""
    found: dict[str, list[int]] = {}
    for scene, first, last in ranges:
        name = f"{SCENE_PREFIX}{scene}"
        if name not in found or last - first > found[name][1] - found[name][0]:
            found[name] = [int(first), int(last)]
    return found
