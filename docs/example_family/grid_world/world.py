"""The environment itself: plain Gymnasium, which knows nothing of vla-bench."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

SIZE = 8
"""Cells along each side."""
COLOURS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (50, 80, 220)}
CELL = 8
"""Pixels of a cell."""


class GridWorld(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """A walker on a plane with three coloured squares. Places are in cells; an action (2,) moves by up to one."""

    def __init__(self) -> None:
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float64)
        self.observation_space = gymnasium.spaces.Dict({"place": gymnasium.spaces.Box(0.0, SIZE, (2,), np.float64)})
        self.place = np.zeros(2)
        self.squares: dict[str, np.ndarray] = {name: np.zeros(2) for name in COLOURS}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Places everything at random, or where ``options`` says: ``place`` and each colour, (2,) in cells."""
        super().reset(seed=seed)
        given = options or {}
        self.place = np.array(given.get("place", self.np_random.uniform(0, SIZE, 2)), dtype=np.float64)
        self.squares = {
            name: np.array(given.get(name, self.np_random.uniform(0, SIZE, 2)), dtype=np.float64) for name in COLOURS
        }
        return self._seen(), {}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Moves the walker."""
        self.place = np.clip(self.place + np.clip(action, -1.0, 1.0), 0.0, SIZE)
        return self._seen(), 0.0, False, False, {}

    def _seen(self) -> dict[str, np.ndarray]:
        return {"place": self.place.copy()}

    def picture(self) -> np.ndarray:
        """The plane from above (64, 64, 3) uint8."""
        image = np.full((SIZE * CELL, SIZE * CELL, 3), 235, dtype=np.uint8)
        for name, square in self.squares.items():
            self._paint(image, square, COLOURS[name])
        self._paint(image, self.place, (30, 30, 30))
        return image

    @staticmethod
    def _paint(image: np.ndarray, place: np.ndarray, colour: tuple[int, int, int]) -> None:
        row, column = (int(min(number, SIZE - 1e-9) * CELL) for number in (place[1], place[0]))
        image[max(row - 3, 0) : row + 4, max(column - 3, 0) : column + 4] = colour
