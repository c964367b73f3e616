"""ManiSkill3 behind our interface, through the engine: layouts, judge, images, order of episodes."""

from __future__ import annotations

import numpy as np
import pytest
from simpler_places import need_modern

from vla_bench.bench.runner import evaluate
from vla_bench.bench.setup.config import Config, PolicyConfig, RunConfig, benchmark_from_plain
from vla_bench.envs.observation import Sensors
from vla_bench.envs.simpler.grids import SETS, eggplant_layouts
from vla_bench.envs.simpler.robots import WIDOWX
from vla_bench.envs.simpler.trial import SimplerSimulation
from vla_bench.envs.simulation import EpisodeStart

CARROT, EGGPLANT = "widowx_carrot_on_plate", "widowx_put_eggplant_in_basket"
TRIALS = {trial.name: trial for trial in SETS["bridge"].trials()}


@pytest.fixture(scope="module")
def simulation():
    need_modern()
    from vla_bench.envs.simpler.modern import ModernBackend

    made = SimplerSimulation(ModernBackend(), Sensors.of(WIDOWX.camera), WIDOWX.actions[0])
    yield made
    made.close()


def set_out(simulation: SimplerSimulation, task: str, number: int) -> None:
    trial = TRIALS[f"{task}-photo-{number:03d}"]
    simulation.reset(EpisodeStart("photo", trial.state, task))
    simulation.begin(task)


def test_an_episode_is_the_same_in_a_used_simulation(simulation):
    wave = np.tile([0.02, 0.01, -0.02, 0.0, 0.0, 0.1, -1.0], (5, 1))
    digests = []
    for task, number in ((CARROT, 3), (EGGPLANT, 5), (CARROT, 0), (CARROT, 3)):
        set_out(simulation, task, number)
        simulation.advance(wave)
        digests.append(simulation.privileged().digest())
    assert digests[0] == digests[3] != digests[2]


def test_eggplants_start_where_the_papers_package_has_them(simulation):
    set_out(simulation, EGGPLANT, 7)
    poses = list(simulation.privileged().objects.values())
    assert np.stack(poses)[:, :3] == pytest.approx(eggplant_layouts()[7][:, :3], abs=1e-4)


def test_the_image_shows_the_scene_before_its_own_photo(simulation):
    images = {}
    for task in (EGGPLANT, CARROT, EGGPLANT):
        set_out(simulation, task, 0)
        observation = simulation.observe()
        image = observation[f"rgb_{WIDOWX.camera}"]
        assert image.shape == (480, 640, 3) and image.dtype == np.uint8
        if task in images:
            assert np.array_equal(images[task], image)
        images[task] = image
    corner = {task: image[:40, :40].mean(axis=(0, 1)) for task, image in images.items()}
    assert np.abs(corner[CARROT] - corner[EGGPLANT]).max() > 20  # another photo behind
    # The eggplant is purple where the camera's matrices project its centre to.
    centre = next(value for name, value in simulation.privileged().centres.items() if "eggplant" in name)
    seen = observation[f"extrinsics_{WIDOWX.camera}"] @ (*centre, 1.0)
    u, v, distance = observation[f"intrinsics_{WIDOWX.camera}"] @ seen[:3]
    across, down = int(u / distance), int(v / distance)
    red, green, blue = image[down - 4 : down + 5, across - 4 : across + 5].reshape(-1, 3).mean(axis=0)
    assert 0.1 < distance < 1.5
    assert blue > green + 10 and red > green


def test_the_expert_solves_a_trial_of_each_task_through_the_engine(tmp_path):
    need_modern()
    options = {"set": "bridge", "backend": "maniskill3", "trials": 1}
    config = Config(
        benchmark_from_plain({"name": "simpler", "family": "simpler", **options}),
        PolicyConfig("expert"),
        RunConfig(backend="local", workers=1, results=str(tmp_path)),
    )
    result_set = evaluate(config)
    assert {record.episode: record.chain_length for record in result_set.records} == {
        f"{task.name}-photo-000": 1 for task in SETS["bridge"].tasks
    }
    flags = result_set.records[0].subtasks[0].flags
    assert flags["is_src_obj_grasped"] == 1.0 and flags["moved_correct_obj"] == 1.0
    assert result_set.header["protocol"]["facts"]["backend"] == "maniskill3"
