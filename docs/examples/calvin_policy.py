"""A policy for CALVIN. Replace what :class:`Reach` computes by a model's answer."""

from pathlib import Path

import numpy as np


class Reach:
    """Moves down and closes the gripper.

    Attributes:
        sensors: cameras, with height and width; without a size the environment's own.
        action: convention of the actions: ``relative`` is CALVIN's own, 1 being 2 cm or 0.05 rad.
        execute: how many actions of a chunk are executed before the policy looks again.
    """

    sensors = {"static": (224, 224), "gripper": (84, 84)}  # noqa: RUF012
    action = "relative"
    execute = 5

    def __init__(self, checkpoint: str = "", speed: float = 1.0) -> None:
        """``policy.checkpoint=`` and ``policy.speed=``; a file that is named here is part of the run's identity."""
        self.weights = np.load(Path(checkpoint)) if checkpoint else None
        self.speed = speed

    def reset(self, instruction: str) -> None:
        """A subtask begins; of a chain the arm stays where it is."""
        self.instruction = instruction

    def act(self, observation: dict[str, np.ndarray]) -> np.ndarray:
        """A chunk (5, 7): x, y, z, roll, pitch, yaw, gripper (1 opens, -1 closes)."""
        assert observation["rgb_static"].shape == (224, 224, 3)  # uint8
        height = observation["robot_obs"][2]  # metres, of the tool
        down = -self.speed if height > 0.5 else 0.0
        return np.tile(np.array([0, 0, down, 0, 0, 0, -1], dtype=np.float32), (self.execute, 1))
