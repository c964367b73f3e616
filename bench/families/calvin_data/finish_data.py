"""Closes a data set whose writing was cut off: lists for readers what is written of it.

vla-bench data finish demonstrations/training
"""

from __future__ import annotations

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the folder."""
    parser.add_argument("folder", type=Path, help="a data set that was written here, or one of its splits")


def run(arguments: argparse.Namespace) -> int:
    """Writes the index files."""
    from vla_bench.envs.calvin.dataset import DatasetWriter
    from vla_bench.envs.calvin.dataset.journal import JOURNAL
    from vla_bench.envs.calvin.dataset.layout import SPLITS

    folder = arguments.folder.expanduser()
    splits = [folder / split for split in SPLITS if (folder / split / JOURNAL).is_file()]
    for each in splits or [folder]:
        writer = DatasetWriter.reopen(each)
        writer.finish()
        print(f"{each}: {writer.recordings} recordings, {writer.next_frame} frames")
    return 0
