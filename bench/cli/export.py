"""A trained checkpoint under RoboVLMs' names: a .pt file, and its JSON configuration beside it.

vla-bench export results/train-a/best a.pt         writes a.pt and a.json
"""

from __future__ import annotations

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the checkpoint and the file."""
    parser.add_argument("checkpoint", type=Path, metavar="FOLDER", help="a checkpoint in our own format")
    parser.add_argument("file", type=Path, metavar="FILE.pt", help="what is written")


def run(arguments: argparse.Namespace) -> int:
    """Writes both files and says where they are."""
    from vla_bench.bench.errors import ConfigError
    from vla_bench.policies.vla.training.export import to_robovlms

    if arguments.file.suffix not in (".pt", ".ckpt"):
        raise ConfigError(f"{arguments.file}: a name that ends in .pt is wanted")
    try:
        beside = to_robovlms(arguments.checkpoint, arguments.file)
    except OSError as error:
        raise ConfigError(f"cannot write {arguments.file}: {error.strerror or error}") from None
    print(f"{arguments.file} and {beside}")
    return 0
