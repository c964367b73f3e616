"""Demonstrations in the simulator: the same for any number of workers, after a kill, and from a result set."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from vla_bench.bench.families.calvin_demonstrations.feasible import feasible_tasks
from vla_bench.bench.families.calvin_demonstrations.options import RecordingConfig
from vla_bench.bench.families.calvin_demonstrations.record import record
from vla_bench.bench.families.calvin_demonstrations.starts import recorded_start
from vla_bench.bench.runner import evaluate
from vla_bench.bench.setup.config import Config, PolicyConfig, RunConfig, benchmark_from_plain
from vla_bench.envs.calvin.bundle import find_bundle
from vla_bench.envs.calvin.dataset.pickles import load_object
from vla_bench.envs.calvin.initial_states import ROBOT_OBS
from vla_bench.envs.calvin.simulation import CalvinSimulation
from vla_bench.envs.calvin.task_suite import HELD_TASKS
from vla_bench.envs.calvin.tasks import TASKS

ROOT = Path(__file__).parents[2]
WORDS = [
    "policy=expert",
    "policy.tolerance=0.003",
    "tasks=open_drawer,place_in_drawer",
    "scenes=A,D",
    "count=2",
    "chain=2",
    "static=32",
    "gripper=16",
    "bursts=0.7",
    "burst_rate=0.03",
    "looks=2",
    "validation=0.5",
    "run.backend=local",
]


def started(output: Path, workers: int) -> subprocess.Popen:
    words = [*WORDS, f"output={output}", f"run.workers={workers}"]
    line = [sys.executable, "-m", "bench", "data", "record", *words]
    return subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT, start_new_session=True
    )


def content(folder: Path) -> dict[str, bytes]:
    files = [path for split in ("training", "validation") for path in (folder / split).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("recorded") / "set"
    process = started(folder, 1)
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 0, text
    assert "16 demonstrations of 8 episodes" in text
    return folder


def test_two_workers_and_a_kill_leave_the_same_files(recorded, tmp_path):
    process = started(tmp_path / "set", 2)
    journal = tmp_path / "set/recording/journal.jsonl"
    deadline = time.monotonic() + 300
    while not journal.is_file() or journal.read_bytes().count(b"\n") < 4:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    again = started(tmp_path / "set", 2)
    text, _ = again.communicate(timeout=300)
    assert again.returncode == 0, text
    assert "judged already" in text
    assert content(tmp_path / "set") == content(recorded)
    assert not list((tmp_path / "set/recording/episodes").iterdir())


def frames(folder: Path) -> list[dict[str, np.ndarray]]:
    return [dict(np.load(path)) for path in sorted(folder.glob("episode_*.npz"))]


@pytest.mark.parametrize("split", ["training", "validation"])
def test_every_action_is_the_next_state(recorded, split):
    folder = recorded / split
    all_frames = frames(folder)
    ends = np.load(folder / "ep_start_end_ids.npy")
    assert ends[-1, 1] + 1 == len(all_frames)
    for first, last in ends:
        for here, after in zip(all_frames[first:last], all_frames[first + 1 : last + 1], strict=True):
            np.testing.assert_array_equal(here["actions"][:6], after["robot_obs"][:6])
            assert here["actions"][6] == after["robot_obs"][14]
    assert {frame["rgb_static"].shape for frame in all_frames} == {(32, 32, 3)}
    assert len({frame["rgb_static"].tobytes() for frame in all_frames}) > len(all_frames) / 2


def test_annotations_say_what_was_done(recorded):
    notes = load_object(recorded / "training/lang_annotations/auto_lang_ann.npy")
    tasks, ranges = notes["language"]["task"], notes["info"]["indx"]
    assert {"open_drawer", "place_in_drawer"} <= set(tasks) <= set(TASKS)
    ends = np.load(recorded / "training/ep_start_end_ids.npy")
    for first, last in ranges:
        assert any(start <= first < last <= end for start, end in ends)
    said = json.loads((recorded / "training/dataset.json").read_text())
    assert said["label"] == "achieved" and said["provenance"]["policy"] == "expert"


def test_the_same_command_with_other_words_is_refused(recorded):
    words = [*WORDS[:-1], "seed=1", "run.backend=local", f"output={recorded}"]
    line = [sys.executable, "-m", "bench", "data", "record", *words]
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1 and "seed 0 there, 1 now" in done.stderr


def test_a_result_set_is_replayed_into_the_same_states(tmp_path):
    config = Config(
        benchmark_from_plain(
            {"kind": "tasks", "assets": "builtin", "tasks": ("turn_on_led", "open_drawer"), "rollouts": 1}
        ),
        PolicyConfig("expert"),
        RunConfig(backend="local", workers=1, video="all", results=str(tmp_path), name="run"),
    )
    result_set = evaluate(config)
    recording = RecordingConfig(output=str(tmp_path / "set"), result_set=str(tmp_path / "run"), static=32, gripper=0)
    recorded = record(recording, PolicyConfig(), RunConfig(backend="local", workers=1))
    steps = sum(subtask.steps for each in result_set.records for subtask in each.subtasks)
    assert recorded.complete and recorded.demonstrations == 2 and recorded.frames == steps + 2
    assert "rgb_gripper" not in frames(tmp_path / "set/training")[0]


def test_starts_are_varied_and_the_same_for_the_same_seed():
    simulation = CalvinSimulation(find_bundle("builtin"))
    for task in ("turn_off_led", "push_blue_block_right", "unstack_block", *HELD_TASKS[:1]):
        starts = [recorded_start(simulation, "C", task, seed) for seed in range(4)]
        arms = np.array([start.state["robot_obs"][:3] for start in starts])
        assert (np.ptp(arms, axis=0) > 0.01).all()
        assert np.linalg.norm(arms - ROBOT_OBS[:3], axis=1).min() > 0.01
        assert recorded_start(simulation, "C", task, 2) == starts[2]
        if task not in HELD_TASKS:
            simulation.reset(starts[3])
            assert task in feasible_tasks(simulation.privileged())
