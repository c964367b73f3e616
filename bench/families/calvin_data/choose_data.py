"""Chooses annotations so that the part is like the whole: over tasks, scenes and lengths, by a seed.

vla-bench data choose task_ABCD_D --count 2400 --to tenth.json   a tenth
vla-bench data choose task_D_D --per-task 10 --to few.json       ten of each task
vla-bench data choose task_ABCD_D --count 500 --scene D --to d.json

The file names frames and tasks; `data pack --choice` and training take it.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the set and what is wanted of it."""
    parser.add_argument("folder", type=Path, help="a data set, or one of its splits")
    number = parser.add_mutually_exclusive_group(required=True)
    number.add_argument("--count", type=int, metavar="N", help="how many, in proportion")
    number.add_argument("--per-task", type=int, metavar="N", help="how many of each task")
    parser.add_argument("--task", action="append", default=[], metavar="NAME", help="only this one; may be given again")
    parser.add_argument("--scene", action="append", default=[], metavar="LETTER", help="only this; may be given again")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (0)")
    parser.add_argument("--to", type=Path, metavar="FILE", help="write the choice there; else only say what it holds")


def run(arguments: argparse.Namespace) -> int:
    """Chooses, says what, and writes it."""
    from vla_bench.envs.calvin.dataset import open_dataset
    from vla_bench.envs.calvin.dataset.choosing import choose, write_choice

    dataset = open_dataset(arguments.folder)
    how = {
        "count": arguments.count,
        "per_task": arguments.per_task,
        "tasks": arguments.task,
        "scenes": arguments.scene,
        "seed": arguments.seed,
    }
    chosen = choose(dataset.annotations, **how)
    print(f"{len(chosen)} of {len(dataset.annotations)} annotations of {dataset.folder}")
    for name in ("task", "scene"):
        counts = Counter(str(getattr(each, name)) for each in chosen)
        print(f"  {name}s: {', '.join(f'{each} {count}' for each, count in sorted(counts.items()))}")
    if arguments.to:
        write_choice(arguments.to, dataset, chosen, how)
        print(f"written to {arguments.to}")
    return 0
