"""CALVIN's recorded data: read, written, checked, chosen from and packed. Needs numpy alone.

:func:`open_dataset` opens a folder whatever its form; :class:`CalvinDataset` reads the official layout (one file
a frame), :class:`DatasetWriter` writes it.
"""

from __future__ import annotations

from vla_bench.envs.calvin.dataset.annotations import Annotation
from vla_bench.envs.calvin.dataset.opening import open_dataset
from vla_bench.envs.calvin.dataset.reader import CalvinDataset
from vla_bench.envs.calvin.dataset.source import Dataset
from vla_bench.envs.calvin.dataset.windows import Window, windows
from vla_bench.envs.calvin.dataset.writer import DatasetWriter, RecordedAnnotation, Recording
from vla_bench.envs.errors import DatasetError

__all__ = [
    "Annotation",
    "CalvinDataset",
    "Dataset",
    "DatasetError",
    "DatasetWriter",
    "RecordedAnnotation",
    "Recording",
    "Window",
    "open_dataset",
    "windows",
]
