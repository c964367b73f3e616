"""Where to take hold of an object, and how to turn the gripper for it."""

from __future__ import annotations

import numpy as np

from vla_bench.envs.simpler.rotations import rotation_matrix
from vla_bench.envs.simpler.state import SimplerState

SQUARE = 1.15
"""Sides whose lengths differ by less than this factor may be gripped either way."""


def closing_direction(state: SimplerState, current: np.ndarray) -> np.ndarray:
    """Horizontal unit vector (3,) along which the fingers should close on the source.

    Across the object's narrow side; of two equally good ways the one nearer to ``current`` (3,), the
    direction in which they would close now, so that the wrist turns least.
    """
    axes = rotation_matrix(state.objects[state.source][3:])
    sizes = state.extents[state.source]
    upright = int(np.argmax(np.abs(axes[2])))
    first, second = (index for index in range(3) if index != upright)
    ratio = sizes[first] / sizes[second]
    if 1 / SQUARE < ratio < SQUARE:
        chosen = max((first, second), key=lambda index: abs(axes[:, index] @ current))
    else:
        chosen = first if ratio < 1 else second
    direction = axes[:, chosen] * (1, 1, 0)
    direction /= np.linalg.norm(direction)
    return direction if direction @ current >= 0 else -direction


def height_of(state: SimplerState, model: str) -> float:
    """Vertical size of an object as it lies, metres."""
    axes = rotation_matrix(state.objects[model][3:])
    return float(np.abs(axes[2]) @ state.extents[model])
