"""Makes the form that training reads fastest: flat arrays that are read at random without decompression.

vla-bench data pack task_D_D packed                    images as they are (141 kB a frame)
vla-bench data pack task_D_D packed --size 224         both cameras at 224 pixels, as networks see them
vla-bench data pack task_D_D packed --size static=224 --size gripper=84
vla-bench data pack task_ABC_D packed --choice few.json
                                                             only what `data choose` chose

Packed are the frames that annotations reach, each once. Stopped, the same command goes on. Resizing is Pillow's
bicubic filter, so that a network sees the same pixels as from the original files.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds source, target, sizes and choice."""
    parser.add_argument("source", type=Path, help="a data set, or one of its splits")
    parser.add_argument("target", type=Path, help="folder to pack into")
    parser.add_argument(
        "--size",
        action="append",
        default=[],
        metavar="[CAMERA=]PIXELS",
        help="pixels a side, of both cameras or of static or gripper; may be given again (as they are)",
    )
    parser.add_argument("--camera", action="append", metavar="NAME", help="only this camera; may be given again (both)")
    parser.add_argument("--all", action="store_true", help="all frames, not only those that annotations reach")
    parser.add_argument("--choice", type=Path, metavar="FILE", help="only the annotations chosen there")
    parser.add_argument("--threads", type=int, metavar="N", help="threads that pack (one a core)")


def run(arguments: argparse.Namespace) -> int:
    """Packs each split."""
    from vla_bench.bench.live.progress import ProgressLine, threads_given
    from vla_bench.envs.calvin.dataset import open_dataset
    from vla_bench.envs.calvin.dataset.choosing import read_choice
    from vla_bench.envs.calvin.dataset.layout import CAMERAS, NUMBERS
    from vla_bench.envs.calvin.dataset.opening import splits_of
    from vla_bench.envs.calvin.dataset.packing import pack, plan_packing

    cameras = [f"rgb_{name}" for name in arguments.camera] if arguments.camera else list(CAMERAS)
    sizes = _sizes(arguments.size, cameras)
    splits = splits_of(arguments.source) if not arguments.choice else splits_of(arguments.source)[:1]
    for split in splits:
        dataset = open_dataset(arguments.source, split)
        if arguments.choice:
            dataset = read_choice(arguments.choice, dataset)
        wanted = (*NUMBERS, *cameras)
        keys = [key for key in wanted if key in dataset.shapes or (arguments.camera and key in cameras)]
        held = {key: size for key, size in sizes.items() if key in keys}
        plan = plan_packing(dataset, sizes=held, keys=keys, everything=arguments.all)
        target = arguments.target / split if split else arguments.target
        print(f"{target}: {plan.rows} frames, {plan.bytes / 1e9:.2f} GB", flush=True)
        with ProgressLine("frames packed") as show:
            packed = pack(dataset, target, plan, threads=threads_given(arguments.threads), progress=show)
        print(f"packed, {len(packed.annotations)} annotations, digest {packed.digest}")
    return 0


def _sizes(typed: list[str], cameras: list[str]) -> dict[str, int]:
    from vla_bench.bench.errors import ConfigError

    sizes: dict[str, int] = {}
    for word in typed:
        name, _, number = word.rpartition("=")
        if not number.isdigit() or int(number) < 1:
            raise ConfigError(f"--size {word}: give pixels a side, such as 224 or static=224")
        named = [f"rgb_{name}"] if name else cameras
        if named[0] not in cameras:
            raise ConfigError(f"--size {word}: the cameras are static and gripper")
        sizes.update(dict.fromkeys(named, int(number)))
    return sizes
