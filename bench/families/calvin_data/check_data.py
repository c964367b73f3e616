"""Finds the known defects of a data set, and says where they are.

vla-bench data check task_D_D                  every frame of both splits
vla-bench data check task_ABC_D --frames 20000 about so many, in blocks spread over the set
vla-bench data check packed                    a packed set: every row against its sum

Exit code 0 when nothing is wrong (what is only worth knowing is printed as a note), 3 when something is.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vla_bench.envs.calvin.dataset.check import Check
    from vla_bench.envs.calvin.dataset.findings import Finding

FAULTY = 3
"""Exit code when a fault was found."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the folder and how thorough to be."""
    parser.add_argument("folder", type=Path, help="a data set, or one of its splits")
    parser.add_argument("--frames", type=int, metavar="N", help="read about so many frames (all)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads that read (one a core)")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Checks each split and prints what was found."""
    from vla_bench.bench.errors import ConfigError
    from vla_bench.envs.calvin.dataset.check import Check, shared_frames
    from vla_bench.envs.calvin.dataset.findings import KINDS, faults
    from vla_bench.envs.calvin.dataset.opening import splits_of

    if arguments.frames is not None and arguments.frames < 1:
        raise ConfigError(f"--frames {arguments.frames}: must be 1 or more")
    everything, examined = [], []
    for split in splits_of(arguments.folder):
        said, found, check = _check(arguments, split)
        everything.append((said, found))
        if isinstance(check, Check):
            examined.append(check)
    if len(examined) == 2 and (shared := shared_frames(*examined)):
        everything.append(("both splits", shared))
    if arguments.json:
        rows = [
            {"split": said, "kind": each.kind, "text": each.text, "where": each.where, "fault": each.fault}
            for said, found in everything
            for each in found
        ]
        print(json.dumps(rows, indent=1))
    else:
        for said, found in everything:
            print(said if found else f"{said}: nothing to say")
            for each in found:
                where = f" {each.places()}" if each.where else ""
                print(f"  {'!!' if each.fault else '--'}  {each.kind} ({KINDS[each.kind]}): {each.text}{where}")
    return FAULTY if any(faults(found) for _, found in everything) else 0


def _check(arguments: argparse.Namespace, split: str | None) -> tuple[str, list[Finding], Check | None]:
    from vla_bench.bench.live.progress import ProgressLine, threads_given
    from vla_bench.envs.calvin.dataset import CalvinDataset, open_dataset
    from vla_bench.envs.calvin.dataset.check import examine
    from vla_bench.envs.calvin.dataset.findings import Finding
    from vla_bench.envs.calvin.dataset.packed import PackedDataset
    from vla_bench.envs.calvin.dataset.packing import damaged_blocks

    dataset = open_dataset(arguments.folder, split)
    if isinstance(dataset, PackedDataset):
        with ProgressLine("rows checked") as show:
            damaged = damaged_blocks(dataset, show)
        found = [Finding("sum", f"{key} is not what was packed; rows", ((a, b),)) for key, a, b in damaged]
        return f"{dataset.folder}: {dataset.index['rows']} packed frames", found, None
    assert isinstance(dataset, CalvinDataset)
    with ProgressLine("frames read") as show:
        state = examine(dataset, frames=arguments.frames, threads=threads_given(arguments.threads), progress=show)
    frames = int((dataset.recordings[:, 1] - dataset.recordings[:, 0] + 1).sum())
    parts = [_count(frames, "frame")]
    if arguments.frames is not None and arguments.frames < frames:
        parts.append(f"about {arguments.frames} read")
    parts += [_count(len(dataset.recordings), "recording"), _count(len(state.annotations), "annotation")]
    return f"{dataset.folder}: {', '.join(parts)}", state.findings(), state


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
