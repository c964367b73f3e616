"""Which windows of frames a data set holds for training: arithmetic over its annotations.

Follows DiskCalvinDataset of RoboVLMs 8adc1d2. A window begins at ``first`` and takes W + C frames: W whose images
are seen, and chunks of C actions from each of them. Positions from the annotation's end on are padding: frame
``end`` takes their place and their labels do not count.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from vla_bench.envs.calvin.dataset.annotations import Annotation


class Window(NamedTuple):
    """Where a training item begins."""

    first: int
    """First frame."""
    annotation: int
    """Number of its annotation."""
    padding: int
    """How many of its W + C frames are padding, at their end."""


def windows(annotations: Iterable[Annotation], window: int, chunk: int, *, skip_frames: int = 1) -> list[Window]:
    """All windows, annotation by annotation.

    Those of (start, end) begin at start … end - W: its W images are always real. An annotation shorter than W
    has none.

    Args:
        annotations: In the order their windows are wanted in.
        window: W, frames seen.
        chunk: C, actions from each frame.
        skip_frames: Keep every so many-th start of each annotation, from its first.

    Raises:
        ValueError: a size below 1.
    """
    if window < 1 or chunk < 1 or skip_frames < 1:
        raise ValueError(f"window {window}, chunk {chunk} and skip_frames {skip_frames} must each be at least 1")
    return [
        Window(first, each.number, max(0, first + window + chunk - each.end))
        for each in annotations
        for first in range(each.start, each.end - window + 1, skip_frames)
    ]


def window_frames(
    first: int, end: int, window: int, chunk: int, *, pad_with: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Frames of a window and which are real.

    Args:
        first: First frame.
        end: Of its annotation.
        window: W.
        chunk: C.
        pad_with: Frame in place of padding: ``end`` when None, as the original; the last real one where ``end`` is
            not there.

    Returns:
        (W + C,) int64 frames, ``pad_with`` in place of padding, and (W + C,) bool, False where padded.
    """
    frames = np.arange(first, first + window + chunk, dtype=np.int64)
    real = frames < end
    return np.where(real, frames, end if pad_with is None else pad_with), real
