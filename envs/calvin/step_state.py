"""What a trace holds of a play table after a step, from ours and from the original alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vla_bench.envs.calvin.oracle import FIRST_BLOCK, ROBOT, TABLE
from vla_bench.envs.calvin.scenes import Scene
from vla_bench.envs.calvin.state import ROBOT_OBS, CalvinState, scene_obs_names
from vla_bench.envs.simulation import Contact, StepState

TARGET = ("x", "y", "z", "euler_x", "euler_y", "euler_z")


def step_state(state: CalvinState, bullet: Any, client: int) -> StepState:
    """State vectors, target pose, velocities of the blocks, and every pair that touches."""
    return StepState(
        {
            "robot_obs": state.robot_obs,
            "scene_obs": state.scene_obs,
            "target_pose": np.concatenate([state.target_position, state.target_euler]),
            "block_velocities": np.concatenate([state.block_velocities[block.name] for block in state.scene.blocks]),
        },
        contacts(state.scene, bullet, client),
    )


def vector_names(scene: Scene) -> Mapping[str, Sequence[str]]:
    """What the numbers of :func:`step_state` are called."""
    parts = [f"{kind}_{axis}" for kind in ("velocity", "angular_velocity") for axis in "xyz"]
    return {
        "robot_obs": ROBOT_OBS,
        "scene_obs": scene_obs_names(scene),
        "target_pose": TARGET,
        "block_velocities": [f"{block.name}_{part}" for block in scene.blocks for part in parts],
    }


def contacts(scene: Scene, bullet: Any, client: int) -> list[Contact]:
    """Every contact point, near ones (within PyBullet's margin) included."""
    names = {ROBOT: "robot", ROBOT + 1: "robot_base", TABLE: "table", TABLE + 1: "plane"}
    names |= {FIRST_BLOCK + place: block.name for place, block in enumerate(scene.blocks)}
    return [
        Contact(names[point[1]], point[3], names[point[2]], point[4], point[6], point[8], point[9])
        for point in bullet.getContactPoints(physicsClientId=client)
    ]
