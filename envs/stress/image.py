"""What happens to pictures after they were rendered: brightness, noise, blur, black and frozen cameras."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vla_bench.envs.observation import Observation
from vla_bench.envs.stress.levels import Stress

_IMAGE = 1
"""Of the seeds: keeps the draws of pictures apart from others."""


class Pictures:
    """Changes the pictures of one simulation, episode by episode."""

    def __init__(self, levels: Stress, cameras: Sequence[str]) -> None:
        self._levels = levels
        self._cameras = tuple(cameras)
        self._first: dict[str, np.ndarray] = {}
        self._seed = 0

    def begin(self, seed: int) -> None:
        """A new episode."""
        self._first, self._seed = {}, seed

    def changed(self, observation: Observation, step: int) -> Observation:
        """The observation of a control step with its pictures changed; state vectors are the same objects."""
        arrays = dict(observation.arrays)
        levels = self._levels
        for number, camera in enumerate(self._cameras):
            for kind in ("rgb", "depth"):
                name = f"{kind}_{camera}"
                if name not in arrays:
                    continue
                picture = arrays[name]
                if camera in levels.frozen:
                    picture = self._first.setdefault(name, picture.copy()).copy()
                if camera in levels.black:
                    picture = np.zeros_like(picture)
                elif kind == "rgb":
                    generator = np.random.default_rng((self._seed, _IMAGE, step, number))
                    picture = changed_picture(picture, levels, generator)
                arrays[name] = picture
        return Observation(arrays)


def changed_picture(picture: np.ndarray, levels: Stress, generator: np.random.Generator) -> np.ndarray:
    """A picture (H, W, 3) uint8, first blurred, then made brighter or darker, then noisy."""
    if not (levels.camera_blur or levels.brightness or levels.image_noise):
        return picture
    values = picture.astype(np.float32)
    if levels.camera_blur:
        values = coarser(values, 1.0 - levels.camera_blur)
    values *= 1.0 + levels.brightness
    if levels.image_noise:
        values += generator.standard_normal(values.shape, np.float32) * np.float32(levels.image_noise)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def coarser(values: np.ndarray, share: float) -> np.ndarray:
    """As a camera of ``share`` of the rows and columns would show it, in the same size: each of its pixels is the
    mean of those it covers. ``values``: (H, W, 3) float."""
    for axis in (0, 1):
        size = values.shape[axis]
        cells = max(1, round(size * share))
        edges = np.arange(cells) * size // cells
        counts = np.diff(np.append(edges, size))
        shape = [1] * values.ndim
        shape[axis] = cells
        means = np.add.reduceat(values, edges, axis=axis) / counts.reshape(shape).astype(np.float32)
        values = np.repeat(means, counts, axis=axis)
    return values
