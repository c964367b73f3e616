"""Takes a data set of another form: writes it in CALVIN's layout, a recording for each of its episodes.

vla-bench data import lerobot calvin_abc_d-lerobot imported    LeRobot v3.0
vla-bench data import hdf5 trajectories imported --map robot_obs=obs/state
                                                                     HDF5, a file a trajectory or groups
vla-bench data import lmdb calvin_lmdb imported --unpickle     the LMDB of GR-1's training code

Needs pip install -e '.[datasets]'. Tasks are found by their words. Where actions are the poses reached next, the set
is labelled achieved, as CALVIN's; else commanded. Stopped, the same command goes on. Check the result:
vla-bench data check imported
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vla_bench.program import program

FORMS = ("lerobot", "hdf5", "lmdb")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds form, source and target."""
    parser.add_argument("form", choices=FORMS, help="what the source is")
    parser.add_argument("source", type=Path, help="its folder or file")
    parser.add_argument("target", type=Path, help="data set to write")
    parser.add_argument("--split", choices=("training", "validation"), default="training", help="part to write")
    parser.add_argument("--scene", default="unknown", metavar="LETTER", help="where the source does not say")
    parser.add_argument(
        "--map", action="append", default=[], metavar="OURS=THEIRS", help="name of a part in the source; repeatable"
    )
    parser.add_argument(
        "--unpickle", action="store_true", help="lmdb: read its pickles, by a reader that admits tensors alone"
    )


def run(arguments: argparse.Namespace) -> int:
    """Imports all episodes."""
    from vla_bench.bench.errors import ConfigError
    from vla_bench.bench.live.progress import ProgressLine
    from vla_bench.envs.calvin.bundle import tasks_by_instruction
    from vla_bench.envs.calvin.dataset.foreign.trajectory import import_set

    mapping = {}
    for word in arguments.map:
        ours, equals, theirs = word.partition("=")
        if not equals or not theirs:
            raise ConfigError(f"--map {word}: give our part and the source's name, such as robot_obs=obs/state")
        mapping[ours] = theirs
    source = _source(arguments, mapping)
    target = arguments.target / arguments.split
    with ProgressLine("episodes imported") as show:
        writer = import_set(
            source,
            target,
            scene=arguments.scene,
            where=f"{arguments.form} {arguments.source}",
            tasks=tasks_by_instruction(),
            progress=show,
        )
    print(f"{target}: {writer.recordings} episodes, {writer.next_frame} frames, actions are {writer.label}")
    print(f"check it: {program()} data check {arguments.target}")
    return 0


def _source(arguments: argparse.Namespace, mapping: dict[str, str]):  # type: ignore[no-untyped-def]
    if arguments.form == "lmdb":
        from vla_bench.envs.calvin.dataset.foreign.lmdb_source import LmdbSource

        return LmdbSource(arguments.source, unpickle=arguments.unpickle)
    if arguments.form == "hdf5":
        from vla_bench.envs.calvin.dataset.foreign.hdf5_source import Hdf5Source

        return Hdf5Source(arguments.source, mapping)
    from vla_bench.envs.calvin.dataset.foreign.lerobot_source import LeRobotSource

    source = LeRobotSource(arguments.source, mapping)
    print(*source.notes(), sep="\n")
    return source
