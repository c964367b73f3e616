"""Records what the play table of the built-in bundle does: ``python -m tools.make_samples``.

Writes ``tests/unit/samples/calvin.npz``, by which the unit tests notice a change of the physics, the arm, the oracle or
the cameras on a machine without the recordings of the original environment. Record anew only when such a change
is meant, and say so in the changelog.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vla_bench.envs.calvin.bundle import find_bundle
from vla_bench.envs.calvin.simulation import CalvinSimulation
from vla_bench.envs.calvin.task_suite import suite_states
from vla_bench.envs.observation import Camera, Observation, Sensors
from vla_bench.envs.simulation import environment_spec
from vla_bench.policies.base import SubtaskContext
from vla_bench.policies.expert import ExpertPolicy

FILE = Path(__file__).parents[1] / "tests/unit/samples/calvin.npz"
SOLVED = (("D", "lift_pink_block_slider"), ("A", "open_drawer"), ("B", "rotate_red_block_right"), ("C", "turn_on_led"))
"""Scene and task of what the scripted expert is recorded with."""
CONVENTIONS = ("relative", "accumulated", "absolute", "absolute_quaternion", "absolute_axis_angle", "joint_relative")
STEPS = 12
"""Of the recordings in each convention."""
SIDE = 40
"""Of the recorded images, pixels."""
CAMERAS = Sensors(tuple(Camera(name, depth=True, width=SIDE, height=SIDE) for name in ("static", "gripper")))


def commands(convention: str, start: np.ndarray) -> np.ndarray:
    """Actions (STEPS, A) from ``robot_obs`` (15,): a curve with a turn; the gripper closes and opens again."""
    t = np.arange(1, STEPS + 1)[:, None] / STEPS
    gripper = np.where(t < 0.7, -1.0, 1.0)
    curve = np.array([0.05, -0.03, -0.04]) * t
    turn = np.array([0.08, -0.05, 0.2]) * t
    match convention:
        case "relative":
            arm = np.diff(np.hstack([curve, turn]), axis=0, prepend=0) / ([0.02] * 3 + [0.05] * 3)
        case "accumulated":
            arm = np.diff(np.hstack([curve, turn]), axis=0, prepend=0)
        case "absolute":
            arm = start[:6] + np.hstack([curve, turn])
        case "absolute_quaternion" | "absolute_axis_angle":
            from scipy.spatial.transform import Rotation

            pose = Rotation.from_euler("xyz", start[3:6] + turn)
            arm = np.hstack(
                [start[:3] + curve, pose.as_quat() if convention == "absolute_quaternion" else pose.as_rotvec()]
            )
        case _:
            arm = np.tile([0.02, -0.01, 0.015, 0.01, -0.02, 0.01, 0.03], (STEPS, 1))
    return np.hstack([arm, gripper])


def main() -> None:
    """Records and writes."""
    arrays: dict[str, Any] = {}
    bundle = find_bundle("builtin")
    simulation = CalvinSimulation(bundle, CAMERAS, renderer="tiny")
    for scene, task in SOLVED:
        simulation.reset(suite_states(scene, task)[0])
        simulation.begin(task)
        expert = ExpertPolicy(environment_spec("calvin"))
        expert.reset(0, "", SubtaskContext("sample", 0, 0))
        played, solved = [], False
        while not solved:
            expert.see(0, simulation.privileged())
            (chunk,) = expert.act([0], [Observation({})])
            played.append(chunk[0])
            solved = simulation.advance(chunk).success
        seen = simulation.observe()
        arrays[f"{scene}/{task}/actions"] = np.array(played)
        for name, array in seen.items():
            arrays[f"{scene}/{task}/{name}"] = array if array.dtype != np.float32 else array.astype(np.float16)
        print(f"{scene} {task}: {len(played)} steps")
    for convention in CONVENTIONS:
        arm = CalvinSimulation(bundle, action=convention)
        arm.reset(suite_states("D", "open_drawer")[0])
        arm.begin("open_drawer")
        actions = commands(convention, arm.observe()["robot_obs"])
        states = []
        for action in actions:
            arm.advance(action[None])
            states.append(arm.observe()["robot_obs"])
        arrays[f"{convention}/actions"], arrays[f"{convention}/robot_obs"] = actions, np.array(states)
        arm.close()
    FILE.parent.mkdir(exist_ok=True)
    np.savez_compressed(FILE, **arrays)
    print(f"{FILE.name}: {FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
