"""The summary in an experiment tracker."""

from __future__ import annotations

import importlib.util
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from vla_bench import bench
from vla_bench.bench.cli import run as command_line
from vla_bench.bench.errors import ConfigError
from vla_bench.bench.live.tracking import check_tracker, scalars

ROOT = Path(__file__).parents[2]
WORDS = ("benchmark=fake", "policy=random", "run.backend=local", "run.workers=1", "benchmark.sequences=3")


def written(folder: Path) -> dict[str, tuple[int, float]]:
    """Step and number of every scalar of a TensorBoard folder, which holds length-prefixed records."""
    from tensorboardX.proto.event_pb2 import Event

    found = {}
    (path,) = folder.glob("events.*")
    content = path.read_bytes()
    while content:
        (size,) = struct.unpack_from("<Q", content)
        event = Event.FromString(content[12 : 12 + size])
        content = content[16 + size :]
        for value in event.summary.value:
            found[value.tag] = event.step, value.simple_value
    return found


def test_tensorboard_gets_what_the_summary_says(tmp_path):
    words = [*WORDS, f"run.results={tmp_path}", "run.name=mine", "run.tracking=tensorboard"]
    assert command_line.main(words) == 0
    made = bench.load(tmp_path / "mine")
    seen = written(made.folder / "tensorboard")
    assert {name: number for name, (_, number) in seen.items()} == pytest.approx(dict(scalars(made)), rel=1e-6)
    assert {step for step, _ in seen.values()} == {3}
    average = made.summary.chain.average
    assert seen["average_chain_length/low"][1] == pytest.approx(average.low, rel=1e-6)


def test_wandb_works_without_a_connection(tmp_path):
    """In a process of its own, at whose end all is written."""
    words = [*WORDS, f"run.results={tmp_path}", "run.name=mine", "run.tracking=wandb"]
    environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    subprocess.run([sys.executable, ROOT / "run_benchmark.py", *words], env=environment, check=True)
    (record,) = (tmp_path / "mine" / "wandb").glob("offline-run-*/run-*.wandb")
    content = record.read_bytes()
    assert b"average_chain_length" in content
    assert bench.load(tmp_path / "mine").header["protocol"]["hash"].encode() in content


def test_a_missing_package_is_told_before_the_run(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"run\.tracking=wandb needs the package wandb: type pip install"):
        check_tracker("wandb")
    check_tracker("none")
