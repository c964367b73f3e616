"""Chooses frames and says why, before any work: strata, their shares, episodes; as a table and a picture.

vla-bench vectors plan --data task_D_D --samples 500 --stratify task,scene,length
vla-bench vectors plan --data task_D_D --stratify task,path --picture plan.svg --to plan.csv
vla-bench vectors plan --episodes results/mine --stratify task,success

The same words and the same seed choose the same frames in `vectors extract`.
"""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

from vla_bench.bench.vectors.choosing import add_choice


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the choice and where it goes."""
    add_choice(parser)
    parser.add_argument("--to", type=Path, metavar="FILE.csv", help="every chosen frame, with its reason")
    parser.add_argument("--picture", type=Path, metavar="FILE.svg", help="shares of strata, there and chosen")


def run(arguments: argparse.Namespace) -> int:
    """Prints the strata and writes the files."""
    from vla_bench.bench.records.formats import print_tables
    from vla_bench.bench.records.journal import write_atomically
    from vla_bench.bench.vectors.charts import plan_picture
    from vla_bench.bench.vectors.choosing import choose, open_source
    from vla_bench.bench.vectors.sampling import likeness
    from vla_bench.bench.vectors.store import writing
    from vla_bench.bench.vectors.tables import plan_table

    source, _ = open_source(arguments)
    plan, episodes = choose(arguments, source)
    chosen = len({each.episode.name for each in plan.samples})
    print(f"{len(plan.samples)} frames of {chosen} of {len(episodes)} episodes of {source.name}, seed {plan.seed}")
    for name in ("task", "scene"):
        off = 100 * likeness(plan, episodes, name)
        print(f"  {name}s: no share of the frames is further than {off:.1f} points from its share of the episodes")
    print_tables([plan_table(plan)], "screen")
    if arguments.to is not None:
        content = io.StringIO()
        writer = csv.writer(content)
        writer.writerow(["episode", "frame", "task", "scene", "position", "stratum", "reason"])
        for each in plan.samples:
            where = each.episode
            row = [where.name, each.frame, where.task, where.scene, f"{each.position:.3f}", each.stratum, each.reason]
            writer.writerow(row)
        with writing(arguments.to.parent):
            write_atomically(arguments.to, lambda path: path.write_text(content.getvalue(), encoding="utf-8"))
        print(f"frames: {arguments.to}")
    if arguments.picture is not None:
        drawn = plan_picture(plan)
        with writing(arguments.picture.parent):
            write_atomically(arguments.picture, lambda path: path.write_text(drawn, encoding="utf-8"))
        print(f"picture: {arguments.picture}")
    return 0
