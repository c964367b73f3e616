"""Camera images of windows as the pixels a network is shown, several windows at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vla_bench.envs.calvin.dataset.source import Dataset
from vla_bench.policies.vla.config import VlaConfig
from vla_bench.policies.vla.images import BLACK, PixelRecipe
from vla_bench.policies.vla.training.augmentation import PADS, RELEASED_SIZE, draw_shifts, jitter, shift
from vla_bench.policies.vla.training.config import TrainingConfig

CAMERAS = ("static", "gripper")


@dataclass(frozen=True, slots=True)
class Pictures:
    """What the cameras of a structure see in frames of a data set."""

    dataset: Dataset
    structure: VlaConfig
    training: TrainingConfig
    recipe: PixelRecipe

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras the structure looks through."""
        return CAMERAS if self.structure.gripper_camera else CAMERAS[:1]

    def of(self, frames: np.ndarray, seeds: Sequence[int | None], *, augment: bool) -> dict[str, Tensor]:
        """(B, W, 3, S, S) pixels by camera, of (B, W) frames.

        Args:
            seeds: of the shifts and colours of each window. None: torch's global generator.
            augment: whether there are any.
        """
        sides = {camera: self.structure.image_side(camera) for camera in self.cameras}
        if self.structure.blind:
            return {
                camera: self.recipe(BLACK, side).expand(*frames.shape, -1, -1, -1) for camera, side in sides.items()
            }
        # All at once: window by window took four times as long.
        read = self.dataset.frames(frames.reshape(-1), [f"rgb_{camera}" for camera in self.cameras])
        pictures = {camera: read[f"rgb_{camera}"] for camera in self.cameras}
        shifts: dict[str, list[np.ndarray]] = {camera: [] for camera in CAMERAS}
        if augment and (self.training.colour or any(map(self._pad, CAMERAS))):
            count = frames.shape[1]
            for window, seed in enumerate(seeds):
                generator = None if seed is None else torch.Generator().manual_seed(seed)
                own = slice(window * count, (window + 1) * count)
                self._draw({camera: seen[own] for camera, seen in pictures.items()}, shifts, generator)
        made = {}
        for camera, side in sides.items():
            pixels = self.recipe.many(pictures[camera], side).unflatten(0, frames.shape)
            if shifts[camera]:
                pad = self._pad(camera)
                moved = [shift(window, pad, each) for window, each in zip(pixels, shifts[camera], strict=True)]
                pixels = torch.stack(moved)
            made[camera] = pixels
        return made

    def _draw(
        self, pictures: dict[str, np.ndarray], shifts: dict[str, list[np.ndarray]], generator: torch.Generator | None
    ) -> None:
        """Adds the shifts of one window, and puts its colours into its pictures."""
        # The original draws for both cameras and for the C frames after the window, whether or not they are used.
        released = self.training.shifts in ("released", "frame") and self.training.compat == "released"
        for camera in CAMERAS if released else self.cameras:
            pad = self._pad(camera)
            seen = pictures.get(camera)
            if pad:
                count = len(pictures[CAMERAS[0]]) + (self.structure.chunk if released else 0)
                shifts[camera].append(draw_shifts(count, pad, self.training.shifts, generator))
            if seen is not None and self.training.colour:
                plain = torch.from_numpy(seen).permute(0, 3, 1, 2).float().div_(255)
                coloured = (jitter(plain, self.training.colour, generator) * 255).round().byte()
                seen[...] = coloured.permute(0, 2, 3, 1).numpy()

    def _pad(self, camera: str) -> int:
        given = self.training.rgb_pad if camera == "static" else self.training.gripper_pad
        released = PADS[CAMERAS.index(camera)]
        return round(released * self.structure.image_side(camera) / RELEASED_SIZE) if given is None else given
