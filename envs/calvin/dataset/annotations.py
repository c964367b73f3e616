"""Language annotations: which frames show which task, in which words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vla_bench.envs.calvin.dataset.layout import ANNOTATION_FILE, ANNOTATION_FOLDER
from vla_bench.envs.calvin.dataset.pickles import load_object, save_object
from vla_bench.envs.errors import DatasetError

UNKNOWN = "unknown"
"""Task of annotations whose source has only words."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """Some frames of a recording in which one task is done."""

    number: int
    """Place in the data set's list, from 0."""
    start: int
    """First frame."""
    end: int
    """One past the last frame whose action is a label. Frame ``end`` usually exists and pads chunks."""
    task: str
    instruction: str
    scene: str | None
    """``A`` to ``D``, None when the data set does not say."""

    @property
    def length(self) -> int:
        """Frames whose actions are labels."""
        return self.end - self.start


def annotation_path(folder: Path, name: str = ANNOTATION_FOLDER) -> Path:
    """The annotation file of a split: of ``name``, else of another text encoder (the words are the same).

    Raises:
        DatasetError: there is none.
    """
    path = folder / name / ANNOTATION_FILE
    if path.is_file():
        return path
    if name == ANNOTATION_FOLDER:
        others = sorted(folder.glob(f"lang_*/{ANNOTATION_FILE}"))
        if others:
            return others[0]
    raise DatasetError(
        f"{folder} has no {name}/{ANNOTATION_FILE}: without annotations nothing says what its frames show. Some copies "
        "were published without; the archives of task_D_D, task_ABC_D and task_ABCD_D hold them"
    )


def read_annotations(path: Path, scene_of: Any) -> tuple[Annotation, ...]:
    """All annotations of a file, in its order.

    Args:
        path: ``auto_lang_ann.npy``.
        scene_of: Frame to scene letter or None.

    Raises:
        DatasetError: the file is missing, damaged, of another form, or wants to run code.
    """
    held = load_object(path)
    try:
        texts, tasks, ranges = held["language"]["ann"], held["language"]["task"], held["info"]["indx"]
        if not len(texts) == len(tasks) == len(ranges):
            raise DatasetError(
                f"{path} has {len(texts)} texts, {len(tasks)} tasks and {len(ranges)} ranges: these must be as many"
            )
        return tuple(
            _annotation(number, pair, str(task), str(text), scene_of)
            for number, (pair, task, text) in enumerate(zip(ranges, tasks, texts, strict=True))
        )
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise DatasetError(
            f"{path} is not of CALVIN's form, a dictionary of language (ann, task, emb) and info (indx): {error!r}"
        ) from error


def _annotation(number: int, pair: Any, task: str, text: str, scene_of: Any) -> Annotation:
    start, end = (int(value) for value in pair)
    return Annotation(number, start, end, task, text, scene_of(start))


def write_annotations(
    path: Path, annotations: Iterable[tuple[int, int, str, str]], embeddings: np.ndarray | None = None
) -> None:
    """Writes ``auto_lang_ann.npy``.

    Args:
        path: The file.
        annotations: (start, end, task, instruction) each.
        embeddings: (N, 1, d) float32; without them a (N, 1, 0) array stands in their place.

    Raises:
        ValueError: not one embedding an annotation.
    """
    items = list(annotations)
    if embeddings is None:
        embeddings = np.zeros((len(items), 1, 0), np.float32)
    if len(embeddings) != len(items):
        raise ValueError(f"{len(embeddings)} embeddings of {len(items)} annotations")
    save_object(
        path,
        {
            "language": {
                "ann": [text for *_, text in items],
                "task": [task for _, _, task, _ in items],
                "emb": np.asarray(embeddings, np.float32),
            },
            "info": {"episodes": [], "indx": [(int(start), int(end)) for start, end, _, _ in items]},
        },
    )


def write_embeddings(path: Path, embeddings: dict[str, tuple[np.ndarray, Sequence[str]]]) -> None:
    """Writes ``embeddings.npy``: task to its texts' embedding (1, 1, d) and the texts."""
    held = {
        task: {"emb": np.asarray(values, np.float32), "ann": list(texts)}
        for task, (values, texts) in embeddings.items()
    }
    save_object(path, held)
