"""A policy for SimplerEnv's two robots. Replace what :class:`Lift` computes by a model's answer."""

import numpy as np


class Lift:
    """Lifts the arm. The WidowX and the Google Robot differ in their camera and in what the gripper's number means."""

    def __init__(self, environment, speed: float = 0.01) -> None:
        """``environment`` says what the benchmark that was typed offers; ``policy.speed=`` is in metres per step."""
        self.sensors = tuple(environment.cameras)
        self.google = environment.actions[0].name == "fractal"
        self.speed = speed

    def reset(self, instruction: str) -> None:
        """A trial begins; the apple task of the Google Robot has a second instruction."""
        self.instruction = instruction

    def act(self, observation: dict[str, np.ndarray]) -> np.ndarray:
        """x, y, z in metres, an axis-angle, the gripper: 1 is open in ``bridge``, 0 is no change in ``fractal``."""
        return np.array([0, 0, self.speed, 0, 0, 0, 0 if self.google else 1], dtype=np.float32)
