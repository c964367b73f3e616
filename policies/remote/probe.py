"""The one fixed observation that every server is shown at every start."""

from __future__ import annotations

import numpy as np

from vla_bench.envs.observation import Observation
from vla_bench.envs.simulation import EnvironmentSpec
from vla_bench.policies.remote.mapping import WireMapping

INSTRUCTION = "push the sliding door to the left side"


def probe_of(environment: EnvironmentSpec, mapping: WireMapping) -> tuple[Observation, str]:
    """A plausible state and a gradient for each camera; the same on every machine."""
    arrays = {name: np.array(values) for name, values in environment.vectors.items()}
    for camera in mapping.cameras():
        height, width = environment.cameras[camera]
        rows, columns = np.arange(height)[:, None], np.arange(width)[None]
        image = np.stack([np.broadcast_to(columns, (height, width)), np.broadcast_to(rows, (height, width))], axis=-1)
        third = (3 * rows + 5 * columns)[..., None]
        arrays[f"rgb_{camera}"] = (np.concatenate([image, third], axis=-1) % 256).astype(np.uint8)
    return Observation(arrays), INSTRUCTION
