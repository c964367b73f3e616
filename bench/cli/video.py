"""Clips of the episodes of a result set whose run kept traces (run.video=failures, all or first_<n>).

vla-bench video results/mine-1a2b3c4d
vla-bench video results/mine-1a2b3c4d --episodes seq-0003 seq-0007 --workers 4
"""

from __future__ import annotations

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the folder and what of it."""
    parser.add_argument("folder", type=Path, metavar="RESULT_SET")
    parser.add_argument("--episodes", nargs="+", metavar="EPISODE", help="only these")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: 1)")


def run(arguments: argparse.Namespace) -> int:
    """Makes the clips that are missing."""
    from vla_bench.bench.errors import ConfigError, ResultSetError
    from vla_bench.bench.video.trace import TRACES

    folder = arguments.folder
    if arguments.workers < 1:
        raise ConfigError(f"--workers: at least 1, got {arguments.workers}")
    if not (folder / TRACES).is_dir():
        raise ResultSetError(f"{folder} has no traces to make clips of; run with run.video=failures, all or first_<n>")
    return show_clips(folder, arguments.workers, arguments.episodes)


def show_clips(folder: Path, workers: int, episodes: list[str] | None = None) -> int:
    """Makes the missing clips of a run's folder and prints what they cost; 1 when none could be made."""
    import sys
    import time

    from vla_bench.bench.video.clips import INDEX, VIDEOS, Clip, make_clips

    started, spent, failed = time.monotonic(), 0.0, 0

    def tell(done: int, total: int, clip: Clip | str) -> None:
        nonlocal spent, failed
        elapsed = time.monotonic() - started
        left = elapsed / done * (total - done)
        if isinstance(clip, str):
            failed += 1
            print(f"clip left out: {clip}", file=sys.stderr)
            return
        spent += clip.seconds
        print(f"clip {done}/{total}  {clip.episode}  {left:.0f} s left", file=sys.stderr)

    clips = make_clips(folder, workers=workers, episodes=episodes, on_clip=tell)
    size = sum(clip.bytes for clip in clips) / 1e6
    took = f", {time.monotonic() - started:.0f} s, {spent:.0f} s of CPU time" if spent else ""
    print(f"{len(clips)} clips, {size:.1f} MB{took}: {folder / VIDEOS / INDEX}")
    if others := sum(not clip.faithful for clip in clips):
        print(f"{others} of them ended in another state than the recorded one, and say so")
    return 1 if failed and not clips else 0
