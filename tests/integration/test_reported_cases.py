"""Small inputs made after public reports, run as they are: each has its right sentence, or works.

They lie in the folder that REPORTED_CASES names; without it these tests are skipped.
"""

from __future__ import annotations

import importlib
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import vla_bench
from vla_bench.bench.errors import UserError
from vla_bench.policies.errors import PolicyError

ROOT = Path(__file__).parents[2]
CASES = Path(os.environ.get("REPORTED_CASES", ""))
pytestmark = pytest.mark.skipif(
    not os.environ.get("REPORTED_CASES"), reason="REPORTED_CASES names no folder of small inputs"
)


def odd(name: str, folder: Path, **fields: object):
    fields = {"benchmark": "calvin_smoke", "sequences": 1, "step_limit": 30, "workers": 1, "backend": "local", **fields}
    return vla_bench.evaluate(f"{CASES / 'odd.py'}:{name}", results=str(folder), progress=False, **fields)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("NoneP", r"returned None from act\(\): is a `return` missing\?"),
        ("DictP", r"a dict with 'action' from act\(\); return the array itself, e\.g\. answer\['action'\]"),
        ("CalvinStyle", r"CalvinStyle has no method 'act'; it has step\(\), as CALVIN's own models"),
        ("NoArgReset", r"NoArgReset\.reset\(\) cannot be called as reset\(instruction\); it takes \(\)"),
        ("Nested", r"no 'rgb_obs'; it has .*rgb_static"),
        ("Pdb", r"stops at a breakpoint\(\), and a worker has no terminal; .* run\.backend=inline"),
    ],
)
def test_a_mistake_of_the_class_is_one_sentence(name, sentence, tmp_path):
    with pytest.raises(UserError, match=sentence) as raised:
        odd(name, tmp_path)
    assert "Traceback" not in str(raised.value)


@pytest.mark.parametrize("name", ["Threads", "Var", "Mutates", "Chdir", "Argp"])
def test_what_a_class_does_on_its_way_harms_nothing(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = odd(name, Path("results"))
    assert results.summary.complete and Path.cwd() == tmp_path
    assert [path.name for path in (tmp_path / "results").iterdir()] == [results.folder.name]
    if name == "Var":  # chunks of 20 and then of 7, of which 20 may be executed
        assert results.records[0].subtasks[0].decisions == 3


@pytest.fixture(autouse=True)
def plain_breakpoints(monkeypatch):
    """Tests that start Ray themselves leave its own in this process."""
    monkeypatch.delenv("PYTHONBREAKPOINT", raising=False)


def test_a_breakpoint_stops_in_the_terminal(tmp_path):
    words = [f"policy={CASES / 'odd.py'}:Pdb", "run.backend=inline", "benchmark.sequences=1", "benchmark.step_limit=1"]
    command = [sys.executable, str(ROOT / "run_benchmark.py"), *words, f"run.results={tmp_path}"]
    told = subprocess.run(command, input="p 'it ' + 'stopped'\n" + "c\n" * 9, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert "'it stopped'" in told.stdout and "episodes judged" in told.stdout


RETURNS = {
    r"(1,1,7) tensor": r"shape \(1, 1, 7\).*drop the batch",
    r"(1,8,7) chunk w. batch": r"shape \(1, 8, 7\).*drop the batch",
    "tuple3 (xyz, euler, [g])": r"parts of different lengths.*\(3, 3, 1\); join them",
    "tuple2 (arm, g)": r"parts of different lengths.*\(6, a number\); join them",
    "dict action": r"answer\['action'\]",
    "dict simpler": r"'world_vector', 'rot_axangle', 'gripper'.*its parts joined",
    "None": "is a `return` missing",
    "tuple (action, info)": "a tuple of ndarray, dict.*return the action alone",
    "empty chunk": "a chunk without actions",
    "8 numbers": r"shape \(1, 8\); its convention has 7",
    "object array": "object numbers",
    "jagged": r"parts of different lengths.*\(2, 1\)",
    "meta tensor": "meta tensor; no data",
    "str": "the text 'left'",
    "generator": "a generator from act",
}
"""What is refused of that file's answers, and why; all others are taken."""


def test_what_act_may_return(monkeypatch, capsys):
    pytest.importorskip("torch")
    for name in ("envs", "policies", "envs.simulation", "policies.one_slot", "policies.base"):
        monkeypatch.setitem(sys.modules, name, importlib.import_module(f"vla_bench.{name}"))
    bench = ModuleType("bench")
    bench.inference = importlib.import_module("vla_bench.bench.episode.actions")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bench", bench)
    monkeypatch.setitem(sys.modules, "bench.inference", bench.inference)
    runpy.run_path(str(CASES / "returns.py"))
    lines = capsys.readouterr().out.splitlines()
    refused = dict(line.removeprefix("FAIL ").split(" | ", 1) for line in lines if line.startswith("FAIL"))
    assert refused.keys() == RETURNS.keys() and len(lines) - len(refused) > 12
    for name, sentence in RETURNS.items():
        assert re.match(rf"PolicyError \| policy 'P' returned .*{sentence}", refused[name]), refused[name]


CHECKPOINTS = {
    "damaged.pt": "is damaged: its part .* does not have the checksum",
    "dangling.pt": r"is a link to nowhere\.pt, which is not there",
    "error_page.pt": r"is a web page \('401 Unauthorized'\).*log in",
    "pointer.pt": "Git-LFS pointer, not the file of 6.8 GB itself.*git lfs pull",
    "pointer.safetensors": "Git-LFS pointer, not the file of 6.8 GB itself.*git lfs pull",
    "bin_folder": "",
    "compiled.pt": "",
    "under_model.pt": "",
    "whole.pt": "",
    "ema_beside.pt": r"of ema_beside\.pt the weights state_dict are taken; it also holds ema_state_dict",
}


def test_odd_files_of_weights(tmp_path):
    torch = pytest.importorskip("torch")
    from vla_bench.policies.vla.checkpoints import read_checkpoint

    subprocess.run([sys.executable, str(CASES / "make_checkpoints.py"), str(tmp_path)], check=True, cwd=ROOT)
    assert {path.name for path in tmp_path.iterdir()} == CHECKPOINTS.keys()
    whole, _ = read_checkpoint(tmp_path / "whole.pt")
    for name, sentence in CHECKPOINTS.items():
        if name.startswith(("damaged", "dangling", "error", "pointer")):
            with pytest.raises(PolicyError, match=sentence):
                read_checkpoint(tmp_path / name)
            continue
        tensors, said = read_checkpoint(tmp_path / name)
        assert re.match(sentence, said) and (sentence != "" or said == ""), said
        assert tensors.keys() == whole.keys() and all(torch.equal(tensors[key], whole[key]) for key in whole)


@pytest.mark.parametrize("name", ["envs", "policies"])
def test_a_folder_of_an_everyday_name(name, tmp_path):
    command = ["bash", str(CASES / "own_envs_package.sh"), str(ROOT), name]
    told = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHON": sys.executable})
    assert f"rc 0 ({name}, ray)" in told.stdout, told.stdout + told.stderr


def test_sensors_that_are_edited_are_not_mixed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (CASES / "sensors_mix.py").read_text().replace("from envs", "from vla_bench.envs")
    fields = {"benchmark": "calvin_smoke", "sequences": 2, "step_limit": 5, "workers": 1, "backend": "local"}

    def run(sensors: str, only: str):
        Path("mix.py").write_text(re.sub(r"sensors = .*", f"sensors = {sensors}", text))
        about = {"name": "mix", "only": (only,), "extend": only != "seq-0000", "progress": False}
        return vla_bench.evaluate("mix.py:Mix", **fields, **about)

    assert len(run('Sensors((Camera("static", width=200, height=200),))', "seq-0000").records) == 1
    for sensors, named in (
        ('Sensors((Camera("static", width=64, height=64),))', "64"),
        ('("gripper",)', "gripper"),
        ('Sensors((Camera("static", width=200, height=200, depth=True),))', "depth"),
    ):
        with pytest.raises(UserError, match=named):
            run(sensors, "seq-0001")
