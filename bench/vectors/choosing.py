"""What is typed to say which frames are looked at, and what it stands for."""

from __future__ import annotations

import argparse
from pathlib import Path

from vla_bench.bench.errors import ConfigError, UserError
from vla_bench.bench.vectors.frames import Listed, ResultSource, Source
from vla_bench.bench.vectors.sampling import Episode, Plan, make_plan, strata_of


def add_choice(parser: argparse.ArgumentParser) -> None:
    """Adds the source and the sample."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, metavar="FOLDER", help="frames of a data set, or of one of its splits")
    source.add_argument("--episodes", type=Path, metavar="FOLDER", help="frames that a result set met (run.video=all)")
    parser.add_argument("--split", choices=("training", "validation"), help="of --data; training where there is one")
    parser.add_argument("--samples", type=int, default=500, metavar="N", help="frames (500)")
    parser.add_argument(
        "--stratify", default="task,scene", metavar="NAMES", help="task, scene, length, path, success (task,scene)"
    )
    parser.add_argument(
        "--allocation",
        choices=("proportional", "equal"),
        default="proportional",
        help="samples of a stratum: as it has episodes, or the same for all",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draw (0)")


def open_source(arguments: argparse.Namespace) -> tuple[Source, str]:
    """The source, and the name of its family. UserError: it is none."""
    if arguments.episodes is not None:
        if arguments.split:
            raise ConfigError("--split is for --data; a result set has none")
        source = ResultSource(arguments.episodes)
        return source, source.family
    from vla_bench.bench.families import families

    refused: UserError | None = None
    for family in families():
        if family.frames is not None:
            try:
                return family.frames(arguments.data, arguments.split), family.name
            except UserError as error:
                refused = refused or error
    raise refused or ConfigError("no benchmark family that is installed has recordings")


def choose(arguments: argparse.Namespace, source: Listed) -> tuple[Plan, list[Episode]]:
    """The plan that was asked for, and all episodes there are. ConfigError: it cannot be made."""
    by = strata_of(arguments.stratify, success=source.kind == "episodes")
    episodes = source.episodes(path="path" in by)
    return make_plan(episodes, arguments.samples, by, arguments.seed, arguments.allocation), episodes
