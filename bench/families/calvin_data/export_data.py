"""Gives a data set in LeRobot's form v3.0: an episode for each annotation.

vla-bench data export lerobot task_D_D calvin_lerobot           images as PNG, exact
vla-bench data export lerobot task_D_D calvin_lerobot --video   H.264, a tenth of the size, other pixels

Absolute actions are `action`, relative ones `action.relative`; the state is `observation.state`.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds form, source and target."""
    parser.add_argument("form", choices=("lerobot",), help="what to write")
    parser.add_argument("source", type=Path, help="a data set, or one of its splits")
    parser.add_argument("target", type=Path, help="new folder")
    parser.add_argument("--split", choices=("training", "validation"), help="part to export (training)")
    parser.add_argument("--video", action="store_true", help="H.264 video in place of exact images")


def run(arguments: argparse.Namespace) -> int:
    """Exports all annotations."""
    from vla_bench.bench.live.progress import ProgressLine
    from vla_bench.envs.calvin.dataset import open_dataset
    from vla_bench.envs.calvin.dataset.foreign.lerobot_export import export_lerobot

    dataset = open_dataset(arguments.source, arguments.split)
    with ProgressLine("episodes exported") as show:
        export_lerobot(dataset, arguments.target, video=arguments.video, progress=show)
    print(f"{arguments.target}: {len(dataset.annotations)} episodes, LeRobot v3.0")
    return 0
