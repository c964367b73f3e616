"""Finds the known defects of data sets of CALVIN's layout, and says where they are.

Every frame is read once, in blocks of neighbours, by threads; what is compared across blocks (duplicates, scenes,
images against states) is kept as a few numbers a frame.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from vla_bench.envs.calvin.dataset.annotations import UNKNOWN, Annotation
from vla_bench.envs.calvin.dataset.findings import Finding, stretches
from vla_bench.envs.calvin.dataset.frame_facts import FrameFacts, facts_of
from vla_bench.envs.calvin.dataset.layout import CAMERAS, LENGTHS, NEEDED, OFFICIAL_SCENES, SCENE_INFO, scenes_by_name
from vla_bench.envs.calvin.dataset.out_of_step import Steps
from vla_bench.envs.calvin.dataset.pickles import load_object
from vla_bench.envs.calvin.dataset.reader import CalvinDataset, read_frame
from vla_bench.envs.calvin.dataset.scene_evidence import SceneEvidence
from vla_bench.envs.calvin.tasks import TASKS
from vla_bench.envs.errors import DatasetError

BLOCK = 128
"""Frames that are read together."""
Progress = Callable[[int, int], None]


@dataclass
class Check:
    """A data set's frames as they are gone through; :meth:`findings` at the end."""

    dataset: CalvinDataset
    missing: list[int] = field(default_factory=list)
    unreadable: dict[int, str] = field(default_factory=dict)
    shape: dict[int, str] = field(default_factory=dict)
    not_finite: list[int] = field(default_factory=list)
    actions: list[int] = field(default_factory=list)
    relative: list[int] = field(default_factory=list)
    still: list[int] = field(default_factory=list)
    saturated: int = 0
    entries: int = 0
    most_saturated: list[int] = field(default_factory=list)
    indices: list[np.ndarray] = field(default_factory=list)
    hashes: list[np.ndarray] = field(default_factory=list)
    steps: Steps = field(default_factory=Steps)
    scenes: SceneEvidence = field(default_factory=SceneEvidence)

    def add(self, facts: FrameFacts, trouble: dict[int, tuple[str, str]], recording: int) -> None:
        """Takes in a block of the recording that ends at ``recording``."""
        for index, (kind, text) in trouble.items():
            if kind == "missing":
                self.missing.append(index)
            else:
                (self.shape if kind == "shape" else self.unreadable)[index] = text
        for name in ("not_finite", "actions", "relative", "still"):
            getattr(self, name).extend(facts.index[getattr(facts, name)].tolist())
        self.saturated += int(facts.saturated.sum())
        self.entries += 6 * len(facts.index)
        self.most_saturated.extend(facts.index[facts.saturated >= 4].tolist())
        self.indices.append(facts.index)
        self.hashes.append(facts.hash)
        self.steps.add(facts, recording)
        self.scenes.add(facts)

    def findings(self) -> list[Finding]:
        """All that was found, faults first."""
        found = [*_index_findings(self.dataset), *_annotation_findings(self.dataset)]
        achieved = self.dataset.label == "achieved"
        add = found.append
        if self.missing:
            add(Finding("missing", "their files are not there", stretches(self.missing)))
        for kind, held in (("unreadable", self.unreadable), ("shape", self.shape)):
            if held:
                add(Finding(kind, next(iter(held.values())), stretches(held)))
        if self.not_finite:
            add(Finding("not finite", "a vector holds NaN or infinity", stretches(self.not_finite)))
        if self.actions and achieved:
            add(Finding("actions", "the action is not the pose and gripper of the next state", stretches(self.actions)))
        if self.relative and achieved:
            add(Finding("relative", "it is not the clipped way to actions[t]", stretches(self.relative)))
        self.still = [index for index in self.still if index not in self._made_closing_frames()]
        if self.still:
            add(Finding("still", "an image is the one before, though the arm moved", stretches(self.still)))
        found += [*self._duplicates(), *self.scenes.findings(self.dataset), *self.steps.findings()]
        share = self.saturated / max(self.entries, 1)
        if self.saturated:
            text = f"{self.saturated} of {self.entries} entries ({share:.1%}) are at their limit"
            text += "; four or more at" if self.most_saturated else ""
            add(Finding("saturated", text, stretches(self.most_saturated), fault=False))
        return sorted(found, key=lambda each: not each.fault)

    def _made_closing_frames(self) -> set[int]:
        """Frames whose image an import took from the frame before, since its source had none."""
        provenance = self.dataset.notes.get("provenance") or {}
        return set(self.dataset.recordings[:, 1].tolist()) if "closing_states" in provenance else set()

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        """The set's, none where they cannot be read."""
        try:
            return self.dataset.annotations
        except DatasetError:
            return ()

    def _duplicates(self) -> Iterator[Finding]:
        if not self.hashes:
            return
        hashes, indices = np.concatenate(self.hashes), np.concatenate(self.indices)
        order = np.lexsort((indices, hashes))
        same = np.flatnonzero(hashes[order][1:] == hashes[order][:-1]) + 1
        if not len(same):
            return
        later, earlier = indices[order][same], indices[order][same - 1]
        apart = later - earlier > 1
        if apart.any():
            text = f"state and image are those of an earlier frame ({int(earlier[apart][0])} for the first)"
            yield Finding("duplicate", text, stretches(later[apart].tolist()))
        if (~apart).any():
            text = "state and image are those of the frame before: nothing moved"
            yield Finding("duplicate", text, stretches(later[~apart].tolist()), fault=False)


def check(
    dataset: CalvinDataset, *, frames: int | None = None, threads: int = 1, progress: Progress | None = None
) -> list[Finding]:
    """What :func:`examine` finds, faults first; empty when there is nothing to say."""
    return examine(dataset, frames=frames, threads=threads, progress=progress).findings()


def examine(
    dataset: CalvinDataset, *, frames: int | None = None, threads: int = 1, progress: Progress | None = None
) -> Check:
    """Goes through the frames of a split.

    Args:
        dataset: The split.
        frames: About how many frames to read, in blocks spread evenly; all when None.
        threads: Threads that read.
        progress: Called with frames read and in all.
    """
    state = Check(dataset)
    blocks = list(_blocks(dataset.recordings))
    if frames is not None and frames < sum(last - first + 1 for first, last, _ in blocks):
        wanted = np.linspace(0, len(blocks) - 1, max(1, frames // BLOCK)).astype(int)
        blocks = [blocks[place] for place in np.unique(wanted)]
    total, done = sum(last - first + 1 for first, last, _ in blocks), 0
    with ThreadPoolExecutor(max(1, threads)) as pool:
        for place in range(0, len(blocks), 4 * threads):
            part = blocks[place : place + 4 * threads]
            for block, (facts, trouble) in zip(part, pool.map(lambda b: _read(dataset, *b), part), strict=True):
                state.add(facts, trouble, block[2])
                done += block[1] - block[0] + 1
                if progress:
                    progress(done, total)
    return state


def _blocks(recordings: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """First and last frame of each block, and the end of its recording."""
    for first, last in recordings.tolist():
        for begin in range(first, last + 1, BLOCK):
            yield begin, min(begin + BLOCK - 1, last), last


def _read(dataset: CalvinDataset, first: int, last: int, end: int) -> tuple[FrameFacts, dict[int, tuple[str, str]]]:
    """A block's frames and, to compare with, the one after it in the same recording."""
    trouble: dict[int, tuple[str, str]] = {}
    read: dict[int, dict[str, np.ndarray]] = {}
    keys = [key for key in NEEDED if key in dataset.shapes]
    for index in range(first, min(last + 1, end) + 1):
        path = dataset.path(index)
        try:
            frame = read_frame(path, keys)
        except DatasetError as error:
            trouble[index] = ("unreadable" if path.is_file() else "missing", str(error))
            continue
        other = [key for key in keys if frame[key].shape != dataset.shapes[key]]
        if other:
            text = f"{other[0]} is {frame[other[0]].shape}, of the data set {dataset.shapes[other[0]]}"
            trouble[index] = ("shape", text)
        else:
            read[index] = frame
    trouble.pop(last + 1, None)  # its own block says so
    return facts_of(read, last), trouble


def _index_findings(dataset: CalvinDataset) -> Iterator[Finding]:
    ends = dataset.recordings
    lengths = ends[:, 1] - ends[:, 0] + 1
    if (lengths < 1).any():
        wrong = np.flatnonzero(lengths < 1)
        yield Finding("index", f"recordings {_numbers(wrong)} end before they begin")
    order = np.argsort(ends[:, 0], kind="stable")
    overlap = np.flatnonzero(ends[order][1:, 0] <= ends[order][:-1, 1])
    if len(overlap):
        yield Finding("index", f"recordings {_numbers(order[overlap + 1])} begin within the one before")
    path = dataset.folder / LENGTHS
    if path.is_file():
        said = np.asarray(load_object(path)).reshape(-1)
        if len(said) != len(ends) or (said != lengths).any():
            yield Finding("index", f"{LENGTHS} says {said.sum()} frames, the recordings' ends {lengths.sum()}")
    yield from _outside(dataset)
    for key, shape in CAMERAS.items():
        if key in dataset.shapes and dataset.shapes[key] != shape:
            text = f"{key} is {dataset.shapes[key]}, CALVIN's {shape}: networks see it resized"
            yield Finding("size", text, fault=False)


def _outside(dataset: CalvinDataset) -> Iterator[Finding]:
    order = dataset.recordings[np.argsort(dataset.recordings[:, 0])]
    with os.scandir(dataset.folder) as entries:
        held = np.array([index for entry in entries if (index := dataset.naming.index(entry.name)) is not None])
    place = np.searchsorted(order[:, 0], held, side="right") - 1
    outside = held[(place < 0) | (held > order[np.maximum(place, 0), 1])]
    if len(outside):
        text = "no recording holds them; four such frames of ABCD are copies of validation frames"
        yield Finding("outside", text, stretches(outside.tolist()), fault=False)


def _annotation_findings(dataset: CalvinDataset) -> Iterator[Finding]:
    order = dataset.recordings[np.argsort(dataset.recordings[:, 0])]
    cannot: list[int] = []
    across: list[int] = []
    unknown: list[int] = []
    unplaced: list[int] = []
    many: dict[tuple, list[int]] = {}
    try:
        annotations = dataset.annotations
    except DatasetError as error:
        yield Finding("annotation", str(error))
        return
    for each in annotations:
        place = int(np.searchsorted(order[:, 0], each.start, side="right")) - 1
        inside = place >= 0 and each.start <= order[place, 1]
        if each.length < 1 or not inside:
            cannot.append(each.number)
        elif each.end - 1 > order[place, 1]:
            across.append(each.number)
        if each.task not in TASKS:
            unknown.append(each.number)
        if each.scene is None:
            unplaced.append(each.number)
        many.setdefault((each.start, each.end, each.task, each.instruction), []).append(each.number)
    if cannot:
        yield Finding("annotation", "without frames, or in no recording; annotations", stretches(cannot))
    if across:
        yield Finding("across", "their last frame lies in another recording; annotations", stretches(across))
    if unknown:
        names = sorted({annotations[number].task for number in unknown})
        fault = names != [UNKNOWN]  # an import whose source had only words
        yield Finding("unknown task", f"{', '.join(names[:5])}; annotations", stretches(unknown), fault=fault)
    copies = [number for numbers in many.values() for number in numbers[1:]]
    if copies:
        yield Finding("annotation", "there twice, frames and words; annotations", stretches(copies), fault=False)
    if unplaced and (dataset.folder / SCENE_INFO).is_file():
        yield Finding("scene", f"{SCENE_INFO} does not cover them; annotations", stretches(unplaced))
    yield from _official_ranges(dataset)


def _official_ranges(dataset: CalvinDataset) -> Iterator[Finding]:
    """Scenes against the set's name, and against the numbering of ABC and ABCD where it has several scenes."""
    named = scenes_by_name(dataset.folder)
    for scene, first, last in dataset.scenes:
        if named and scene not in named:
            text = f"{SCENE_INFO} says {scene} of these, but {dataset.folder.parent.name} has none of it here"
            yield Finding("scene", text, ((first, last),))
    if dataset.notes or len(dataset.scenes) < 2 or dataset.recordings[-1, 1] < OFFICIAL_SCENES["A"][1]:
        return
    for scene, first, last in dataset.scenes:
        known = OFFICIAL_SCENES.get(scene)
        if known and (first > known[1] or last < known[0]):
            text = f"{SCENE_INFO} says {scene} of these; in CALVIN's numbering {scene} is {known[0]}-{known[1]}"
            yield Finding("scene", text, ((first, last),))


def shared_frames(first: Check, second: Check) -> list[Finding]:
    """Frames of ``second`` whose state and image ``first`` holds too: training data in validation."""
    if not first.hashes or not second.hashes:
        return []
    same = np.isin(np.concatenate(second.hashes), np.concatenate(first.hashes))
    if not same.any():
        return []
    frames = np.concatenate(second.indices)[same]
    text = f"{first.dataset.folder.name} holds these frames of {second.dataset.folder.name} too"
    return [Finding("duplicate", text, stretches(frames.tolist()))]


def _numbers(values: Sequence[int] | np.ndarray) -> str:
    shown = [str(value) for value in list(values)[:6]]
    return ", ".join(shown) + (" …" if len(values) > 6 else "")
