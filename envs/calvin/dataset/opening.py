"""One door to data sets of every form."""

from __future__ import annotations

from pathlib import Path

from vla_bench.envs.calvin.dataset.reader import CalvinDataset
from vla_bench.envs.calvin.dataset.source import Dataset


def open_dataset(folder: Path | str, split: str | None = None) -> Dataset:
    """Opens the data set in ``folder``: CALVIN's layout (or one of its splits).

    Args:
        folder: A data set, or one split of it.
        split: ``training`` (what is taken when None) or ``validation``, when the folder holds both.

    Raises:
        DatasetError: it is none, or cannot be read.
    """
    return CalvinDataset(Path(folder), split)
