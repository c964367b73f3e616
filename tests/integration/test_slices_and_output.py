"""Slices that are joined, output that is kept, one worker inline; on the toy environment."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from vla_bench.bench.errors import ConfigError, ResultSetError
from vla_bench.bench.records.joining import join
from vla_bench.bench.records.result_set import ResultSet
from vla_bench.bench.runner import evaluate
from vla_bench.bench.setup.config import config_from_plain
from vla_bench.bench.setup.preparation import prepare, wanted_episodes

POLICY = """
    import numpy as np
    class Talking:
        def __init__(self):
            print("built here")
        def reset(self, instruction):
            print("reset to", instruction, flush=True)
        def act(self, observation):
            return np.array([0.0, 0.0, 1.0, 1.0])
"""


def config(tmp_path: Path, target: str = "stub", **run: object):
    plain = {"backend": "inline", "results": str(tmp_path / "results"), **run}
    return config_from_plain(
        {"benchmark": {"family": "fake", "sequences": 4, "step_limit": 9}, "policy": {"_target_": target}, "run": plain}
    )


@pytest.mark.parametrize(
    ("only", "wanted"),
    [
        (("1..2",), [1, 2]),
        (("seq-0002..seq-0003", "0..0"), [0, 2, 3]),
        (("seq-0001",), [1]),
        ((), [0, 1, 2, 3]),
    ],
)
def test_ranges_of_episodes(only, wanted, tmp_path):
    ready = prepare(config(tmp_path, only=only))
    assert [episode.index for episode in wanted_episodes(ready)] == wanted


@pytest.mark.parametrize("only", ["2..1", "0..4", "seq-0001..", "..", "seq-9..1", "7"])
def test_ranges_that_are_none(only, tmp_path):
    with pytest.raises(ConfigError, match=r"run\.only="):
        wanted_episodes(prepare(config(tmp_path, only=(only,))))


def test_slices_joined_are_the_whole_run(tmp_path):
    whole = evaluate(config(tmp_path, name="whole"))
    first = evaluate(config(tmp_path, name="a", only=("0..2",)))
    second = evaluate(config(tmp_path, name="b", only=("2..3",)))
    assert first.has(("0..2",)) and first.has(("seq-0000..seq-0002",)) and not first.has(("0..3",))
    joined = join([first.folder, second.folder], tmp_path / "joined")
    assert (joined.folder / "episodes.csv").read_bytes() == (whole.folder / "episodes.csv").read_bytes()
    assert joined.summary.complete and joined.header["joined"][1] == {"folder": "b", "episodes": 2}
    assert ResultSet.load(joined.folder).records == joined.records
    with pytest.raises(ResultSetError, match="is there already"):
        join([first.folder, second.folder], joined.folder)


def test_what_is_unlike_is_not_joined(tmp_path):
    first = evaluate(config(tmp_path, name="a", only=("0..1",)))
    other = evaluate(config(tmp_path, name="b", only=("2..3",), seed=3))
    with pytest.raises(ResultSetError, match="no slices of one run: seed 0 there, 3 here"):
        join([first.folder, other.folder], tmp_path / "joined")
    assert not (tmp_path / "joined").exists()


@pytest.fixture
def talking(tmp_path, monkeypatch):
    (tmp_path / "talking_policy.py").write_text(textwrap.dedent(POLICY))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "talking_policy", raising=False)
    return "talking_policy.Talking"


def test_what_a_policy_prints_is_kept_and_shown_when_asked_for(talking, tmp_path, capfd):
    done = evaluate(config(tmp_path, talking, backend="local", workers=1, only=("0..0",), name="x"))
    said = (done.folder / "logs" / "local-0.log").read_text()
    assert said.count("built here") == 1 and "reset to" in said
    assert "reset to" not in capfd.readouterr().err
    evaluate(config(tmp_path, talking, backend="local", workers=1, only=("1..1",), name="x", show_output=True))
    assert "[local-0] reset to" in capfd.readouterr().err


def test_inline_a_breakpoint_stops_in_this_terminal(talking, tmp_path):
    source = (tmp_path / "talking_policy.py").read_text()
    (tmp_path / "talking_policy.py").write_text(
        source.replace("        return", "        breakpoint()\n        return")
    )
    words = "benchmark=fake policy._target_=talking_policy.Talking run.backend=inline benchmark.sequences=1"
    command = [sys.executable, "-m", "vla_bench", "run", *words.split()]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        command,
        input="p observation['state'].shape\nq\n",
        capture_output=True,
        text=True,
        timeout=120,
        env={"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    assert "(Pdb) (4,)" in done.stdout, done.stdout + done.stderr


def test_inline_a_thread_that_never_ends_does_not_keep_the_command(tmp_path):
    source = textwrap.dedent(POLICY).replace(
        'print("built here")', "import threading, time; threading.Thread(target=time.sleep, args=(600,)).start()"
    )
    (tmp_path / "threads.py").write_text(source)
    words = ["benchmark=fake", "policy=threads.py:Talking", "run.backend=inline", "benchmark.sequences=1"]
    command = [sys.executable, "-m", "vla_bench", "run", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert done.returncode == 0 and "goes on; it ends here" in done.stderr and "result set:" in done.stdout
