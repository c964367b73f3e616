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


def run_original(original: tuple[str, dict[str, str], Path], code: str) -> None:
    """Runs code by the interpreter of the original package; it says ``equal`` in the end."""
    python, variables, _ = original
    done = subprocess.run([python, "-c", code], env=variables, capture_output=True, text=True, check=False)
    assert done.stdout.strip().endswith("equal"), done.stderr[-2000:]


SETTLED = """
import numpy as np
from vla_bench.envs.observation import Sensors
from vla_bench.envs.simpler.grids import SETS, eggplant_layouts
from vla_bench.envs.simpler.original import OFFICIAL_SEED, OriginalBackend
from vla_bench.envs.simpler.trial import SimplerSimulation
from vla_bench.envs.simpler.robots import WIDOWX
from vla_bench.envs.simulation import EpisodeStart
simulation = SimplerSimulation(OriginalBackend(), Sensors(), WIDOWX.actions[0])
trials = [t for t in SETS["bridge"].trials() if t.task.sink]
for layout in (0, 7, 23):
    trial = trials[layout]
    simulation.reset(EpisodeStart("photo", trial.state, trial.task.name))
    poses = list(simulation.privileged().objects.values())[:2]
    assert np.array_equal(np.stack(poses), eggplant_layouts()[layout]), layout
print("equal")
"""


def test_settled_eggplants_are_the_originals(original):
    run_original(original, SETTLED)


DRAWN_TWICE = """
import numpy as np
from vla_bench.envs.simpler.grids import SETS
from vla_bench.envs.simpler.original import OriginalBackend
from vla_bench.envs.simulation import EpisodeStart
trials = {t.task.name: t for name in ("bridge", "visual_matching") for t in SETS[name].trials()}
for name in ("widowx_spoon_on_towel", "google_robot_pick_vertical_coke_can"):
    trial, pictures = trials[name], []
    for lean in (False, True):
        backend = OriginalBackend(lean=lean)
        assert bool(backend._lean) == lean
        backend.set_out(trial.task, trial.variant, EpisodeStart(trial.variant.name, trial.state, name))
        environment = backend._environment
        for actor in environment.get_actors():
            if actor.name == "arena":
                actor.hide_visual()  # so that the sky is seen, which the photo covers
        environment.update_render()
        camera = environment._cameras[trial.task.robot.camera].camera
        camera.take_picture()
        drawn = [camera.get_float_texture("Color"), camera.get_float_texture("Position")]
        pictures.append([*drawn, camera.get_uint32_texture("Segmentation")])
    sky = pictures[0][2][..., 1] == 0
    assert 0.5 < sky.mean() < 0.99 and pictures[0][0].std() > 0.05, name
    assert all(np.array_equal(*pair) for pair in zip(*pictures)), name
print("equal")
"""


@pytest.mark.slow
def test_lean_shaders_draw_the_pictures_of_the_package(original):
    run_original(original, DRAWN_TWICE)
