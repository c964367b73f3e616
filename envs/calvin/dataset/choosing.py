"""A smaller data set that is like the larger one: annotations chosen over tasks, scenes and lengths."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vla_bench.envs.calvin.dataset.annotations import Annotation
from vla_bench.envs.calvin.dataset.pickles import replace_file
from vla_bench.envs.calvin.dataset.source import Dataset
from vla_bench.envs.errors import DatasetError, suggestion
from vla_bench.program import program


def choose(
    annotations: Sequence[Annotation],
    *,
    count: int | None = None,
    per_task: int | None = None,
    tasks: Sequence[str] = (),
    scenes: Sequence[str] = (),
    seed: int = 0,
) -> tuple[Annotation, ...]:
    """Some annotations, spread over tasks, scenes and lengths as all are.

    Systematic sampling: annotations are put in order of task, scene and length, equals at random, and every so-many-th
    is taken from a random start; so each group gives its share to within one.

    Args:
        annotations: All of them.
        count: How many.
        per_task: How many of each task instead.
        tasks: Only of these; of all when empty.
        scenes: Only of these letters; of all when empty.
        seed: Of the draw.

    Returns:
        In the order of ``annotations``.

    Raises:
        DatasetError: neither or both numbers, more than there are, or an unknown task or scene.
    """
    known = {each.task for each in annotations}
    for name in tasks:
        if name not in known:
            raise DatasetError(f"no annotation is of the task {name!r}.{suggestion(name, known)}")
    places = {each.scene for each in annotations if each.scene}
    for name in scenes:
        if name not in places:
            raise DatasetError(f"no annotation is of scene {name!r}; there are {', '.join(sorted(places)) or 'none'}")
    offered = [
        each for each in annotations if (not tasks or each.task in tasks) and (not scenes or each.scene in scenes)
    ]
    if (count is None) == (per_task is None):
        raise DatasetError("say how many: a count, or a number of each task")
    random = np.random.default_rng(seed)
    if per_task is not None:
        groups = [[each for each in offered if each.task == task] for task in sorted({each.task for each in offered})]
        short = [group[0].task for group in groups if len(group) < per_task]
        if short or per_task < 1:
            raise DatasetError(f"there are fewer than {per_task} of {', '.join(short) or 'nothing'}")
        chosen = [each for group in groups for each in _systematic(group, per_task, random)]
    else:
        assert count is not None
        if not 1 <= count <= len(offered):
            raise DatasetError(f"{count} of {len(offered)} annotations cannot be chosen")
        chosen = _systematic(offered, count, random)
    return tuple(sorted(chosen, key=lambda each: each.number))


def _systematic(offered: Sequence[Annotation], count: int, random: np.random.Generator) -> list[Annotation]:
    chance = random.random(len(offered))
    order = sorted(
        range(len(offered)),
        key=lambda place: (offered[place].task, offered[place].scene or "", offered[place].length, chance[place]),
    )
    step = len(offered) / count
    start = random.random()
    return [offered[order[int((place + start) * step)]] for place in range(count)]


@dataclass(frozen=True)
class Subset:
    """A data set with some of its annotations, counted anew; see :class:`Dataset`."""

    whole: Dataset
    annotations: tuple[Annotation, ...]

    @property
    def folder(self) -> Path:
        """The whole's."""
        return self.whole.folder

    @property
    def recordings(self) -> np.ndarray:
        """The whole's."""
        return self.whole.recordings

    @property
    def spans(self) -> np.ndarray:
        """The whole's."""
        return self.whole.spans

    @property
    def label(self) -> str:
        """The whole's."""
        return self.whole.label

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The whole's."""
        return self.whole.shapes

    @property
    def digest(self) -> str:
        """Of the whole and the choice."""
        import hashlib

        chosen = [(each.start, each.end, each.task) for each in self.annotations]
        return hashlib.sha256(f"{self.whole.digest} {chosen}".encode()).hexdigest()[:16]

    def has(self, index: int) -> bool:
        """The whole's."""
        return self.whole.has(index)

    def frames(self, indices: Sequence[int] | np.ndarray, keys: Sequence[str]) -> dict[str, np.ndarray]:
        """The whole's."""
        return self.whole.frames(indices, keys)


def subset(dataset: Dataset, annotations: Sequence[Annotation]) -> Subset:
    """``dataset`` with only these annotations, numbered from 0."""
    return Subset(dataset, tuple(replace(each, number=number) for number, each in enumerate(annotations)))


def write_choice(path: Path, dataset: Dataset, chosen: Sequence[Annotation], how: Mapping[str, object]) -> None:
    """Writes which annotations were chosen, to be read by :func:`read_choice`."""
    rows = [[each.start, each.end, each.task] for each in chosen]
    held = {"of": str(dataset.folder), "how": dict(how), "annotations": rows}
    try:
        replace_file(path, (json.dumps(held) + "\n").encode())
    except OSError as error:
        raise DatasetError(f"cannot write {path}: {error.strerror or error}") from error


def read_choice(path: Path, dataset: Dataset) -> Subset:
    """The part of ``dataset`` that a file of :func:`write_choice` names, found by frames and task.

    Raises:
        DatasetError: the file cannot be read, or names annotations that ``dataset`` has not.
    """
    try:
        rows = [(int(start), int(end), str(task)) for start, end, task in json.loads(path.read_text())["annotations"]]
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} names no chosen annotations; make it with {program()} data choose") from error
    wanted = set(rows)
    found = [each for each in dataset.annotations if (each.start, each.end, each.task) in wanted]
    lacking = wanted - {(each.start, each.end, each.task) for each in found}
    if lacking:
        raise DatasetError(f"{dataset.folder} has no annotation {min(lacking)}, which {path} chose from another set")
    return subset(dataset, found)
