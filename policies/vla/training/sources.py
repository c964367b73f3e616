"""What is known of training data before they are read. Imports no torch."""

from __future__ import annotations


def data_digest(folder: str) -> str:
    """The digest of a data set, in its layout on disk or packed. UserError: there is none in the folder."""
    from vla_bench.envs.calvin.dataset import open_dataset

    return open_dataset(folder).digest
