"""The one fixed observation that every server is shown at every start."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vla_bench.envs.observation import Observation
from vla_bench.envs.simulation import EnvironmentSpec
from vla_bench.policies.remote.mapping import WireMapping

INSTRUCTION = "push the sliding door to the left side"

_STATES: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "calvin": {
        "robot_obs": (0.03, -0.11, 0.52, 3.1, -0.05, 1.5, 0.08, -1.2, 1.0, 2.1, -2.3, -0.8, 1.6, 0.5, 1.0),
        "scene_obs": (0.0,) * 24,
    },
    "simpler": {
        "robot_obs": (0.0, -0.2, 0.2, 0.0, 1.5, 0.0, 0.037, 0.037),
        "tcp_pose": (0.3, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0),
        "base_pose": (0.147, 0.028, 0.87, 0.0, 0.0, 0.0, 1.0),
        "gripper_closedness": (0.0,),
    },
    "fake": {"state": (0.1, 0.2, 0.3, 1.0)},
}


def probe_of(environment: EnvironmentSpec, mapping: WireMapping) -> tuple[Observation, str]:
    """A plausible state and a gradient for each camera; the same on every machine."""
    arrays = {name: np.array(values) for name, values in _STATES[environment.family].items()}
    for camera in mapping.cameras():
        height, width = environment.cameras[camera]
        rows, columns = np.arange(height)[:, None], np.arange(width)[None]
        image = np.stack([np.broadcast_to(columns, (height, width)), np.broadcast_to(rows, (height, width))], axis=-1)
        third = (3 * rows + 5 * columns)[..., None]
        arrays[f"rgb_{camera}"] = (np.concatenate([image, third], axis=-1) % 256).astype(np.uint8)
    return Observation(arrays), INSTRUCTION
