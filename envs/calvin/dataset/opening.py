"""One door to data sets of every form."""

from __future__ import annotations

from pathlib import Path

from vla_bench.envs.calvin.dataset.layout import SPLITS
from vla_bench.envs.calvin.dataset.packed import PackedDataset, is_packed
from vla_bench.envs.calvin.dataset.reader import CalvinDataset
from vla_bench.envs.calvin.dataset.source import Dataset
from vla_bench.envs.errors import DatasetError


def open_dataset(folder: Path | str, split: str | None = None) -> Dataset:
    """Opens the data set in ``folder``: packed, or in CALVIN's layout; the whole or one of its splits.

    Args:
        folder: A data set, or one split of it.
        split: ``training`` (what is taken when None) or ``validation``, when the folder holds both.

    Raises:
        DatasetError: it is none, or cannot be read.
    """
    folder = Path(folder).expanduser()
    if is_packed(folder):
        if split is not None and folder.name in SPLITS and folder.name != split:
            raise DatasetError(f"{folder} is packed {folder.name} data, not {split}")
        return PackedDataset(folder)
    inner = folder / (split or SPLITS[0])
    return PackedDataset(inner) if is_packed(inner) else CalvinDataset(folder, split)


def splits_of(folder: Path | str) -> tuple[str | None, ...]:
    """The splits in ``folder``; (None,) when it is a split itself, or nothing known.

    Every member can be given to :func:`open_dataset`.
    """
    folder = Path(folder).expanduser()
    return tuple(split for split in SPLITS if (folder / split).is_dir()) or (None,)
