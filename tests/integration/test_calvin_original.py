"""Our environment and the original, where it is installed, side by side."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PYTHON = os.environ.get("CALVIN_ENV_PYTHON", sys.executable)
"""An interpreter that can import calvin_env, when it is not this one."""
ROOT = Path(__file__).resolve().parents[2]


def has_original() -> bool:
    probe = "import pybullet, calvin_env.envs.play_table_env, calvin_env.envs.tasks"
    return subprocess.run([PYTHON, "-c", probe], capture_output=True).returncode == 0


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.environ.get("CALVIN_ASSETS"), reason="CALVIN_ASSETS names no folder of official assets"),
    pytest.mark.skipif(
        not has_original(),
        reason="calvin_env is not installed (CALVIN_ENV_PYTHON may name an interpreter that has it)",
    ),
]

SIDE_BY_SIDE = """
import sys
import numpy as np
from vla_bench.envs.calvin.bundle import find_bundle
from vla_bench.envs.calvin.original import OriginalSimulation
from vla_bench.envs.calvin.simulation import CalvinSimulation
from vla_bench.envs.calvin.snapshot import Snapshot
from vla_bench.envs.calvin.tasks import TASKS, solved_tasks
from vla_bench.envs.observation import Sensors
from vla_bench.envs.simulation import EpisodeStart

history, scenes = sys.argv[1], sys.argv[2]
bundle, sensors = find_bundle("official"), Sensors.of("static", "gripper", depth=True)
generator = np.random.default_rng(5)


def actions(size, dtype):
    # Smooth and strong enough to push blocks about, downwards at first.
    noise = np.cumsum(generator.normal(size=(40, size)), axis=0) / 3
    values = np.clip(noise, -1, 1)
    values[:15, 2] = -1
    values[:, -1] = np.where(np.arange(40) // 13 % 2, 1, -1)
    return values.astype(dtype)


def compare(action, dtype):
    theirs = OriginalSimulation(bundle, sensors, action, "tiny", history)
    theirs.reset(EpisodeStart(scenes[0]))  # connects, and must be the first to
    ours = CalvinSimulation(bundle, sensors, action, "tiny", history)
    ours.reset(EpisodeStart(scenes[0]))
    for scene in scenes:
        for simulation in (theirs, ours):
            simulation.reset(EpisodeStart(scene))
            simulation.begin("open_drawer")
        size = 8 if action.startswith(("joint", "absolute_q")) else 7
        sequence = actions(size, dtype)
        if action.startswith("absolute"):
            pose = ours.observe()["robot_obs"][:6]
            sequence[:, :3] = pose[:3] + 0.1 * sequence[:, :3]
            sequence[:, 3:6] = pose[3:6] + 0.3 * sequence[:, 3:6]
            if action == "absolute_quaternion":
                import pybullet
                sequence[:, 3:7] = [pybullet.getQuaternionFromEuler(row) for row in sequence[:, 3:6]]
        elif action == "joint_relative":
            sequence[:, :7] *= 0.05
        elif action == "joint_absolute":
            sequence[:, :7] = ours.observe()["robot_obs"][7:14] + 0.3 * sequence[:, :7]
        blocks = tuple(block.name for block in ours.world.scene.blocks)
        start, their_start = Snapshot.take(ours.world, blocks), theirs._env.get_info()
        for t, row in enumerate(sequence):
            where = f"{action} in scene {scene}, step {t + 1}"
            outcomes = [simulation.advance(row[None]) for simulation in (ours, theirs)]
            assert outcomes[0] == outcomes[1], where
            states = [simulation.privileged() for simulation in (ours, theirs)]
            assert states[0].digest() == states[1].digest(), where
            touched = [Snapshot.take(state.information, blocks) for state in states]
            assert touched[0] == touched[1], where
            if t % 13 == 0:
                views = [simulation.observe() for simulation in (ours, theirs)]
                assert set(views[0]) == set(views[1]), where
                for name in views[0]:
                    assert views[0][name].dtype == views[1][name].dtype, (where, name)
                    assert views[0][name].tobytes() == views[1][name].tobytes(), (where, name)
                info = theirs._env.get_info()
                verdicts = theirs._oracle.get_task_info(their_start, info)
                assert solved_tasks(start, ours.world) == verdicts, where
    theirs.close()
    ours.close()


for action, dtype in (
    ("relative", np.float32), ("relative", np.float64), ("absolute", np.float64),
    ("absolute_quaternion", np.float64), ("joint_relative", np.float64), ("joint_absolute", np.float64),
):
    compare(action, dtype)
print("equal")
"""


@pytest.mark.parametrize(
    ("history", "scenes"),
    [("fresh", "DC"), ("fresh", "AB"), ("official", "DD")],
)
def test_states_contacts_pixels_and_verdicts_are_equal(history, scenes):
    """In a process of their own, since the original needs its first Bullet client."""
    done = subprocess.run(
        [PYTHON, "-c", SIDE_BY_SIDE, history, scenes],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "equal"
