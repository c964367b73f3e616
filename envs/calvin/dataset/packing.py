"""Makes packed splits: resumable, in blocks that are checked by their sums."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from vla_bench.envs.calvin.dataset.journal import add_line, read_lines
from vla_bench.envs.calvin.dataset.layout import CAMERAS, NUMBERS
from vla_bench.envs.calvin.dataset.packed import (
    ANNOTATIONS,
    BLOCK,
    FORMAT,
    INDEX,
    PROGRESS,
    PackedDataset,
    is_packed,
    open_column,
    read_index,
    write_plain_annotations,
)
from vla_bench.envs.calvin.dataset.pickles import replace_file
from vla_bench.envs.calvin.dataset.source import Dataset
from vla_bench.envs.errors import DatasetError

Progress = Callable[[int, int], None]
"""Called with rows done and rows in all."""


@dataclass(frozen=True, slots=True)
class PackingPlan:
    """Which frames of a data set are packed, and how."""

    ranges: tuple[tuple[int, int, int], ...]
    """First and last frame and first row of each stretch."""
    keys: Mapping[str, tuple[tuple[int, ...], str]]
    """Shape and dtype of each key's rows."""

    @property
    def rows(self) -> int:
        """How many frames."""
        first, last, row = self.ranges[-1]
        return row + last - first + 1

    @property
    def bytes(self) -> int:
        """How much room they take."""
        return self.rows * sum(int(np.prod(shape)) * np.dtype(dtype).itemsize for shape, dtype in self.keys.values())

    def indices(self, begin: int, end: int) -> np.ndarray:
        """Frames of rows ``begin`` to before ``end``."""
        found = [
            np.arange(max(begin, row), min(end, row + last - first + 1)) - row + first
            for first, last, row in self.ranges
            if row < end and row + last - first + 1 > begin
        ]
        return np.concatenate(found)


def plan_packing(
    dataset: Dataset,
    *,
    sizes: Mapping[str, int] | None = None,
    keys: Sequence[str] | None = None,
    everything: bool = False,
) -> PackingPlan:
    """What a packing would hold.

    Args:
        dataset: The source.
        sizes: Camera key to pixels a side; others keep their size.
        keys: Keys to pack; numbers and the two cameras when None.
        everything: All frames of all recordings, not only those that annotations reach.

    Raises:
        DatasetError: the set lacks a key, or has no frame to pack.
    """
    sizes = dict(sizes or {})
    chosen = list(keys) if keys is not None else [key for key in (*NUMBERS, *CAMERAS) if key in dataset.shapes]
    for key in (*chosen, *sizes):
        if key not in dataset.shapes:
            raise DatasetError(f"{dataset.folder} has no {key}; it has {', '.join(sorted(dataset.shapes))}")
    for key, size in sizes.items():
        if key not in CAMERAS or size < 1:
            raise DatasetError(f"only camera images can be resized, to a number of pixels; not {key} to {size}")
    if everything:
        wanted = [(int(first), int(last)) for first, last in dataset.recordings]
    else:
        wanted = [
            (each.start, each.end if dataset.has(each.end) else each.end - 1)
            for each in dataset.annotations
            if each.length > 0
        ]
    if not wanted:
        raise DatasetError(f"{dataset.folder} has no annotated frame to pack; --all packs every frame")
    ranges, row = [], 0
    for first, last in _united(wanted):
        ranges.append((first, last, row))
        row += last - first + 1
    return PackingPlan(tuple(ranges), {key: _form(dataset, key, sizes.get(key)) for key in chosen})


def _form(dataset: Dataset, key: str, size: int | None) -> tuple[tuple[int, ...], str]:
    if key in CAMERAS:
        return ((size, size, 3) if size else tuple(dataset.shapes[key])), "uint8"
    return tuple(dataset.shapes[key]), "uint8" if key.startswith("rgb_") else "float32"


def _united(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    united: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if united and first <= united[-1][1] + 1:
            united[-1] = (united[-1][0], max(united[-1][1], last))
        else:
            united.append((first, last))
    return united


def pack(
    dataset: Dataset, folder: Path, plan: PackingPlan, *, threads: int = 1, progress: Progress | None = None
) -> PackedDataset:
    """Packs ``dataset`` into ``folder``, or goes on with it; nothing that is there is done twice.

    Decompressing and resizing leave the interpreter's lock alone, so threads are enough to use all cores.

    Raises:
        DatasetError: a frame is missing, damaged or of another size; the disk is full; another packing is there.
    """
    folder = Path(folder).expanduser()
    index = _begin(dataset, folder, plan)
    if index["complete"]:
        return PackedDataset(folder)
    sums = {line["block"]: line["sums"] for line in read_lines(folder / PROGRESS)}
    size = index["block"]
    blocks = range(-(-plan.rows // size))
    columns = {key: open_column(folder, key, plan.rows) for key in plan.keys}
    done = sum(min(size, plan.rows - block * size) for block in sums)

    def work(block: int) -> tuple[int, dict[str, int]]:
        begin, end = block * size, min((block + 1) * size, plan.rows)
        return block, _write_block(dataset, plan, columns, begin, plan.indices(begin, end))

    try:
        for block, found in _in_threads(work, (b for b in blocks if b not in sums), threads):
            add_line(folder / PROGRESS, {"block": block, "sums": found})
            sums[block] = found
            done += min(size, plan.rows - block * size)
            if progress:
                progress(done, plan.rows)
        index |= {"complete": True, "sums": {key: [sums[block][key] for block in blocks] for key in plan.keys}}
        _write_index(folder, index)
        (folder / PROGRESS).unlink()
    except OSError as error:
        raise DatasetError(
            f"cannot write to {folder}: {error.strerror or error}. What is packed stays; the same command goes on"
        ) from error
    return PackedDataset(folder)


def _in_threads(work: Callable[[int], Any], items: Iterator[int], threads: int) -> Iterator[Any]:
    with ThreadPoolExecutor(max(1, threads)) as pool:
        running = {pool.submit(work, item) for item in islice(items, max(1, threads))}
        try:
            while running:
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                for each in finished:
                    yield each.result()
                running |= {pool.submit(work, item) for item in islice(items, len(finished))}
        finally:
            for each in running:
                each.cancel()


def _begin(dataset: Dataset, folder: Path, plan: PackingPlan) -> dict[str, Any]:
    form = json.dumps([plan.ranges, sorted((key, *form) for key, form in plan.keys.items())])
    index: dict[str, Any] = {
        "format": FORMAT,
        "complete": False,
        "source": str(dataset.folder),
        "label": dataset.label,
        "digest": hashlib.sha256(f"{dataset.digest} {form}".encode()).hexdigest()[:16],
        "source_digest": dataset.digest,
        "rows": plan.rows,
        "block": BLOCK,
        "ranges": [list(each) for each in plan.ranges],
        "recordings": np.asarray(dataset.recordings).tolist(),
        "keys": list(plan.keys),
        "sums": {},
    }
    if is_packed(folder):
        held = read_index(folder)
        if held["digest"] != index["digest"]:
            raise DatasetError(
                f"{folder} holds another packing (of {held['source']}); give a new folder, or remove that one"
            )
        return held
    if folder.is_dir() and any(folder.iterdir()) and not (folder / ANNOTATIONS).is_file():
        raise DatasetError(f"{folder} is not empty; give a new folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if plan.bytes > free:
            raise DatasetError(
                f"packing needs {plan.bytes / 1e9:.1f} GB in {folder}, where {free / 1e9:.1f} GB are free; "
                "choose smaller images (--size), or another disk"
            )
        write_plain_annotations(folder / ANNOTATIONS, dataset.annotations)
        for key, (shape, dtype) in plan.keys.items():
            np.lib.format.open_memmap(folder / f"{key}.npy", "w+", np.dtype(dtype), (plan.rows, *shape), version=(1, 0))
        _write_index(folder, index)
    except OSError as error:
        raise DatasetError(f"cannot write to {folder}: {error.strerror or error}") from error
    return index


def _write_index(folder: Path, index: Mapping[str, Any]) -> None:
    replace_file(folder / INDEX, (json.dumps(index) + "\n").encode())


def _write_block(
    dataset: Dataset, plan: PackingPlan, columns: Mapping[str, Any], begin: int, indices: np.ndarray
) -> dict[str, int]:
    frames = dataset.frames(indices, tuple(plan.keys))
    sums = {}
    for key, (shape, dtype) in plan.keys.items():
        array = frames.pop(key)
        if key in CAMERAS:
            if array.shape[1:] != tuple(dataset.shapes[key]):
                raise DatasetError(
                    f"{key} of frames {indices[0]} to {indices[-1]} is {array.shape[1:]}, of the data set "
                    f"{tuple(dataset.shapes[key])}: a data set has one size of image"
                )
            array = resized(array, shape[0], shape[1])
        content = np.ascontiguousarray(array, dtype)
        sums[key] = zlib.crc32(content.data)
        descriptor = os.open(columns[key].path, os.O_WRONLY)
        try:
            view, place = content.reshape(-1).view(np.uint8).data, columns[key].offset + begin * columns[key].row
            while view:
                written = os.pwrite(descriptor, view, place)
                view, place = view[written:], place + written
            os.fdatasync(descriptor) if hasattr(os, "fdatasync") else os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return sums


def resized(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Images (n, H, W, 3) uint8 by Pillow's bicubic filter, which is what the networks' own preparation does."""
    if images.shape[1:3] == (height, width):
        return images
    from PIL import Image

    found = np.empty((len(images), height, width, 3), np.uint8)
    for place, image in enumerate(images):
        found[place] = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
    return found


def damaged_blocks(dataset: PackedDataset, progress: Progress | None = None) -> list[tuple[str, int, int]]:
    """Key, first and last row of every block whose content is not what was packed."""
    found = []
    size = dataset.index["block"]
    total, done = dataset.index["rows"] * len(dataset.columns), 0
    for key, column in dataset.columns.items():
        with column.path.open("rb") as file:
            file.seek(column.offset)
            for block, expected in enumerate(dataset.index["sums"][key]):
                rows = min(size, dataset.index["rows"] - block * size)
                if zlib.crc32(file.read(rows * column.row)) != expected:
                    found.append((key, block * size, block * size + rows - 1))
                done += rows
                if progress:
                    progress(done, total)
    return found
