"""The exact state that an official sequence starts from, in scene D.

The published code seeds the blocks' placement with ``pyhash.fnv1_32()(str(condition.values()))``.
pyhash 0.9.3 hashes the text as UTF-16-LE and starts from 0, so it is neither FNV-1 of the UTF-8 text
nor starts from FNV's offset basis; with those, all 1000 states come out different.
"""

from __future__ import annotations

import dataclasses
import math
from functools import lru_cache

import numpy as np

from vla_bench.envs.calvin.sequences import Condition
from vla_bench.envs.simulation import EpisodeStart

FNV_PRIME = 16777619

ROBOT_OBS = (
    *(0.02586889, -0.2313129, 0.5712808),
    *(3.09045411, -0.02908596, 1.50013585),
    0.07999963,
    *(-1.21779124, 1.03987629, 2.11978254, -2.34205014, -0.87015899, 1.64119093, 0.55344928),
    1.0,
)
"""``robot_obs`` (15,) at the start of every sequence."""

TABLE_SLOTS = (
    (5.00000896e-02, -1.20000177e-01, 4.59990009e-01),
    (2.29995412e-01, -1.19995140e-01, 4.59990010e-01),
)
SLIDER_SLOTS = {
    "slider_left": (-2.40851662e-01, 9.24044687e-02, 4.60990009e-01),
    "slider_right": (7.03416330e-02, 9.24044687e-02, 4.60990009e-01),
}
"""Block centres in scene D, metres."""
SLIDE_LEFT, DRAWER_OPEN, SWITCH_ON = 0.28, 0.22, 0.088
YAW_RANGE = (math.pi / 2 - math.pi / 8, math.pi / 2 + math.pi / 8)
"""Block yaw is drawn from this, radians."""
BLOCKS = ("red_block", "blue_block", "pink_block")


def placement_seed(condition: Condition) -> int:
    """The seed that pyhash 0.9.3 makes of a condition, 0 <= seed < 2**32."""
    seed = 0
    for byte in str(dataclasses.asdict(condition).values()).encode("utf-16-le"):
        seed = seed * FNV_PRIME & 0xFFFFFFFF ^ byte
    return seed


@lru_cache(maxsize=256)
def initial_state(condition: Condition) -> EpisodeStart:
    """The start of a sequence in scene D. Bits equal those of calvin fa03f01 with real pyhash."""
    generator = np.random.RandomState(placement_seed(condition))
    slots = list(TABLE_SLOTS)
    generator.shuffle(slots)
    scene_obs = np.zeros(24)
    scene_obs[0] = SLIDE_LEFT if condition.slider == "left" else 0.0
    scene_obs[1] = DRAWER_OPEN if condition.drawer == "open" else 0.0
    scene_obs[3] = SWITCH_ON if condition.lightbulb else 0.0
    scene_obs[4:6] = condition.lightbulb, condition.led
    for index, block in enumerate(BLOCKS):
        place = getattr(condition, block)
        if place in SLIDER_SLOTS:
            position = SLIDER_SLOTS[place]
        elif block == "blue_block":
            # Blue takes the second slot only when red has the first.
            position = slots[1] if condition.red_block == "table" else slots[0]
        else:
            position = slots[0] if block == "red_block" else slots[1]
        first = 6 + 6 * index
        scene_obs[first : first + 3] = position
        scene_obs[first + 5] = generator.uniform(*YAW_RANGE)
    return EpisodeStart("D", {"robot_obs": ROBOT_OBS, "scene_obs": tuple(scene_obs.tolist())})
