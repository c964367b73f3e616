"""The packed form: one flat array a key, read at random without decompression.

A packed split is a folder of plain ``.npy`` files, one per key and one row a frame, so that ``np.load(…,
mmap_mode="r")`` maps them; ``packed.json`` says which frames the rows are. The reader copies the rows it is asked for
straight from the page cache: processes share that cache, and the reader itself never grows.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vla_bench.envs.calvin.dataset.annotations import Annotation
from vla_bench.envs.calvin.dataset.pickles import replace_file
from vla_bench.envs.errors import DatasetError
from vla_bench.program import program

FORMAT = 1
INDEX = "packed.json"
ANNOTATIONS = "annotations.json"
PROGRESS = "packing.jsonl"
BLOCK = 256
"""Rows that are packed, and checked, together."""


@dataclass(frozen=True, slots=True)
class Column:
    """Where the rows of a key lie."""

    path: Path
    shape: tuple[int, ...]
    """Of one row."""
    dtype: np.dtype
    offset: int
    """Bytes before the first row."""

    @property
    def row(self) -> int:
        """Bytes of a row."""
        return math.prod(self.shape) * self.dtype.itemsize


def open_column(folder: Path, key: str, rows: int) -> Column:
    """Looks at a key's file.

    Raises:
        DatasetError: it is missing, or not as long as ``rows`` rows.
    """
    path = folder / f"{key}.npy"
    try:
        with path.open("rb") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError("another version of .npy")
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            column = Column(path, shape[1:], dtype, file.tell())
            size = os.fstat(file.fileno()).st_size
    except (OSError, ValueError) as error:
        raise DatasetError(f"cannot read {path}: {error}; pack the data set again") from error
    if fortran or shape[0] != rows or size < column.offset + rows * column.row:
        raise DatasetError(f"{path} holds fewer than {rows} rows of {shape[1:]}: it was cut off; pack again")
    return column


@dataclass(frozen=True)
class PackedDataset:
    """One packed split; see :class:`vla_bench.envs.calvin.dataset.source.Dataset`.

    Raises:
        DatasetError: it is not there, not finished or damaged.
    """

    folder: Path
    index: Mapping[str, Any] = field(init=False, compare=False, repr=False)
    columns: Mapping[str, Column] = field(init=False, compare=False, repr=False)
    recordings: np.ndarray = field(init=False, compare=False, repr=False)
    """(E, 2) int64, first and last frame of each recording of the source."""
    ranges: np.ndarray = field(init=False, compare=False, repr=False)
    """(R, 3) int64, first and last frame and first row of what is packed, ascending."""

    def __post_init__(self) -> None:
        put = object.__setattr__
        index = read_index(self.folder)
        if not index["complete"]:
            raise DatasetError(
                f"{self.folder} is not packed to its end; the command that began it goes on from where it was: "
                f"{program()} data pack {index['source']} {self.folder}"
            )
        put(self, "index", index)
        put(self, "recordings", np.array(index["recordings"], np.int64).reshape(-1, 2))
        put(self, "ranges", np.array(index["ranges"], np.int64).reshape(-1, 3))
        put(self, "columns", {key: open_column(self.folder, key, index["rows"]) for key in index["keys"]})
        put(self, "_open", {})

    @cached_property
    def annotations(self) -> tuple[Annotation, ...]:
        """In the source's order."""
        return read_plain_annotations(self.folder / ANNOTATIONS)

    @property
    def spans(self) -> np.ndarray:
        """(R, 2) int64, first and last frame of each run that is packed."""
        return self.ranges[:, :2]

    @property
    def label(self) -> str:
        """As the source's."""
        return str(self.index["label"])

    @property
    def digest(self) -> str:
        """Of the source's data and of how it was packed."""
        return str(self.index["digest"])

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each key."""
        return {key: column.shape for key, column in self.columns.items()}

    def has(self, index: int) -> bool:
        """Whether a frame is packed."""
        place = int(np.searchsorted(self.ranges[:, 0], int(index), side="right")) - 1
        return place >= 0 and int(index) <= int(self.ranges[place, 1])

    def rows(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """(n,) rows of frames.

        Raises:
            DatasetError: names a frame that is not packed.
        """
        wanted = np.asarray(indices, np.int64)
        place = np.searchsorted(self.ranges[:, 0], wanted, side="right") - 1
        found = self.ranges[np.maximum(place, 0)]
        absent = (place < 0) | (wanted > found[:, 1])
        if absent.any():
            raise DatasetError(f"frame {int(wanted[absent.argmax()])} is not packed in {self.folder}")
        return found[:, 2] + wanted - found[:, 0]

    def frames(self, indices: Sequence[int] | np.ndarray, keys: Sequence[str]) -> dict[str, np.ndarray]:
        """See :class:`vla_bench.envs.calvin.dataset.source.Dataset`."""
        rows = self.rows(indices)
        begins = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
        ends = np.append(begins[1:], len(rows))
        found = {}
        for key in keys:
            if key not in self.columns:
                raise DatasetError(f"{self.folder} has no {key}; it was packed with {', '.join(self.columns)}")
            column = self.columns[key]
            array = np.empty((len(rows), *column.shape), column.dtype)
            content = array.reshape(-1).view(np.uint8).data
            descriptor = self._descriptor(key, column.path)
            for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
                part = content[begin * column.row : end * column.row]
                if os.preadv(descriptor, [part], column.offset + int(rows[begin]) * column.row) != len(part):
                    raise DatasetError(f"{column.path} was cut off while it was read; pack the data set again")
            found[key] = array
        return found

    def mapped(self, key: str) -> np.ndarray:
        """The whole column as a read-only memory map (rows, …)."""
        return np.load(self.columns[key].path, mmap_mode="r")

    def _descriptor(self, key: str, path: Path) -> int:
        # Reads name their place, so processes that were forked may share one.
        held: dict[str, int] = self.__dict__["_open"]
        if key not in held:
            try:
                held[key] = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
            except OSError as error:
                raise DatasetError(f"cannot read {path}: {error.strerror or error}") from error
        return held[key]

    def close(self) -> None:
        """Closes the files; they are opened again when needed."""
        held: dict[str, int] = self.__dict__["_open"]
        while held:
            os.close(held.popitem()[1])

    def __del__(self) -> None:
        if "_open" in self.__dict__:
            self.close()

    def __reduce__(self) -> tuple:
        return type(self), (self.folder,)


def is_packed(folder: Path) -> bool:
    """Whether ``folder`` holds a packed split, finished or not."""
    return (folder / INDEX).is_file()


def read_index(folder: Path) -> dict[str, Any]:
    """What ``packed.json`` says.

    Raises:
        DatasetError: it is missing, damaged, or of another version.
    """
    path = folder / INDEX
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        if index["format"] != FORMAT:
            raise DatasetError(f"{path} is of form {index['format']}, this version reads {FORMAT}; pack again")
        for name in ("complete", "source", "recordings", "ranges", "keys", "rows", "block", "label", "digest", "sums"):
            index[name]
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} is damaged ({error!r}); pack the data set again") from error
    return index


def read_plain_annotations(path: Path) -> tuple[Annotation, ...]:
    """Annotations from ``annotations.json``.

    Raises:
        DatasetError: it cannot be read.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return tuple(Annotation(number, *row) for number, row in enumerate(rows))
    except (OSError, ValueError, TypeError) as error:
        raise DatasetError(f"cannot read {path}: {error}; pack the data set again") from error


def write_plain_annotations(path: Path, annotations: Sequence[Annotation]) -> None:
    """Writes ``annotations.json``."""
    rows = [[each.start, each.end, each.task, each.instruction, each.scene] for each in annotations]
    replace_file(path, json.dumps(rows).encode())
