"""Replays recorded SimplerEnv episodes through our interface and prints, as JSON, what differs.

Run by the interpreter that has the original package: ``python simpler_replay.py FOLDER CASE ...``. Cases
run one after the other in one process, in the order given, so that the order can be tested.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vla_bench.envs.observation import Sensors
from vla_bench.envs.simpler.grids import STATIONS, task_named
from vla_bench.envs.simpler.original import OriginalBackend
from vla_bench.envs.simpler.trial import SimplerSimulation
from vla_bench.envs.simpler.variants import ARMS
from vla_bench.envs.simulation import EpisodeStart

RENAMED = {"google_robot_move_near": "google_robot_move_near_v1"}
"""What the recordings' ``simpler_env.make`` calls by another name than the environment has."""
ROBOTS = {
    "google_robot_pick": (0.35, 0.20, 0.0),
    "google_robot_move": (0.35, 0.21, -0.09),
    "widowx_put_eggplant": (0.127, 0.06, 0.0),
    "widowx": (0.147, 0.028, 0.0),
}


def start_of(case: Mapping[str, Any], base: np.ndarray) -> EpisodeStart:
    """The recorded reset as one of ours; the cabinet's stations are known by where the robot stands."""
    task = task_named(RENAMED.get(case["task"], case["task"]))
    state: dict[str, tuple[float, ...]] = {}
    robot = next((place for prefix, place in ROBOTS.items() if task.name.startswith(prefix)), None)
    if robot is None:
        (number,) = [index for index, each in enumerate(STATIONS) if np.allclose(base[:2], (each.x, each.y), atol=1e-6)]
        robot = (STATIONS[number].x, STATIONS[number].y, STATIONS[number].yaw)
        state["station"] = (float(number),)
    state["robot"] = robot
    objects = case["reset_options"].get("obj_init_options", {})
    if "episode_id" in objects:
        state["layout"] = (float(objects["episode_id"]),)
    if "init_xy" in objects:
        state["objects"] = tuple(objects["init_xy"])
    arm = next(name for name, urdf in ARMS.items() if urdf == case["urdf_version"])
    return EpisodeStart("photo" if task.robot.name == "widowx" else arm, state, task.name)


def replay(folder: Path, name: str, simulations: dict[int, SimplerSimulation], look: bool) -> dict[str, Any]:
    """Counts the steps at which state, verdict, flags or image differ from the recording."""
    case = json.loads((folder / f"{name}.json").read_text())
    recorded = np.load(folder / f"{name}.npz")
    start = start_of(case, recorded["robot_base_pose"])
    task = task_named(start.task)
    camera = task.robot.camera
    seed = case["seed"]
    key = hash((seed, camera))
    if key not in simulations:
        sensors = Sensors.of(camera) if look else Sensors()
        simulations[key] = SimplerSimulation(OriginalBackend(seed=seed), sensors, task.robot.actions[0])
    simulation = simulations[key]
    simulation.reset(start)
    simulation.begin(task.subtasks[0])
    wrong = {"state": 0, "image": 0, "verdict": 0, "flags": 0}
    digests = []

    def compare(step: int) -> None:
        state = simulation.privileged()
        expected = {key: recorded[key][step] for key in recorded if key not in ("actions", "robot_base_pose")}
        actual = {"qpos": state.qpos, "qvel": state.qvel, "tcp": state.tcp}
        actual |= {f"obj__{model}": pose for model, pose in state.objects.items()}
        if state.cabinet is not None:
            actual["obj__art:cabinet"] = state.cabinet
        same = all(np.array_equal(actual[key], value) for key, value in expected.items())
        wrong["state"] += not (same and np.array_equal(state.base, recorded["robot_base_pose"]))
        digests.append(state.digest())
        if look:
            image = np.ascontiguousarray(simulation.observe()[f"rgb_{camera}"])
            wrong["image"] += hashlib.sha1(image.tobytes()).hexdigest() != case["image_sha1"][step]

    compare(0)
    outcome = None
    for step, action in enumerate(recorded["actions"]):
        if case["driver"][0] == "random+drawer0.2" and step == case["T"] - 2:
            cabinet = simulation.backend._environment.art_obj  # the recording moved the drawer by hand
            openings = cabinet.get_qpos()
            openings[[joint.name for joint in cabinet.get_active_joints()].index("top_drawer_joint")] = 0.2
            cabinet.set_qpos(openings)
        outcome = simulation.advance(action[None])
        compare(step + 1)
        wrong["verdict"] += outcome.success != case["terminated"][step]
        stats = case["info"][step]["episode_stats"]
        expected = {name: float(value) for name, value in stats.items()}
        if "qpos" in case["info"][step]:
            expected["qpos"] = float(case["info"][step]["qpos"])
        wrong["flags"] += dict(outcome.flags) != expected
    return {
        **wrong,
        "steps": len(recorded["actions"]),
        "final": outcome.success,
        "ever": outcome.ever,
        "digest": digests[-1],
    }


def main() -> None:
    """Prints one JSON object: what differs, by case in the order given (``CASE#2`` for a second time)."""
    folder, *names = sys.argv[1:]
    look = "--blind" not in names
    simulations: dict[int, SimplerSimulation] = {}
    results: dict[str, Any] = {}
    for name in names:
        if name.startswith("--"):
            continue
        label = name if name not in results else f"{name}#2"
        results[label] = replay(Path(folder), name, simulations, look)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
