"""What a data set holds: counts, tasks, lengths, and the least, 1 %, 99 % and greatest of every number.

vla-bench data describe task_D_D                          both splits
vla-bench data describe task_D_D --picture overview.png   and a look at it, one row a task
vla-bench data describe task_D_D --json                   for programs
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the folder and what to write."""
    parser.add_argument("folder", type=Path, help="a data set, or one of its splits; packed ones too")
    parser.add_argument("--all", action="store_true", help="take quantiles over all annotated frames, not 20,000")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="write a PNG of one annotation of each task")
    parser.add_argument("--json", action="store_true", help="print as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Describes each split."""
    from vla_bench.bench.errors import ConfigError
    from vla_bench.bench.live.progress import ProgressLine
    from vla_bench.envs.calvin.dataset import open_dataset
    from vla_bench.envs.calvin.dataset.description import SAMPLED, summarise
    from vla_bench.envs.calvin.dataset.opening import splits_of

    described = {}
    opened = [open_dataset(arguments.folder, split) for split in splits_of(arguments.folder)]
    for dataset in opened:
        with ProgressLine("frames read") as show:
            sample = None if arguments.all else SAMPLED
            described[str(dataset.folder)] = summarise(dataset, sample=sample, progress=show)
    if arguments.json:
        print(json.dumps({name: each.as_plain() for name, each in described.items()}, indent=1))
    else:
        print(*(_text(name, each) for name, each in described.items()), sep="\n\n")
    if arguments.picture:
        from vla_bench.bench.families.calvin_data.picture import contact_sheet

        picture = contact_sheet(opened[0])
        try:
            picture.save(arguments.picture)
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot write {arguments.picture}: {error}; give a file that ends in .png") from error
        print(f"{arguments.picture}: one annotation of each task of {opened[0].folder}")
    return 0


def _text(name: str, each) -> str:  # type: ignore[no-untyped-def]
    from vla_bench.envs.calvin.state import ROBOT_OBS, TABLE_OBS

    share = each.annotated / max(each.frames, 1)
    lines = [
        name,
        f"  {each.frames} frames in {each.recordings} recordings; actions are {each.label}",
        f"  {each.annotations} annotations with {each.instructions} different instructions; "
        f"{each.annotated} frames annotated ({share:.0%}), {each.slots} counted as often as they are",
        f"  lengths {each.lengths[0]} to {each.lengths[2]} frames, median {each.lengths[1]}",
        f"  scenes {', '.join(f'{scene} {count}' for scene, count in each.scenes.items()) or 'none'}",
        f"  images {', '.join(f'{key} {shape[0]}x{shape[1]}' for key, shape in each.shapes.items() if 'rgb' in key)}",
        "",
        "  annotations by task",
        *(f"    {count:6d}  {task}" for task, count in each.tasks.items()),
    ]
    axes = ("x", "y", "z", "euler_x", "euler_y", "euler_z", "gripper")
    names = {"actions": axes, "rel_actions": axes, "robot_obs": ROBOT_OBS, "scene_obs": TABLE_OBS}
    for key, rows in each.quantiles.items():
        lines += ["", f"  {key:<22}{'least':>10}{'q01':>10}{'median':>10}{'q99':>10}{'greatest':>10}"]
        for place in range(rows.shape[1]):
            label = names[key][place] if place < len(names[key]) else f"blocks[{place - len(TABLE_OBS)}]"
            lines.append(f"    {label:<20}" + "".join(f"{value:10.4f}" for value in rows[:, place]))
    if each.quantiles:
        lines.append(f"  over {each.sampled} frames")
    return "\n".join(lines)
