"""Commands for a robot from actions in its data set's own scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vla_bench.envs.errors import suggestion
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.vla.actions.frames import rotation_vectors
from vla_bench.policies.vla.actions.gripper import DelayedGripper, StickyGripper
from vla_bench.policies.vla.actions.normalisation import Quantiles

BRIDGE = Quantiles(
    low=(
        -0.02872725307941437,
        -0.04170349963009357,
        -0.026093858778476715,
        -0.08092105075716972,
        -0.09288699507713317,
        -0.20718276381492615,
        0.0,
    ),
    high=(
        0.028309678435325586,
        0.040855254605412394,
        0.040161586627364146,
        0.08192047759890528,
        0.07792850524187081,
        0.20382574498653397,
        1.0,
    ),
    mask=(True,) * 7,
)
FRACTAL = Quantiles(
    low=(
        -0.22453527510166169,
        -0.14820013284683228,
        -0.231589707583189,
        -0.3517994859814644,
        -0.4193011274933815,
        -0.43643461108207704,
        0.0,
    ),
    high=(
        0.17824687153100965,
        0.14938379630446405,
        0.21842354819178575,
        0.5892666035890578,
        0.35272657424211445,
        0.44796681255102094,
        1.0,
    ),
    mask=(True,) * 7,
)
"""Quantiles of BridgeData V2 and of fractal (RT-1), as released with RoboVLMs at 8adc1d2
(``configs/data/oxe_dataset_stats``). The gripper's are 0 and 1, so that its -1 and 1 become 0 and 1."""


@dataclass(frozen=True, slots=True)
class RobotCommand:
    """One command: metres, radians, and the robot's own gripper number."""

    world_vector: np.ndarray
    """(3,) change of position, metres."""
    axis_angle: np.ndarray
    """(3,) change of rotation, axis times angle in radians."""
    gripper: float
    """Google robot: change, -2, 0 or 2, positive closes. WidowX: 1 opens, -1 closes."""
    raw: np.ndarray
    """(7,) the action in the data set's scale: xyz, Euler angles, opening in [0, 1]."""


@dataclass(slots=True)
class RobotCommands:
    """Turns the policy's (7,) actions of one episode into commands; a new one per instruction."""

    quantiles: Quantiles
    gripper: StickyGripper | DelayedGripper
    scale: float = 1.0

    @classmethod
    def for_robot(cls, robot: str, scale: float = 1.0) -> RobotCommands:
        """``google_robot`` (sticky gripper) or ``widowx`` (delayed opening)."""
        robots = {"google_robot": (FRACTAL, StickyGripper), "widowx": (BRIDGE, DelayedGripper)}
        if robot not in robots:
            raise PolicyError(f"unknown robot {robot!r}; known: {', '.join(robots)}.{suggestion(robot, robots)}")
        quantiles, rule = robots[robot]
        return cls(quantiles, rule(), scale)

    def __call__(self, action: np.ndarray) -> RobotCommand:
        """``action``: (7,) arm in [-1, 1] between the quantiles, gripper -1 closed or 1 open."""
        raw = self.quantiles.unnormalise(np.asarray(action, dtype=np.float64))
        return RobotCommand(
            world_vector=raw[:3] * self.scale,
            axis_angle=rotation_vectors(raw[3:6]) * self.scale,
            gripper=self.gripper(float(raw[6])),
            raw=raw,
        )
