"""Physics is bit-exact with the original environment, on every recorded trajectory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from calvin_recordings import (
    CONVENTIONS,
    Recording,
    needs_assets,
    needs_golden,
    recorded_array,
    recorded_files,
    recordings,
)

from vla_bench.envs.calvin.bundle import find_bundle
from vla_bench.envs.calvin.scenes import SCENES
from vla_bench.envs.calvin.simulation import CalvinSimulation
from vla_bench.envs.calvin.world import World
from vla_bench.envs.simulation import EpisodeStart

pytestmark = [needs_golden, needs_assets]


@pytest.fixture(scope="module")
def simulation():
    made = CalvinSimulation(find_bundle("official"))
    yield made
    made.close()


def contacts_now(world: World) -> list[tuple[int, ...]]:
    """Contact rows as they were recorded: source, body touched, own link, its link."""
    rows = []
    for index, body in enumerate((world.robot.body, *world.blocks, world.table.body)):
        for point in world._bullet.getContactPoints(bodyA=body, physicsClientId=world._client):
            rows.append((index, *point[2:5]))
    return rows


def play(world: World, recording: Recording) -> None:
    """Executes the recording and compares every state, contact and light with what was recorded."""
    world.robot.use_convention(CONVENTIONS[recording.format])
    contacts = recording["contact_idx"]
    for t, action in enumerate([None, *recording.actions()]):
        if action is not None:
            world.step(action)
        where = f"{recording.scene}/{recording.name} ({recording.format}) at step {t}"
        assert world.robot.observation().tobytes() == recording["robot_obs"][t].tobytes(), where
        assert world.scene_obs().tobytes() == recording["scene_obs"][t].tobytes(), where
        recorded = [tuple(row[1:].tolist()) for row in contacts[contacts[:, 0] == t]]
        assert contacts_now(world) == recorded, where
        assert [world.light("lightbulb"), world.light("led")] == recording["lights"][t].tolist(), where


@pytest.mark.parametrize("file", recorded_files("traj"))
def test_fresh_episodes_equal_those_of_a_new_process(simulation, file):
    """One simulation plays them all, so each follows dozens of other episodes."""
    count = 0
    for recording in recordings(file):
        simulation.reset(EpisodeStart(recording.scene, recording.start()))
        play(simulation.world, recording)
        count += 1
    assert count > 0


@pytest.mark.parametrize("file", recorded_files("history"))
def test_official_history_equals_one_long_lived_environment(file):
    simulation = CalvinSimulation(find_bundle("official"), history="official")
    count = 0
    for recording in recordings(file):
        simulation.reset(EpisodeStart(recording.scene, recording.start()))
        play(simulation.world, recording)
        count += 1
    simulation.close()
    assert count > 1


def test_load_poses_equal_the_recorded_ones(simulation):
    """Where the blocks are dropped at load time; the physics' last bits depend on it."""
    world = simulation.world
    for file in recorded_files("traj"):
        world.load(SCENES[file[-1]])
        ours = [[*world.position(body), *world.quaternion(body)] for body in world.blocks]
        assert np.array(ours).tobytes() == recorded_array(file, "_load_poses").tobytes()


def test_a_new_process_gives_the_same_bits(simulation):
    """The last recording of a file, in an interpreter that has done nothing else."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_calvin_physics import *\n"
        "recording = list(recordings(recorded_files('traj')[-1]))[-1]\n"
        "simulation = CalvinSimulation(find_bundle('official'))\n"
        "simulation.reset(EpisodeStart(recording.scene, recording.start()))\n"
        "play(simulation.world, recording)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent)], check=True)
