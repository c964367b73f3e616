"""A batch system's signal ends a run as Ctrl-C twice does: exit code 130, tables, a sentence, nothing left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vla_bench import load

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("backend", "number"), [("local", signal.SIGTERM), ("local", signal.SIGHUP), ("ray", signal.SIGTERM)]
)
def test_a_signal_ends_the_run_with_its_tables(tmp_path: Path, backend: str, number: signal.Signals):
    command = [sys.executable, str(ROOT / "run_benchmark.py"), "benchmark=fake", "policy=stub", "run.workers=1"]
    command += [f"run.backend={backend}", f"run.results={tmp_path}", "run.name=x", "benchmark.sequences=5000"]
    mark = f"VLA_BENCH_TEST_MARK={tmp_path}"
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **dict([mark.split("=", 1)])},
    )
    journal, deadline = tmp_path / "x" / "journal.jsonl", time.monotonic() + 60
    while not journal.is_file() or journal.read_bytes().count(b"\n") < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "stopping: " in err and err.rstrip().endswith("the same command finishes the rest")
    assert "Traceback" not in err and "logging.cc" not in err
    judged = len(load(tmp_path / "x").records)
    assert judged >= 2 and f"n = {judged}" in out
    deadline = time.monotonic() + 20
    while (left := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left


SLOW = """import subprocess, sys, time
class Slow:
    def __init__(self):
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        time.sleep(600)
    def reset(self, instruction): ...
    def act(self, observation): ...
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_a_policy_that_is_still_being_built(tmp_path: Path, number: signal.Signals):
    (tmp_path / "slow.py").write_text(SLOW)
    command = [sys.executable, str(ROOT / "run_benchmark.py"), "benchmark=fake", f"policy={tmp_path}/slow.py:Slow"]
    mark = f"VLA_BENCH_TEST_MARK={tmp_path}"
    environment = {**os.environ, **dict([mark.split("=", 1)])}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not any("time.sleep(600)" in line for line in marked(mark)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=10)
    if number != signal.SIGKILL:
        assert (process.returncode, err) == (130, "interrupted; the same command finishes the rest\n")
    deadline = time.monotonic() + 10
    while (left := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left


def marked(mark: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark.encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return [line for line in found if line]
