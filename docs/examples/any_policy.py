"""One policy for CALVIN and SimplerEnv: it asks what it is in."""

import numpy as np


class Anywhere:
    """Moves two millimetres down at each step, in whatever unit that is."""

    def __init__(self, environment) -> None:
        """Takes all cameras there are, and the benchmark's first convention."""
        self.sensors = tuple(environment.cameras)
        self.unit = environment.actions[0].position_scale  # metres that 1 means

    def reset(self, instruction: str) -> None:
        """A subtask or a trial begins."""
        self.instruction = instruction

    def act(self, observation: dict[str, np.ndarray]) -> np.ndarray:
        """(7,): position, rotation, gripper."""
        images = [observation[f"rgb_{name}"] for name in self.sensors]  # each (height, width, 3) uint8
        assert all(image.ndim == 3 for image in images)
        return np.array([0, 0, -0.002 / self.unit, 0, 0, 0, 0.0 if self.unit == 1 else 1.0], dtype=np.float32)
