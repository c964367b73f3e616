"""The toy environment repeats itself, and misbehaves when and only when it is told to."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vla_bench.envs.calvin.memory import give_back_free_memory
from vla_bench.envs.fake import ABSOLUTE, GOALS, INSTRUCTIONS, RELATIVE
from vla_bench.envs.observation import Camera, Sensors
from vla_bench.envs.simulation import (
    EpisodeStart,
    Simulation,
    SimulationSpec,
    environment_spec,
    make_simulation,
)

START = EpisodeStart("box", {"episode": (3.0,), "point": (0.1, 0.2, 0.3)})


def make(*cues: dict[str, Any], sensors: Sensors = Sensors(), action: str = "", **options: Any) -> Simulation:  # noqa: B008
    return make_simulation(SimulationSpec("fake", {"cues": list(cues), **options}, sensors, action))


def actions(*rows: tuple[float, ...], dtype: str = "float64") -> np.ndarray:
    return np.array(rows, dtype=dtype)


def digest_after(simulation: Simulation, *, dtype: str = "float64") -> str:
    simulation.reset(START)
    simulation.begin("reach_blue")
    walk = np.random.default_rng(0).uniform(-1, 1, (50, 4)).astype(dtype)
    simulation.advance(walk)
    return simulation.privileged().digest()


def test_repeats_itself_bit_for_bit_and_a_reset_forgets():
    used = make()
    digests = [digest_after(used), digest_after(used), digest_after(make())]
    assert len(set(digests)) == 1
    assert digest_after(used, dtype="float32") != digests[0], "the dtype of actions matters, as in CALVIN"


def test_every_subtask_can_be_solved():
    for subtask in INSTRUCTIONS:
        simulation = make()
        simulation.reset(START)
        simulation.begin(subtask)
        for _ in range(200):
            state = simulation.privileged()
            goal = GOALS.get(subtask, (0.0, 0.0, 0.9 if subtask == "raise" else -0.9))
            arm = np.clip((np.array(goal) - state.point) * 5, -1, 1)
            outcome = simulation.advance(actions((*arm, -1.0 if subtask == "close_gripper" else 1.0)))
            if outcome.success:
                break
        assert outcome.success and outcome.stopped and outcome.ever, subtask


def test_stops_a_chunk_at_success():
    simulation = make({"do": "succeed", "step": 2})
    simulation.reset(START)
    simulation.begin("reach_red")
    outcome = simulation.advance(np.zeros((10, 4)))
    assert (outcome.steps, outcome.success, outcome.stopped) == (3, True, True)


def test_begin_measures_height_from_where_the_point_is():
    simulation = make()
    simulation.reset(START)
    simulation.begin("raise")
    assert simulation.advance(np.tile([0, 0, 1.0, 1], (20, 1))).success
    simulation.begin("raise")
    assert not simulation.advance(np.zeros((1, 4))).success


def test_absolute_actions_move_to_a_place_step_by_step():
    simulation = make(action="absolute")
    simulation.reset(START)
    simulation.begin("reach_red")
    simulation.advance(actions((0.6, 0.2, 0.1, 1.0)))
    assert simulation.privileged().point == pytest.approx((0.15, 0.2, 0.25))


def test_renders_only_the_cameras_asked_for():
    sensors = Sensors((Camera("front", depth=True), Camera("wrist", width=20, height=10)))
    simulation = make(sensors=sensors)
    simulation.reset(START)
    seen = simulation.observe()
    assert {name: (array.shape, str(array.dtype)) for name, array in seen.items()} == {
        "state": ((4,), "float64"),
        "rgb_front": ((32, 32, 3), "uint8"),
        "depth_front": ((32, 32), "float32"),
        "rgb_wrist": ((10, 20, 3), "uint8"),
    }
    assert np.ptp(seen["rgb_front"]) > 0
    with pytest.raises(KeyError, match="no 'rgb_front'"):
        make().observe()["rgb_front"]


def test_names_what_it_does_not_know():
    with pytest.raises(ValueError, match=r"no option 'cue'.*Did you mean 'cues'"):
        environment_spec("fake", {"cue": []})
    with pytest.raises(ValueError, match="a cue has no field 'at'"):
        environment_spec("fake", {"cues": [{"do": "abort", "at": 3}]})
    with pytest.raises(ValueError, match="'times' needs the option 'counter'"):
        environment_spec("fake", {"cues": [{"do": "abort", "times": 1}]})
    with pytest.raises(ValueError, match="no camera 'top'"):
        make(sensors=Sensors.of("top"))
    with pytest.raises(ValueError, match="no action convention 'joint'"):
        make(action="joint")
    with pytest.raises(ValueError, match="unknown subtask 'fly'"):
        make().begin("fly")
    assert environment_spec("fake").actions == (RELATIVE, ABSOLUTE)


def test_cues_keep_to_their_episode_subtask_and_step():
    simulation = make({"do": "raise", "episode": 3, "subtask": "lower", "step": 4})
    for episode, subtask in ((2, "lower"), (3, "raise")):
        simulation.reset(EpisodeStart("box", {"episode": (float(episode),)}))
        simulation.begin(subtask)
        simulation.advance(np.zeros((10, 4)))
    simulation.reset(START)
    simulation.begin("lower")
    simulation.advance(np.zeros((4, 4)))
    with pytest.raises(RuntimeError, match="on cue"):
        simulation.advance(np.zeros((1, 4)))


def test_a_counted_cue_fires_so_often_in_all_processes_together(tmp_path: Path):
    cue = {"do": "raise", "when": "reset", "times": 2}
    for _ in range(2):
        with pytest.raises(RuntimeError, match="on cue"):
            make(cue, counter=str(tmp_path)).reset(START)
    make(cue, counter=str(tmp_path)).reset(START)
    assert len(list(tmp_path.iterdir())) == 2


def test_slow_takes_its_time_and_leak_keeps_its_memory():
    simulation = make({"do": "slow", "when": "observe", "step": None, "amount": 0.05})
    simulation.reset(START)
    began = time.perf_counter()
    simulation.observe()
    assert time.perf_counter() - began >= 0.05

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    leaky = make({"do": "leak", "when": "reset", "amount": 40})
    give_back_free_memory()  # else what other tests have freed is taken first
    before = resident()
    leaky.reset(START)
    assert resident() - before > 30e6


@pytest.mark.parametrize(("do", "code"), [("abort", -6), ("segfault", -11), ("exit", 3)])
def test_native_ends_end_the_process(do: str, code: int):
    program = (
        "from vla_bench.envs.simulation import *; make_simulation(SimulationSpec('fake', "
        f"{{'cues': [{{'do': '{do}', 'when': 'build'}}]}}))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == code


def test_hang_keeps_the_interpreter_lock():
    program = (
        "import threading, time; from vla_bench.envs.simulation import *\n"
        "threading.Thread(target=lambda: (time.sleep(0.3), print('ran')), daemon=True).start()\n"
        "make_simulation(SimulationSpec('fake', {'cues': [{'do': 'hang', 'when': 'build'}]}))"
    )
    process = subprocess.Popen([sys.executable, "-uc", program], stdout=subprocess.PIPE)
    with pytest.raises(subprocess.TimeoutExpired):
        process.communicate(timeout=1.2)
    process.kill()
    assert process.communicate()[0] == b"", "a thread ran during the hang"
