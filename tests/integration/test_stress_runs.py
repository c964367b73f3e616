"""Runs under stress: the same for any number of workers, resumed, and read back as a table."""

import contextlib
import os
import signal
import subprocess
import time

import pytest

from vla_bench import start
from vla_bench.bench.cli.main import main
from vla_bench.bench.errors import ProtocolMismatch
from vla_bench.bench.records.comparison import compare
from vla_bench.bench.runner import evaluate
from vla_bench.bench.setup.presets import load_config

WORDS = ["benchmark=fake", "benchmark.sequences=6", "benchmark.step_limit=60", "policy=random", "run.backend=local"]
STRESS = ["stress.action_noise=0.3", "stress.lost=0.1", "stress.typos=0.5", "stress.latency_steps=2"]


def evaluated(folder, *more, workers=1):
    config = load_config([*WORDS, f"run.results={folder}", f"run.workers={workers}", *more])
    return evaluate(config)


def outcomes(of):
    return sorted((record.outcome() for record in of.records), key=lambda each: each["index"])


def test_workers_and_interruptions_change_nothing_and_the_twin_is_found(tmp_path, capsys):
    one = evaluated(tmp_path / "one", *STRESS)
    evaluated(tmp_path / "two", *STRESS, "run.only=seq-0003..seq-0005", workers=2)
    two = evaluated(tmp_path / "two", *STRESS, workers=2)
    assert outcomes(one) == outcomes(two)
    plain = evaluated(tmp_path / "one")
    zero = evaluated(tmp_path / "two", "stress=none", "stress.seed=5")
    assert outcomes(plain) == outcomes(zero)
    assert plain.header["protocol"]["hash"] == zero.header["protocol"]["hash"]
    assert outcomes(plain) != outcomes(one)
    with pytest.raises(ProtocolMismatch, match="stress"):
        compare(plain, one)
    assert main(["stress", f"a={tmp_path / 'one'}", f"b={tmp_path / 'two'}"]) == 0
    said = capsys.readouterr().out
    assert "action noise 0.3" in said
    assert {"stress.md", "stress.html", "stress.svg"} <= {path.name for path in (tmp_path / "one").iterdir()}


def test_a_run_that_was_killed_at_any_moment_goes_on_to_the_same_records(tmp_path):
    whole = evaluated(tmp_path / "whole", *STRESS, "benchmark.sequences=40")
    words = [*WORDS, *STRESS, "benchmark.sequences=40", f"run.results={tmp_path / 'killed'}", "run.workers=2"]
    unfinished = []
    for records in (1, 9):
        process = subprocess.Popen(
            start.command("vla_bench", "run", *words),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + 120
            while process.poll() is None and _judged(tmp_path / "killed") < records and time.monotonic() < deadline:
                time.sleep(0.002)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
        unfinished.append(0 < _judged(tmp_path / "killed") < 40)
    assert any(unfinished), "never killed in between"
    killed = evaluated(tmp_path / "killed", *STRESS, "benchmark.sequences=40")
    assert outcomes(killed) == outcomes(whole)


def _judged(folder):
    return sum(path.read_bytes().count(b"\n") - 1 for path in folder.glob("*/journal.jsonl"))


def test_a_policy_without_cameras_is_not_run_again_for_other_pictures(tmp_path):
    seen = ["stress.brightness=0.5", "stress.image_noise=20", "stress.lost=0.1"]
    ran = evaluated(tmp_path / "alone", *seen)
    assert "" not in {record.worker for record in ran.records}
    twin = evaluated(tmp_path / "both", "stress.lost=0.1", "run.only=seq-0000..seq-0003")
    reused = evaluated(tmp_path / "both", *seen, "run.only=seq-0000..seq-0003")
    assert {record.worker for record in reused.records} == {f"twin:{twin.folder.name}"}
    assert any(
        "shown none of what was changed, so 4 episodes are the unchanged twin's" in note
        for note in reused.summary.notes
    )
    assert not any(record.timings.physics for record in reused.records)
    whole = evaluated(tmp_path / "both", *seen)
    assert outcomes(whole) == outcomes(ran)
    assert sum(record.worker.startswith("twin:") for record in whole.records) == 4
    assert whole.header == {**ran.header, "created": whole.header["created"]}


def test_a_policy_with_cameras_or_a_changed_body_is_run(tmp_path):
    sighted = ["policy=stub", "policy.cameras=front", "benchmark.sequences=1"]
    evaluated(tmp_path, *sighted)
    dark = evaluated(tmp_path, *sighted, "stress.brightness=-0.5")
    evaluated(tmp_path, "benchmark.sequences=1")
    lost = evaluated(tmp_path, "benchmark.sequences=1", "stress.lost=0.5")
    for ran in (dark, lost):
        assert not any(record.worker.startswith("twin:") for record in ran.records)


def test_a_camera_that_the_policy_has_not_costs_nothing_when_it_is_black(tmp_path):
    sighted = ["benchmark.sequences=1", "policy=stub", "policy.cameras=front"]
    evaluated(tmp_path, *sighted)
    for level, twins in (("stress.black=wrist", 1), ("stress.frozen=wrist", 1), ("stress.black=front", 0)):
        ran = evaluated(tmp_path, *sighted, level)
        assert sum(record.worker.startswith("twin:") for record in ran.records) == twins, level


def test_the_rows_of_an_ablation_take_what_their_twin_has_made(tmp_path, capsys):
    assert main(["run", "ablation=stress_anywhere", *WORDS, "benchmark.sequences=2", f"run.results={tmp_path}"]) == 0
    (folder,) = tmp_path.glob("ablation-*")
    made = {path.parent.name.rpartition("-")[0]: path.read_text(encoding="utf-8") for path in folder.glob("*/*.jsonl")}
    assert len(made) == 19
    taken = {name for name, text in made.items() if text.count('"twin:unchanged-') == 2}
    assert taken == {"image_dark", "image_bright", "image_noise", "image_noise_strong", "cameras_blur"}
    said = capsys.readouterr().out
    assert "body: lost 0.1" in said
    assert "Cannot tell" not in said, "one table is enough"


def test_a_folder_without_stress_is_told_so(tmp_path, capsys):
    assert main(["stress", str(tmp_path)]) == 1
    assert "holds no result sets" in capsys.readouterr().err
