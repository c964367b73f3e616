"""Random shifts and colours of a window's images.

A shift pads a frame by its edge pixels and cuts a piece of the old size out. The original does so through
``grid_sample`` at whole pixels (``RandomShiftsAug`` of Robot-VLAs/RoboVLMs at 8adc1d2), whose rounding adds less
than 1e-5 to this; and from the numbers torch draws in the same order.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vla_bench.policies.vla.training.config import Shifts

PADS = (10, 4)
"""Pixels of the static and the gripper camera at the released size, :data:`RELEASED_SIZE`."""
RELEASED_SIZE = 224


def draw_shifts(frames: int, pad: int, how: Shifts, generator: torch.Generator | None = None) -> np.ndarray:
    """(frames, 2) whole x and y of what is cut out of padded frames; ``pad`` is no shift.

    Args:
        how: ``window``: one shift for all, from 0..2 pad. ``frame``: one for each. ``released``: one for each
            from 1..2 pad, so that frames move by half a pixel on average; the original calls it ``traj_cons``.
        generator: None for torch's global one.
    """
    low, count = int(how == "released"), 1 if how == "window" else frames
    # The original draws whole numbers as float32, four axes at once; the generator's stream depends on both.
    drawn = torch.randint(low, 2 * pad + 1, (count, 1, 1, 2), dtype=torch.float32, generator=generator)
    return np.broadcast_to(drawn.view(count, 2).numpy().astype(np.int64), (frames, 2)).copy()


def shift(images: Tensor, pad: int, shifts: np.ndarray) -> Tensor:
    """(n, 3, S, S) moved by (>= n, 2) shifts as :func:`draw_shifts` gives them."""
    size = images.shape[-1]
    padded = functional.pad(images, (pad, pad, pad, pad), mode="replicate")
    return torch.stack(
        [frame[:, y : y + size, x : x + size] for frame, (x, y) in zip(padded, shifts.tolist(), strict=False)]
    )


def jitter(images: Tensor, strength: float, generator: torch.Generator | None = None) -> Tensor:
    """(n, 3, S, S) in [0, 1] with other brightness, contrast and saturation, each by a factor from
    1 - strength to 1 + strength, one draw for all n frames; clipped to [0, 1].

    Contrast is about the mean grey of each frame, saturation about each pixel's grey (ITU-R BT.601).
    """
    brightness, contrast, saturation = (1 + strength * (2 * torch.rand(3, generator=generator) - 1)).tolist()
    images = (images * brightness).clamp(0, 1)
    grey = (images * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    images = ((images - grey.mean((2, 3), keepdim=True)) * contrast + grey.mean((2, 3), keepdim=True)).clamp(0, 1)
    grey = (images * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    return ((images - grey) * saturation + grey).clamp(0, 1)
