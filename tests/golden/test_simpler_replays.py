"""Recorded episodes of the original package, replayed through our interface: bit for bit."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from simpler_places import need_original, need_recordings, warmed_copy

REPLAY = Path(__file__).with_name("simpler_replay.py")
QUICK = ("carrot_ep07_random", "coke_horizontal_oracle")


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> tuple[str, dict[str, str], Path]:
    """Interpreter, environment variables with warmed stages, and the recordings."""
    python, recordings = need_original(), need_recordings()
    return python, warmed_copy(python, tmp_path_factory.mktemp("simpler") / "data"), recordings


def replay(original: tuple[str, dict[str, str], Path], *names: str) -> dict[str, Any]:
    python, variables, recordings = original
    command = [python, str(REPLAY), str(recordings), *names]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().rpartition("\n")[2])


def assert_equal(results: dict[str, Any]) -> None:
    for case, result in results.items():
        wrong = {what: result[what] for what in ("state", "verdict", "flags") if result[what]}
        assert not wrong, f"{case}: steps that differ of {result['steps']}: {wrong}"


def test_two_recorded_episodes_in_any_order_and_in_a_used_process(original):
    results = replay(original, "--blind", *QUICK, QUICK[0])
    assert_equal(results)
    assert results[QUICK[0]]["digest"] == results[f"{QUICK[0]}#2"]["digest"]
    turned = replay(original, "--blind", *reversed(QUICK))
    assert {case: turned[case]["digest"] for case in QUICK} == {c: results[c]["digest"] for c in QUICK}


@pytest.mark.slow
def test_every_recorded_episode_with_every_image(original):
    recordings = original[2]
    cases = sorted(path.stem for path in recordings.glob("*.npz"))
    results = replay(original, *cases)
    assert_equal(results)
    recorded = {case: json.loads((recordings / f"{case}.json").read_text())["terminated"] for case in cases}
    assert {case: result["final"] for case, result in results.items()} == {
        case: terminated[-1] for case, terminated in recorded.items()
    }
    total = sum(result["image"] for result in results.values())
    if total:  # the recordings are of one CPU and one Mesa; physics was equal above
        pytest.skip(f"states equal in all {len(cases)} episodes; {total} images differ on this CPU or driver")


def test_settled_eggplants_are_the_originals(original):
    python, variables, _ = original
    code = (
        "import numpy as np\n"
        "from envs.observation import Sensors\n"
        "from envs.simpler.grids import SETS, eggplant_layouts\n"
        "from envs.simpler.original import OFFICIAL_SEED, OriginalBackend\n"
        "from envs.simpler.trial import SimplerSimulation\n"
        "from envs.simpler.robots import WIDOWX\n"
        "from envs.simulation import EpisodeStart\n"
        "simulation = SimplerSimulation(OriginalBackend(), Sensors(), WIDOWX.actions[0])\n"
        "trials = [t for t in SETS['bridge'].trials() if t.task.sink]\n"
        "for layout in (0, 7, 23):\n"
        "    trial = trials[layout]\n"
        "    simulation.reset(EpisodeStart('photo', trial.state, trial.task.name))\n"
        "    poses = list(simulation.privileged().objects.values())[:2]\n"
        "    assert np.array_equal(np.stack(poses), eggplant_layouts()[layout]), layout\n"
        "print('equal')\n"
    )
    done = subprocess.run([python, "-c", code], env=variables, capture_output=True, text=True, check=False)
    assert done.stdout.strip().endswith("equal"), done.stderr[-2000:]


@pytest.mark.slow
def test_lean_shaders_draw_the_pictures_of_the_package(original):
    python, variables, _ = original
    code = (
        "import numpy as np\n"
        "from envs.observation import Sensors\n"
        "from envs.simpler.grids import SETS\n"
        "from envs.simpler.original import OriginalBackend\n"
        "from envs.simpler.trial import SimplerSimulation\n"
        "from envs.simulation import EpisodeStart\n"
        "trials = {t.task.name: t for name in ('bridge', 'visual_matching') for t in SETS[name].trials()}\n"
        "for name in ('widowx_spoon_on_towel', 'google_robot_pick_vertical_coke_can'):\n"
        "    trial, pictures = trials[name], []\n"
        "    robot = trial.task.robot\n"
        "    for lean in (False, True):\n"
        "        sensors = Sensors.of(robot.camera, depth=True)\n"
        "        backend = OriginalBackend(lean=lean)\n"
        "        assert bool(backend._lean) == lean\n"
        "        simulation = SimplerSimulation(backend, sensors, robot.actions[0])\n"
        "        simulation.reset(EpisodeStart(trial.variant.name, trial.state, trial.task.name))\n"
        "        simulation.begin(trial.task.subtasks[0])\n"
        "        simulation.advance(np.full((1, 7), 0.02))\n"
        "        seen = simulation.observe()\n"
        "        pictures.append([seen[f'{kind}_{robot.camera}'] for kind in ('rgb', 'depth')])\n"
        "    assert pictures[0][0].std() > 20, name\n"
        "    assert all(np.array_equal(*pair) for pair in zip(*pictures)), name\n"
        "print('equal')\n"
    )
    done = subprocess.run([python, "-c", code], env=variables, capture_output=True, text=True, check=False)
    assert done.stdout.strip().endswith("equal"), done.stderr[-2000:]
