"""What training asks of a data set, whatever its form on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from vla_bench.envs.calvin.dataset.annotations import Annotation


class Dataset(Protocol):
    """Frames by their index, recordings and annotations. Can be sent to another process."""

    @property
    def folder(self) -> Path:
        """Where it lies."""
        ...

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        """In the order of the file."""
        ...

    @property
    def recordings(self) -> np.ndarray:
        """(E, 2) int64, first and last frame of each uninterrupted recording."""
        ...

    @property
    def spans(self) -> np.ndarray:
        """(S, 2) int64, first and last frame of each run of frames that can be read: the recordings, or what was packed
        of them."""
        ...

    @property
    def label(self) -> str:
        """What ``actions`` are: ``achieved`` (CALVIN's own) or ``commanded``."""
        ...

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of each key of a frame."""
        ...

    @property
    def digest(self) -> str:
        """16 hex digits that name the data, the same for the same data."""
        ...

    def has(self, index: int) -> bool:
        """Whether a frame is there."""
        ...

    def frames(self, indices: Sequence[int] | np.ndarray, keys: Sequence[str]) -> dict[str, np.ndarray]:
        """Arrays (n, …) of frames in the order asked for: numbers float32, images uint8, fresh memory.

        Raises:
            DatasetError: a frame or key is missing or damaged; says which.
        """
        ...
