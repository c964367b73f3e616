"""Reads LeRobot v3.0: tables of numbers, images in them or in video files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vla_bench.envs.calvin.dataset.foreign.lerobot import (
    CANDIDATES,
    INFO,
    SCENE_COLUMN,
    TASK_COLUMN,
)
from vla_bench.envs.calvin.dataset.foreign.lmdb_source import decoded
from vla_bench.envs.calvin.dataset.foreign.trajectory import Trajectory, chosen_names, need
from vla_bench.envs.errors import DatasetError


class LeRobotSource:
    """Episodes of a folder.

    Args:
        folder: Holds ``meta/``, ``data/`` and perhaps ``videos/``.
        mapping: Our key (of ``CANDIDATES``) to a feature, where names differ.

    Raises:
        DatasetError: it is of another form or version, or lacks what a demonstration needs.
    """

    def __init__(self, folder: Path, mapping: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        try:
            self.info = json.loads((folder / INFO).read_text(encoding="utf-8"))
            features, version = dict(self.info["features"]), str(self.info["codebase_version"])
            self.fps = float(self.info["fps"])
        except OSError as error:
            raise DatasetError(f"{folder} is no LeRobot data set: cannot read {INFO} ({error.strerror})") from error
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetError(f"{folder / INFO} is damaged: {error!r}") from error
        if not version.startswith("v3."):
            raise DatasetError(
                f"{folder} is of LeRobot's form {version}; v3.0 is read. Convert it with LeRobot's own "
                "convert_dataset_v21_to_v30"
            )
        self.names = chosen_names(CANDIDATES, features, mapping or {})
        lacking = [part for part in ("robot_obs", "rgb_static") if part not in self.names]
        lacking += [] if {"actions", "rel_actions"} & set(self.names) else ["actions or rel_actions"]
        if lacking:
            raise DatasetError(
                f"{folder} has no {', '.join(lacking)} by a known name; it has {', '.join(sorted(features))}. "
                f"Say which is which: --map {lacking[0].split()[0]}=<feature>"
            )
        self.videos = {
            part: name
            for part, name in self.names.items()
            if part.startswith("rgb_") and features[name]["dtype"] == "video"
        }
        if self.videos:
            need("av")
        self._episodes = self._read_episodes()

    def notes(self) -> list[str]:
        """What the user should know."""
        found = [f"{ours} from {theirs}" for ours, theirs in self.names.items()]
        if self.fps != 30:
            found.append(f"it says {self.fps:g} frames a second; CALVIN's are 30, and frames are taken as they are")
        if self.videos:
            found.append("images are from compressed video: pixels differ from those a simulator renders")
        return found

    def _read_episodes(self) -> list[dict[str, Any]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        paths = sorted((self.folder / "meta" / "episodes").glob("*/*.parquet"))
        try:
            rows = [
                row
                for path in paths
                for row in pq.read_table(
                    path, columns=[name for name in pq.read_schema(path).names if not name.startswith("stats/")]
                ).to_pylist()
            ]
            rows.sort(key=lambda row: row["episode_index"])
        except (pa.ArrowInvalid, OSError, KeyError) as error:
            raise DatasetError(f"the episodes of {self.folder} cannot be read: {error}") from error
        if not rows:
            raise DatasetError(f"{self.folder} has no episode in meta/episodes")
        return rows

    def __len__(self) -> int:
        return len(self._episodes)

    def trajectories(self, first: int) -> Iterable[Trajectory]:
        """See :class:`vla_bench.envs.calvin.dataset.foreign.trajectory.Source`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        held: tuple[Path, Any] | None = None
        videos = {part: _Video(self, name) for part, name in self.videos.items()}
        for row in self._episodes[first:]:
            path = self._path("data_path", row, "data")
            try:
                if held is None or held[0] != path:
                    columns = [name for part, name in self.names.items() if part not in self.videos]
                    held = path, pq.read_table(path, columns=[*columns, "episode_index"])
                table = held[1]
                mine = np.flatnonzero(table["episode_index"].to_numpy() == row["episode_index"])
                table = table.take(mine)
                yield self._trajectory(row, table, videos)
            except (pa.ArrowInvalid, OSError, KeyError) as error:
                raise DatasetError(f"{path} cannot be read: {error}") from error

    def _path(self, pattern: str, row: Mapping[str, Any], prefix: str, **parts: object) -> Path:
        chunk, file = (int(row[f"{prefix}/{name}_index"]) for name in ("chunk", "file"))
        relative = str(self.info[pattern]).format(chunk_index=chunk, file_index=file, **parts)
        path = (self.folder / relative).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            raise DatasetError(f"{INFO} of {self.folder} names a file outside of it: {relative}")
        return path

    def _trajectory(self, row: Mapping[str, Any], table: Any, videos: Mapping[str, _Video]) -> Trajectory:
        where = f"episode {row['episode_index']} of {self.folder}"
        if table.num_rows != row["length"]:
            raise DatasetError(f"{where} has {table.num_rows} frames, by its description {row['length']}")
        numbers, images = {}, {}
        for part, name in self.names.items():
            if part in videos:
                images[part] = videos[part].frames(row)
            elif part.startswith("rgb_"):
                images[part] = np.stack([decoded(each["bytes"], where) for each in table[name].to_pylist()])
            else:
                numbers[part] = np.array(table[name].to_pylist(), np.float64)
        actions, relative = numbers.get("actions"), numbers.get("rel_actions")
        if actions is not None and relative is None and _looks_relative(actions, numbers["robot_obs"]):
            actions, relative = None, actions
        return Trajectory(
            instruction=str(row["tasks"][0]),
            states=numbers["robot_obs"],
            images=images,
            actions=actions,
            rel_actions=relative,
            scene_obs=numbers.get("scene_obs"),
            task=row.get(TASK_COLUMN) or None,
            scene=row.get(SCENE_COLUMN) or None,
        )


def _looks_relative(actions: np.ndarray, states: np.ndarray) -> bool:
    """Whether the only actions there are cannot be poses: they lie far from where the arm is, and within ±1."""
    return bool(np.abs(actions[:, :6]).max() <= 1 + 1e-6 and np.abs(actions[:, :3] - states[:, :3]).mean() > 0.1)


class _Video:
    """A camera's video files, read from front to back and opened again when an episode lies before."""

    def __init__(self, source: LeRobotSource, name: str) -> None:
        self._source, self._name = source, name
        self._path: Path | None = None
        self._place = 0
        self._decoded: Iterator[Any] = iter(())

    def frames(self, row: Mapping[str, Any]) -> np.ndarray:
        """(n, H, W, 3) uint8 of an episode."""
        path = self._source._path("video_path", row, f"videos/{self._name}", video_key=self._name)
        begin = round(float(row[f"videos/{self._name}/from_timestamp"]) * self._source.fps)
        if path != self._path or begin < self._place:
            self._path, self._place, self._decoded = path, 0, _decode(path)
        images: list[np.ndarray] = []
        while len(images) < row["length"]:
            frame = next(self._decoded, None)
            if frame is None:
                raise DatasetError(f"{path} ends within episode {row['episode_index']}: it was cut off")
            if self._place >= begin:
                images.append(frame.to_ndarray(format="rgb24"))
            self._place += 1
        return np.stack(images)


def _decode(path: Path) -> Iterator[Any]:
    import av

    try:
        with av.open(str(path)) as file:
            yield from file.decode(video=0)
    except (av.error.FFmpegError, OSError) as error:
        raise DatasetError(f"{path} cannot be decoded: {error}") from error
