"""`ablation=learned_…`: rows are trained, evaluated on the same sequences, and land in one table; nothing twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from calvin_sets import write_set

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from vla_bench.bench.cli.main import main as command
from vla_bench.bench.cli.run import main
from vla_bench.bench.errors import ConfigError
from vla_bench.bench.records.rows import read_rows
from vla_bench.bench.setup.presets import FOLDER
from vla_bench.bench.training import ablation_run
from vla_bench.bench.training.ablation_plan import BLIND, plan, read_preset
from vla_bench.bench.training.ablation_table import NUMBERS, REPORT, TABLE
from vla_bench.bench.training.setup import content_of

LEARNED = sorted(path.stem for path in (FOLDER / "ablation").glob("learned_*.yaml"))
SIZES = ("laptop", "seeing", "paper")
ROWS = """# A small one.
learned: true
rows:
  one frame:
    words: [policy.model.structure=one_step, policy.model.head=fc, policy.model.window=1]
    published: {table: III, setting: KosMos one-step continuous}
  two frames:
    words: [policy.model.structure=policy_head, policy.model.head=lstm, policy.model.window=2]
"""
SIZE = """
train: [policy=vla_tiny, policy.model.hidden=16, policy.model.lstm_layers=1, train.batch=4, train.steps=2,
        train.device=cpu, train.threads=1, train.held_out=0.3]
evaluate: [run.backend=inline]
seeds: [0, 1]
rates: [1.0e-3, 1.0e-4]
rate_steps: 1
evaluations:
  chains: [benchmark=calvin_smoke, benchmark.sequences=2, benchmark.step_limit=4, benchmark.renderer=fast]
"""


@pytest.mark.parametrize("name", LEARNED)
@pytest.mark.parametrize("size", SIZES)
def test_presets_can_be_planned_in_all_sizes(name: str, size: str, tmp_path: Path) -> None:
    planned = plan(name, [f"size={size}", f"train.data={tmp_path}"])
    assert planned.rows[-1].name == BLIND and planned.rows[-1].control and len(planned.rows) >= 3
    assert set(planned.evaluations) == {"chains", "varied"} and len(planned.seeds) >= 2 and len(planned.rates) == 3
    known = (FOLDER.parent / "results" / "published" / "robovlms_ablations.csv").read_text()
    for row in planned.rows:
        assert row.published is None or ",".join(row.published) in known
        assert not [word for word in row.evaluate if word.startswith("policy.model.")]


def test_a_row_may_be_of_one_size_only() -> None:
    rows = {size: [row.name for row in plan("learned_readout", [f"size={size}"]).rows] for size in SIZES}
    assert rows["laptop"] == ["action token", "all tokens", "pooling", "resampler", BLIND]
    assert rows["seeing"] == rows["laptop"]
    for row, other in zip(*(plan("learned_structure", [f"size={each}"]).rows for each in SIZES[:2]), strict=True):
        assert [word for word in row.train if "policy.model" in word] == [w for w in other.train if "policy.model" in w]
    assert rows["paper"] == [name for name in rows["laptop"] if name != "all tokens"]
    with pytest.raises(ConfigError, match="rows=all tokens: there is no such row"):
        plan("learned_readout", ["size=paper", "rows=all tokens|pooling"])


def test_words_go_where_they_belong() -> None:
    typed = [
        "train.learning_rate=1e-3",
        "rows=one step|interleaved",
        "policy.device=cuda",
        "chains:benchmark.sequences=9",
    ]
    planned = plan("learned_structure", [*typed, "one step:train.batch=7", "train.data=x", "run.workers=2", "seeds=4"])
    assert [row.name for row in planned.rows] == ["one step", "interleaved", BLIND]
    assert "train.batch=7" in planned.rows[0].train and "train.batch=7" not in planned.rows[1].train
    assert planned.rates == (1e-3,) and planned.seeds == (4,)
    assert {"policy.device=cuda", "run.workers=2"} <= set(planned.rows[1].evaluate)
    assert planned.evaluations["chains"][-1] == "benchmark.sequences=9" != planned.evaluations["varied"][-1]
    for word, said in {
        "rows=one stepp": "Did you mean",
        "size=desktop": "laptop, paper, seeing",
        "seeds=0,0": "each once",
        "nonsense=3": "belongs to no part",
        "one stepp:train.batch=1": "there is no 'one stepp'",
        "run.name=x": "run.results",
        "run.extend=true": "chains:benchmark.sequences",
        "one step:run.extend=true": "chains:benchmark.sequences",
    }.items():
        with pytest.raises(ConfigError, match=said):
            plan("learned_structure", ["train.data=x", word])
    assert read_preset("vla_structure") is None


@pytest.mark.slow
def test_rows_are_trained_once_evaluated_and_compared(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_set(tmp_path / "set", count=6)
    (tmp_path / "toy.yaml").write_text(ROWS)
    (tmp_path / "small.yaml").write_text(SIZE)
    words = [f"ablation={tmp_path / 'toy.yaml'}", f"size={tmp_path / 'small.yaml'}", f"train.data={data}"]
    words += [f"run.results={tmp_path / 'results'}"]
    taught = ["policy=vla_tiny", "policy.model.window=1", f"train.data={data}", "train.steps=1", "train.batch=4"]
    taught += [f"run.results={tmp_path}", "run.name=taught", "train.device=cpu", "train.threads=1"]
    assert command(["train", *taught]) == 0
    words += [f"train.vision_from={tmp_path / 'taught' / 'last'}"]
    begun = []

    def child(line: list[str], **more: object) -> subprocess.CompletedProcess:
        """The first training in a process of its own, as it is; the others here, where torch is there already."""
        if "train" not in line:
            return real(line, **more)
        begun.append(line)
        if len(begun) == 1:
            return real(line, **more)
        return subprocess.CompletedProcess(line, command(line[line.index("train") :]))

    real = subprocess.run
    monkeypatch.setattr("subprocess.run", child)
    assert main(words) == 0
    assert len(begun) == 3 * (2 + 2)
    said = capfd.readouterr()
    assert "row 2 of 3, two frames, seed 1: training" in said.err and BLIND in said.out
    folder = tmp_path / "results" / "ablation-toy-small"
    numbers = json.loads((folder / NUMBERS).read_text())
    assert [row["row"] for row in numbers] == ["one frame", "two frames", BLIND]
    text = (folder / TABLE).read_text()
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert len(headings) == len(set(headings)) == 2  # the rows, and the rates tried
    (first,) = (line for line in text.splitlines() if line.startswith("| one frame") and "2.19" in line)
    assert first.endswith("| 2.19 |") and "2 seeds" in text
    assert "backbone (arXiv 2412.14058 v1/v3): KosMos one-step continuous (table III, ABCD_D)." in text
    eyes = content_of(tmp_path / "taught" / "last")
    assert f"Every row begins with the vision tower of checkpoint {eyes} (train.vision_from)." in text
    page = (folder / REPORT).read_text()
    assert page.startswith("<!doctype html>") and page.count("<svg") == 1
    for row in numbers:
        assert len({Path(each).name for each in row["trainings"]}) == 2 and row["rate"] in (1e-3, 1e-4)
        assert row["tried"][f"{row['rate']:g}"] == min(row["tried"].values())
    journals = sorted((tmp_path / "results").rglob("*.jsonl"))
    # 3 rows: two rates tried, two seeds trained, two evaluated
    assert len(journals) == 3 * (2 + 2 + 2)
    before = [journal.read_bytes() for journal in journals]
    assert main(words) == 0
    assert len(begun) == 3 * (2 + 2), "trained again"
    assert [journal.read_bytes() for journal in journals] == before
    assert (folder / TABLE).read_text() == text
    # Folders have the rows' names, and the ablation's folder stands for them.
    rows = read_rows(folder)
    assert [row.name for row in rows] == [f"{row['row']}, seed {seed}" for row in numbers for seed in (0, 1)]
    assert all(row.folder.startswith(f"{row.name.split(',')[0].replace(' ', '-')}-seed-") for row in rows)
    assert {row.evaluation for row in rows} == {"chains"}
    assert command(["report", str(folder)]) == 0
    page = (folder / "comparison.html").read_text()
    assert "6 rows" in page and all(row.name in page for row in rows)


TRAINING = """
import pathlib, signal, sys, time
def save(*_):
    pathlib.Path("saved").touch()
    if sys.argv[1] == "saves":
        sys.exit(130)
signal.signal(signal.SIGTERM, save)
pathlib.Path("begun").touch()
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("child", ["saves", "is stuck"])
def test_a_stop_lets_the_training_save_and_a_second_one_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, child: str
) -> None:
    monkeypatch.chdir(tmp_path)

    def stop() -> None:
        for file in ("begun", "saved")[: 1 if child == "saves" else 2]:
            while not Path(file).exists():
                time.sleep(0.01)
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    thread = threading.Thread(target=stop)
    thread.start()
    with ablation_run._Passing() as passing:
        code = subprocess.run([sys.executable, "-c", TRAINING, child], check=False).returncode
    thread.join()
    assert Path("saved").exists() and (code, passing.asked) == ((130, 1) if child == "saves" else (-9, 2))
    assert signal.getsignal(number) is before
