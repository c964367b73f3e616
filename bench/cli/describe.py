"""What a file or folder is: a checkpoint, or a result set.

vla-bench describe model.pt                          groups of tensors, sizes, the structure they fit
vla-bench describe model.safetensors --shapes        every tensor with its shape and dtype too
vla-bench describe results/a                         what was measured, and what came out

A checkpoint is mapped into memory, not read: 6.8 GB are described with a few megabytes.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from vla_bench.program import installing


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the path and what is said of a checkpoint."""
    parser.add_argument("path", type=Path, help="a .pt, .ckpt or .safetensors file, a policy's folder, or a result set")
    parser.add_argument("--shapes", action="store_true", help="list every tensor of a checkpoint")
    parser.add_argument("--format", choices=("screen", "json"), default="screen", help="screen unless given")
    parser.add_argument(
        "--trust",
        action="store_true",
        help="read a checkpoint that holds more than tensors; doing so can run its code",
    )


def run(arguments: argparse.Namespace) -> int:
    """Describes what the path is."""
    from vla_bench.bench.errors import ConfigError

    path: Path = arguments.path.expanduser()
    if not path.exists():
        raise ConfigError(f"there is no {path}; give a checkpoint or the folder of a result set")
    if _is_result_set(path):
        return _describe_results(path, arguments.format)
    return _describe_checkpoint(path, shapes=arguments.shapes, trust=arguments.trust, form=arguments.format)


def _is_result_set(path: Path) -> bool:
    from vla_bench.bench.records.result_set import JOURNAL

    return (path / JOURNAL).is_file()


def _describe_results(path: Path, form: str) -> int:
    from vla_bench.bench.records.result_set import ResultSet
    from vla_bench.bench.records.tables import counts_line, headline, key_line

    results = ResultSet.load(path)
    if form == "json":
        from vla_bench.bench.records.for_programs import as_json, results_to_plain

        print(as_json(results_to_plain(results)), end="")
        return 0
    summary = results.summary
    print(headline(summary), counts_line(summary), key_line(summary), sep="\n")
    for note in summary.notes:
        print(f"note: {note}")
    return 0


def _describe_checkpoint(path: Path, *, shapes: bool, trust: bool, form: str) -> int:
    from vla_bench.bench.errors import ConfigError

    try:
        from vla_bench.policies.vla.checkpoints import read_checkpoint
        from vla_bench.policies.vla.describe import as_text, describe_tensors, tensor_lines
    except ModuleNotFoundError as error:
        raise ConfigError(f"a checkpoint is read with the package {error.name}; type {installing('vla')}") from error
    tensors, remark = read_checkpoint(path, trust=trust)
    if form == "json":
        from vla_bench.bench.records.for_programs import as_json

        plain = dataclasses.asdict(describe_tensors(tensors)) | {"note": remark or None}
        if shapes:
            plain["tensors"] = {name: [str(each.dtype), list(each.shape)] for name, each in tensors.items()}
        print(as_json(plain), end="")
        return 0
    if remark:
        print(f"note: {remark}")
    if shapes:
        print(*tensor_lines(tensors), "", sep="\n")
    print(as_text(describe_tensors(tensors)))
    return 0
