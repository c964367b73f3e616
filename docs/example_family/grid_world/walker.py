"""A policy for the grid world: walks to a square it is named, and away from one in a straight line."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from grid_world.world import COLOURS


class Walker:
    """A plain class: ``reset`` and ``act``."""

    def reset(self, instruction: str) -> None:
        """Reads the colour and the direction."""
        self._away = "away" in instruction
        self._colour = [name in instruction for name in COLOURS].index(True)

    def act(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """(3,): one step."""
        place, square = observation["state"][:2], observation["state"][2 + 2 * self._colour :][:2]
        step = place - square if self._away else square - place
        return np.array([*np.clip(step, -1.0, 1.0), 1.0])
