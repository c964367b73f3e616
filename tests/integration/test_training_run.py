"""`vla-bench train` as a user meets it: killed, interrupted, in two processes, evaluated on the way."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from calvin_sets import write_set

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from safetensors import torch as safetensors  # noqa: E402

from vla_bench.envs.calvin.dataset import RecordedAnnotation  # noqa: E402
from vla_bench.start import command  # noqa: E402

KILLS = int(os.environ.get("TRAINING_KILLS", "2"))
STEPS = 24


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("set"), count=6)


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set whose instructions name blocks."""
    named = (
        RecordedAnnotation(0, 6, "lift_red_block_table", "grasp and lift the red block"),
        RecordedAnnotation(6, 12, "push_blue_block_left", "slide the blue block to the left"),
    )
    return write_set(tmp_path_factory.mktemp("blocks"), count=6, annotations=named)


def words(data: Path, results: Path, name: str, *more: str) -> list[str]:
    fixed = ["policy=vla_tiny", f"train.data={data}", "train.batch=4", "train.device=cpu", "train.threads=1"]
    return ["train", *fixed, f"run.results={results}", f"run.name={name}", *more]


def launch(given: list[str], **more) -> subprocess.Popen:
    return subprocess.Popen(
        command("vla_bench.bench.old_name", *given),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def finish(given: list[str]) -> None:
    process = launch(given)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said


def finish_together(given: list[str]) -> None:
    """In two processes."""
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29621"]
    started = [*start, "--no-python", *command("vla_bench.bench.old_name", *given)]
    done = subprocess.run(started, timeout=300, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def lines(folder: Path) -> dict[tuple[str, int], dict]:
    found = {}
    for line in (folder / "training.jsonl").read_text().splitlines():
        entry = json.loads(line)["entry"] if line.endswith("}") else {}
        if "kind" in entry:
            found[entry["kind"], entry["step"]] = entry
    return found


def weights(folder: Path) -> bytes:
    return (folder / "last" / "model.safetensors").read_bytes()


def steps_in(folder: Path) -> int:
    try:
        return (folder / "training.jsonl").read_bytes().count(b'"kind":"step"')
    except OSError:
        return 0


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_the_same_weights(data: Path, tmp_path: Path) -> None:
    """Dropout, shifts, colours, validation and warm-up included."""
    more = [f"train.steps={STEPS}", "train.colour=0.2", "train.save_every=3", "train.validate_every=5"]
    finish(words(data, tmp_path, "whole", *more))
    torn = words(data, tmp_path, "torn", *more)
    chance = random.Random(0)
    for kill in range(KILLS):
        before = steps_in(tmp_path / "torn")
        process = launch(torn)
        until = before + chance.randrange(1, 1 + 2 * STEPS // max(KILLS, 1))
        while process.poll() is None and steps_in(tmp_path / "torn") < until:
            time.sleep(0.02)
        time.sleep(chance.random() * 0.3)
        process.kill()
        process.communicate()
        assert steps_in(tmp_path / "torn") > before or kill, "nothing was killed"
    finish(torn)
    assert weights(tmp_path / "torn") == weights(tmp_path / "whole")
    one, other = lines(tmp_path / "whole"), lines(tmp_path / "torn")
    for number in range(1, STEPS + 1):
        assert one["step", number]["losses"] == other["step", number]["losses"]


@pytest.mark.slow
def test_ctrl_c_saves_and_the_same_command_goes_on(data: Path, tmp_path: Path) -> None:
    given = words(data, tmp_path, "run", f"train.steps={STEPS}")
    process = launch(given)
    while process.poll() is None and steps_in(tmp_path / "run") < 3:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130 and "the same command goes on from here" in said
    assert (tmp_path / "run" / "last" / "vla.json").is_file()
    finish(given)
    assert lines(tmp_path / "run")["step", STEPS]


TAUGHT = (
    "policy=vla_small",
    "train.scene_loss=0.3",
    "train.scene_frames=6",
    "train.waypoint_loss=0.3",
    "train.subject_loss=0.3",
    "train.stride=2",
)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_its_processes_saves_too(data: Path, tmp_path: Path, number: int) -> None:
    """As a terminal or a scheduler sends it: readers get it as well, and are still needed for the step that runs."""
    given = words(data, tmp_path, "run", f"train.steps={50 * STEPS}", "train.workers=2")
    process = launch(given, start_new_session=True)
    while process.poll() is None and steps_in(tmp_path / "run") < 3:
        time.sleep(0.02)
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130 and "the same command goes on from here" in said, said
    saved = torch.load(tmp_path / "run" / "state.pt", weights_only=True)["progress"]["step"]
    assert saved == steps_in(tmp_path / "run") >= 3, "a step that was taken is not in what was saved"


@pytest.mark.slow
@pytest.mark.parametrize(
    "preset",
    [(), TAUGHT, (*TAUGHT, "train.sharded=true", "train.accumulate=2", "train.lora_r=2")],
    ids=["tiny", "taught", "sharded"],
)
def test_two_processes_learn_what_one_does(blocks: Path, tmp_path: Path, preset: tuple[str, ...]) -> None:
    """The second's losses are means of things of which the processes hold unequally many."""
    more = ["train.steps=4", "train.dropout=0", "train.precision=fp32", "train.held_out=0.3", *preset]
    finish(words(blocks, tmp_path, "one", *more))
    finish_together(words(blocks, tmp_path, "two", *more))
    one, two = lines(tmp_path / "one"), lines(tmp_path / "two")
    for key in one:
        if "losses" in one[key]:
            assert two[key]["losses"] == pytest.approx(one[key]["losses"], abs=1e-6, rel=1e-6)
    for name in ("last", "best"):
        tensors = [safetensors.load_file(tmp_path / run / name / "model.safetensors") for run in ("one", "two")]
        assert tensors[0].keys() == tensors[1].keys()
        gaps = torch.cat([(tensors[1][key] - value).abs().flatten().float() for key, value in tensors[0].items()])
        # AdamW makes whole steps (1e-4) of gradients that are nearly nothing: a few of these may differ by more.
        assert (gaps > 2e-5).float().mean() < 1e-4 and gaps.max() < 1e-4
    if "train.scene_loss=0.3" in preset:
        assert {"scene", "pointing_static", "pointing_gripper", "waypoint", "subject"} <= set(one["step", 1]["losses"])


@pytest.mark.slow
def test_a_run_of_one_process_goes_on_sharded(data: Path, tmp_path: Path) -> None:
    """And the state that two leave is one's: weights and moments under the same numbers."""
    more = [f"train.steps={STEPS}", "train.dropout=0"]
    finish(words(data, tmp_path, "whole", *more))
    process = launch(words(data, tmp_path, "torn", *more))
    while process.poll() is None and steps_in(tmp_path / "torn") < 3:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 130
    finish_together(words(data, tmp_path, "torn", *more, "train.sharded=true"))
    one, other = (torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("whole", "torn"))
    torch.testing.assert_close(other["model"], one["model"], rtol=0, atol=5e-5)
    torch.testing.assert_close(other["optimiser"]["state"], one["optimiser"]["state"], rtol=0.05, atol=1e-5)
    numbers = [[group["params"] for group in each["optimiser"]["param_groups"]] for each in (one, other)]
    assert numbers[0] == numbers[1]


@pytest.mark.slow
def test_success_in_the_simulator_chooses_the_best(data: Path, tmp_path: Path) -> None:
    more = ["train.steps=2", "train.evaluate_every=1", "benchmark=calvin_smoke", "benchmark.sequences=1"]
    more += ["benchmark.step_limit=4", "run.backend=local", "run.workers=1"]
    finish(words(data, tmp_path, "run", *more))
    found = lines(tmp_path / "run")
    assert [found["evaluation", step]["numbers"]["episodes"] for step in (1, 2)] == [1.0, 1.0]
    assert (tmp_path / "run" / "best" / "training.json").is_file()
    assert (tmp_path / "run" / "evaluations" / "step-0000001" / "journal.jsonl").is_file()
