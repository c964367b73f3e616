"""Writes LeRobot v3.0: an episode is an annotation, its frames those whose actions are labels."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vla_bench.envs.calvin.dataset.annotations import Annotation
from vla_bench.envs.calvin.dataset.foreign.lerobot import (
    ACTION,
    DATA,
    ENVIRONMENT,
    EPISODES,
    FILES_A_CHUNK,
    INFO,
    OURS,
    RELATIVE,
    SCENE_COLUMN,
    STATE,
    STATISTICS,
    TASK_COLUMN,
    TASKS,
    VERSION,
    VIDEO,
)
from vla_bench.envs.calvin.dataset.foreign.trajectory import need
from vla_bench.envs.calvin.dataset.layout import FREQUENCY
from vla_bench.envs.calvin.dataset.pickles import replace_file
from vla_bench.envs.calvin.dataset.source import Dataset
from vla_bench.envs.calvin.state import ROBOT_OBS, TABLE_OBS
from vla_bench.envs.errors import DatasetError

FRAMES_A_FILE = 10_000
"""Frames from which the next episode goes into a new file: some 100 MB of images."""
AXES = ("x", "y", "z", "euler_x", "euler_y", "euler_z", "gripper")
SCENE_NAMES = (*TABLE_OBS, *(f"block_{n}_{part}" for n in range(3) for part in ("x", "y", "z", "rx", "ry", "rz")))
NAMES = {STATE: ROBOT_OBS, ENVIRONMENT: SCENE_NAMES, ACTION: AXES, RELATIVE: AXES}

Progress = Callable[[int, int], None]


def export_lerobot(dataset: Dataset, target: Path, *, video: bool = False, progress: Progress | None = None) -> None:
    """Writes a whole data set; ``meta/info.json`` comes last, so that a half-written one is none.

    Args:
        dataset: The source.
        target: New folder.
        video: H.264 video, a tenth of the size, whose pixels differ; else PNG in the tables, exact.
        progress: Called with episodes done and in all.

    Raises:
        DatasetError: the folder is not empty, there is nothing to write, or the disk is full.
    """
    if video:
        need("av")
    episodes = [each for each in dataset.annotations if each.length > 0]
    if not episodes:
        raise DatasetError(f"{dataset.folder} has no annotation to export")
    if target.exists() and any(target.iterdir()):
        raise DatasetError(f"{target} is not empty; give a new folder")
    try:
        _Export(dataset, target, video).write(episodes, progress)
    except OSError as error:
        raise DatasetError(f"cannot write to {target}: {error.strerror or error}") from error


class _Export:
    def __init__(self, dataset: Dataset, target: Path, video: bool) -> None:
        self.dataset, self.target, self.video = dataset, target, video
        self.keys = [key for key in OURS if key in dataset.shapes]
        self.cameras = [key for key in self.keys if key.startswith("rgb_")]
        self.totals = {OURS[key]: _Totals() for key in self.keys}

    def write(self, episodes: list[Annotation], progress: Progress | None) -> None:
        import pandas as pd
        import pyarrow as pa
        import pyarrow.parquet as pq

        texts = {text: number for number, text in enumerate(dict.fromkeys(each.instruction for each in episodes))}
        rows: list[dict[str, Any]] = []
        index = done = 0
        for place, part in enumerate(_files(episodes)):
            where = {"chunk_index": place // FILES_A_CHUNK, "file_index": place % FILES_A_CHUNK}
            path = self._path(DATA, **where)
            writer: Any = None
            videos = {key: self._video(key, where) for key in self.cameras} if self.video else {}
            inside = 0
            try:
                for each in part:
                    frames = self.dataset.frames(range(each.start, each.end), self.keys)
                    table = self._table(frames, len(rows), index, texts[each.instruction])
                    writer = writer or pq.ParquetWriter(path, table.schema)
                    writer.write_table(table)
                    for key, encoder in videos.items():
                        encoder.add(frames[key])
                    rows.append(self._row(each, len(rows), index, inside, where))
                    index, inside = index + each.length, inside + each.length
                    done += 1
                    if progress:
                        progress(done, len(episodes))
            finally:
                if writer:
                    writer.close()
                for encoder in videos.values():
                    encoder.close()
        path = self._path(EPISODES, chunk_index=0, file_index=0)
        pq.write_table(pa.Table.from_pylist(rows), path)
        tasks = pd.DataFrame({"task_index": list(texts.values())}, index=pd.Index(list(texts), name="task"))
        tasks.to_parquet(self._path(TASKS))
        held = {name: totals.as_plain(name in map(OURS.get, self.cameras)) for name, totals in self.totals.items()}
        replace_file(self._path(STATISTICS), json.dumps(held, indent=1).encode())
        replace_file(self._path(INFO), json.dumps(self._info(len(episodes), index, len(texts)), indent=1).encode())

    def _path(self, pattern: str, **parts: object) -> Path:
        path = self.target / pattern.format(**parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _video(self, key: str, where: Mapping[str, int]) -> _Encoder:
        return _Encoder(self._path(VIDEO, video_key=OURS[key], **where), self.dataset.shapes[key])

    def _table(self, frames: Mapping[str, np.ndarray], episode: int, index: int, task: int) -> Any:
        import pyarrow as pa

        length = len(frames[self.keys[0]])
        columns: dict[str, Any] = {}
        for key in self.keys:
            self.totals[OURS[key]].add(frames[key], key in self.cameras)
            if key in self.cameras:
                if not self.video:
                    images = [{"bytes": _png(image), "path": None} for image in frames[key]]
                    columns[OURS[key]] = pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
            else:
                flat = pa.array(frames[key].astype(np.float32).reshape(-1))
                columns[OURS[key]] = pa.FixedSizeListArray.from_arrays(flat, frames[key].shape[1])
        steps = np.arange(length)
        columns["timestamp"] = pa.array((steps / FREQUENCY).astype(np.float32))
        columns["frame_index"] = pa.array(steps)
        columns["episode_index"] = pa.array(np.full(length, episode))
        columns["index"] = pa.array(steps + index)
        columns["task_index"] = pa.array(np.full(length, task))
        return pa.table(columns)

    def _row(self, each: Annotation, episode: int, index: int, inside: int, where: Mapping[str, int]) -> dict[str, Any]:
        row: dict[str, Any] = {
            "episode_index": episode,
            "tasks": [each.instruction],
            "length": each.length,
            "data/chunk_index": where["chunk_index"],
            "data/file_index": where["file_index"],
            "dataset_from_index": index,
            "dataset_to_index": index + each.length,
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
            TASK_COLUMN: each.task,
            SCENE_COLUMN: each.scene or "",
        }
        if self.video:
            for key in self.cameras:
                name = f"videos/{OURS[key]}"
                row |= {f"{name}/chunk_index": where["chunk_index"], f"{name}/file_index": where["file_index"]}
                row[f"{name}/from_timestamp"] = inside / FREQUENCY
                row[f"{name}/to_timestamp"] = (inside + each.length) / FREQUENCY
        return row

    def _info(self, episodes: int, frames: int, tasks: int) -> dict[str, Any]:
        features: dict[str, Any] = {}
        for key in self.keys:
            shape = list(self.dataset.shapes[key])
            if key in self.cameras:
                features[OURS[key]] = {
                    "dtype": "video" if self.video else "image",
                    "shape": shape,
                    "names": ["height", "width", "channels"],
                }
                if self.video:
                    features[OURS[key]]["info"] = _video_info(shape)
            else:
                features[OURS[key]] = {"dtype": "float32", "shape": shape, "names": list(NAMES[OURS[key]])}
        for name in ("timestamp", "frame_index", "episode_index", "index", "task_index"):
            dtype = "float32" if name == "timestamp" else "int64"
            features[name] = {"dtype": dtype, "shape": [1], "names": None}
        return {
            "codebase_version": VERSION,
            "robot_type": "panda",
            "total_episodes": episodes,
            "total_frames": frames,
            "total_tasks": tasks,
            "chunks_size": FILES_A_CHUNK,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 200,
            "fps": FREQUENCY,
            "splits": {"train": f"0:{episodes}"},
            "data_path": DATA,
            "video_path": VIDEO if self.video else None,
            "features": features,
            "vla_bench": {"label": self.dataset.label, "digest": self.dataset.digest},
        }


def _files(episodes: list[Annotation]) -> Iterator[list[Annotation]]:
    part: list[Annotation] = []
    for each in episodes:
        part.append(each)
        if sum(one.length for one in part) >= FRAMES_A_FILE:
            yield part
            part = []
    if part:
        yield part


def _png(image: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def _video_info(shape: list[int]) -> dict[str, Any]:
    return {
        "video.height": shape[0],
        "video.width": shape[1],
        "video.codec": "h264",
        "video.pix_fmt": "yuv420p",
        "video.is_depth_map": False,
        "video.fps": FREQUENCY,
        "video.channels": 3,
        "has_audio": False,
    }


class _Encoder:
    """One H.264 file; every second frame is a whole one, so that a reader finds any of them quickly."""

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        import av

        if shape[0] % 2 or shape[1] % 2:
            raise DatasetError(f"video needs images of even height and width, not {shape[0]}x{shape[1]}")
        self._file = av.open(str(path), "w")
        self._stream = self._file.add_stream("libx264", rate=FREQUENCY, options={"crf": "18", "g": "2", "bf": "0"})
        self._stream.width, self._stream.height, self._stream.pix_fmt = shape[1], shape[0], "yuv420p"
        self._stream.time_base = Fraction(1, FREQUENCY)
        self._count = 0

    def add(self, images: np.ndarray) -> None:
        import av

        for image in images:
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = self._count, Fraction(1, FREQUENCY)
            self._count += 1
            self._file.mux(self._stream.encode(frame))

    def close(self) -> None:
        self._file.mux(self._stream.encode(None))
        self._file.close()


class _Totals:
    """Running statistics of a feature, as LeRobot keeps them: images by channel, between 0 and 1."""

    def __init__(self) -> None:
        self.count = 0
        self.low = self.high = self.sums = self.squares = np.zeros(0)
        self.sampled: list[np.ndarray] = []

    def add(self, array: np.ndarray, image: bool) -> None:
        if image:  # every eighth frame at every fourth pixel is enough for a mean
            array = array[::8, ::4, ::4].reshape(-1, 3) / 255.0
        array = np.asarray(array, np.float64)
        low, high = array.min(0), array.max(0)
        first = self.count == 0
        self.low = low if first else np.minimum(self.low, low)
        self.high = high if first else np.maximum(self.high, high)
        self.sums = array.sum(0) + (0 if first else self.sums)
        self.squares = (array**2).sum(0) + (0 if first else self.squares)
        self.count += len(array)
        if not image:
            self.sampled.append(array[:: max(1, self.count // 20_000)])

    def as_plain(self, image: bool) -> dict[str, Any]:
        mean = self.sums / self.count
        held = {
            "min": self.low,
            "max": self.high,
            "mean": mean,
            "std": np.sqrt(np.maximum(self.squares / self.count - mean**2, 0)),
        }
        if not image:
            values = np.concatenate(self.sampled)
            held |= {name: np.quantile(values, share, axis=0) for name, share in (("q01", 0.01), ("q99", 0.99))}
        plain = {name: (row.reshape(3, 1, 1) if image else row).tolist() for name, row in held.items()}
        return {**plain, "count": [self.count]}
