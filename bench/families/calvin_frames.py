"""Frames of CALVIN's recorded data, as policies are shown them when their context vectors are taken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from vla_bench.bench.errors import ConfigError, suggestion
from vla_bench.bench.vectors.frames import Seen
from vla_bench.bench.vectors.sampling import Episode, Sample
from vla_bench.envs.observation import Observation, Sensors

STILL = 0.03
"""Metres below which the tool counts as not having moved along an axis."""


def path_of(moved: np.ndarray) -> str:
    """``left`` or ``right`` (smaller x is left on the table) and ``up`` or ``down`` of a move (3,) in metres."""
    side = "" if abs(moved[0]) < STILL else "left" if moved[0] < 0 else "right"
    height = "" if abs(moved[2]) < STILL else "up" if moved[2] > 0 else "down"
    return " ".join(part for part in (side, height) if part) or "still"


def arm_of(observation: Mapping[str, np.ndarray]) -> dict[str, float]:
    """``gripper`` (-1 closed, 1 open) and the tool's ``x``, ``y``, ``z`` in metres."""
    if "robot_obs" not in observation:
        return {}
    state = observation["robot_obs"]
    return {"gripper": float(state[14]), **dict(zip("xyz", map(float, state[:3]), strict=True))}


class CalvinFrames:
    """Annotated frames of a data set of CALVIN's layout or a packed one: a
    :class:`vla_bench.bench.vectors.frames.Source`.

    Raises:
        DatasetError: the folder holds none.
    """

    kind = "data"

    def __init__(self, folder: Path, split: str | None = None) -> None:
        from vla_bench.envs.calvin.dataset import open_dataset

        self._data = open_dataset(folder, split)
        self.name = str(folder)
        self.digest = self._data.digest

    def episodes(self, *, path: bool) -> list[Episode]:
        """Its annotations. ConfigError: there is none with frames."""
        found = []
        for each in self._data.annotations:
            if each.length < 1 or not self._data.has(each.start) or not self._data.has(each.end - 1):
                continue
            way = self._path(each.start, each.end - 1) if path else ""
            name, scene = f"{each.number:05d}", each.scene or "?"
            found.append(Episode(name, each.start, each.length, each.task, each.instruction, scene, way))
        if not found:
            raise ConfigError(f"{self.name} has no annotated frames to take vectors of")
        return found

    def _path(self, first: int, last: int) -> str:
        states = self._data.frames([first, last], ["robot_obs"])["robot_obs"]
        return path_of(states[1, :3] - states[0, :3])

    def check(self, sensors: Sensors) -> None:
        """ConfigError: a camera that the policy looks through was not recorded."""
        for camera in sensors.cameras:
            if f"rgb_{camera.name}" not in self._data.shapes:
                cameras = [name.removeprefix("rgb_") for name in self._data.shapes if name.startswith("rgb_")]
                raise ConfigError(
                    f"{self.name} has no camera {camera.name!r}, which the policy looks through; it has "
                    f"{', '.join(cameras) or 'none'}.{suggestion(camera.name, cameras)} Take frames of --episodes, or "
                    "another data set"
                )
            if camera.depth:
                raise ConfigError(
                    f"the policy wants the depth of camera {camera.name!r}, which is not read from data sets; take "
                    "frames of --episodes"
                )

    def seen(self, samples: Sequence[Sample], sensors: Sensors, history: int, stride: int) -> Iterator[Seen]:
        """Reads what is needed, sample by sample."""
        there = self._data.shapes
        pictured = [name for name in ("rgb_static", "rgb_gripper") if name in there][:1]
        keys = [f"rgb_{camera.name}" for camera in sensors.cameras]
        keys = list(dict.fromkeys([*keys, *pictured, *(name for name in ("robot_obs", "scene_obs") if name in there)]))
        for sample in samples:
            frames = [sample.frame - stride * back for back in range(history - 1, -1, -1)]
            frames = [frame for frame in frames if frame >= sample.episode.first]
            arrays = self._data.frames(frames, keys)
            shown = tuple(
                Observation({k: v[i].astype(np.float64) if k.endswith("_obs") else v[i] for k, v in arrays.items()})
                for i in range(len(frames))
            )
            yield Seen(sample, shown, arm_of(shown[-1]), shown[-1][pictured[0]] if pictured else None)
