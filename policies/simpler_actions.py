"""How families of policies turn their own actions into commands for SimplerEnv's robots, by name.

One :class:`Rules` object serves one running episode; make a new one at every reset. A command is (7,)
float64: metres, axis times angle in radians, the robot's gripper number, in the conventions ``bridge`` and
``fractal`` of :mod:`vla_bench.envs.simpler.robots`. Sources: ``simpler_env/policies`` of SimplerEnv 4ab7178, and
``eval/simpler/model_wrapper.py`` of RoboVLMs 8adc1d2.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from vla_bench.envs.errors import suggestion
from vla_bench.envs.simpler.rotations import euler_to_axis_angle
from vla_bench.policies.errors import PolicyError

OCTO_HELD_STEPS = 15
"""Steps for which Octo's change of the Google Robot's gripper is repeated."""
OCTO_HORIZON = 4
"""Actions of an Octo prediction, of which all that speak of the present step are averaged."""
RT1_SMALL = 1e-2
"""RT-1 gripper commands below this are taken for none on the Google Robot."""
RT1_POSITION, RT1_POSITION_METRES = 1.75, 0.05
RT1_ROTATION, RT1_ROTATION_RADIANS = 1.4, 0.25
"""Ends of RT-1's outputs and what they mean on the WidowX, metres and radians."""


class Rules(Protocol):
    """From a policy's action to a command."""

    def __call__(self, action: np.ndarray) -> np.ndarray:
        """``action``: what the family predicts for a step; returns the command (7,)."""
        ...


@dataclass(slots=True)
class OctoRules:
    """Predictions (4, 7) in metres, Euler angles and opening in [0, 1] (1 = open), unnormalised.

    The predictions of the last four steps that speak of the present one are averaged, all alike
    (``ACT``'s temporal ensemble at temperature 0).
    """

    sticky: bool
    """Google Robot: a change of the opening above 0.5 is held for 15 steps, the first step commands
    none. WidowX: opens above 0.5."""
    _past: deque[np.ndarray] = field(default_factory=lambda: deque(maxlen=OCTO_HORIZON))
    _former: float | None = None
    _held: float = 0.0
    _steps: int = 0

    def __call__(self, action: np.ndarray) -> np.ndarray:
        """PolicyError: the prediction is not (4, 7)."""
        prediction = np.asarray(action, dtype=np.float64)
        if prediction.shape != (OCTO_HORIZON, 7):
            raise PolicyError(f"Octo predicts ({OCTO_HORIZON}, 7) actions; this one is {prediction.shape}")
        self._past.append(prediction)
        newest = len(self._past) - 1
        mean = np.mean([past[newest - age] for age, past in enumerate(self._past)], axis=0)
        gripper = self._change(float(mean[6])) if self.sticky else 2.0 * (mean[6] > 0.5) - 1.0
        return np.concatenate([mean[:3], euler_to_axis_angle(mean[3:6]), [gripper]])

    def _change(self, opening: float) -> float:
        change = 0.0 if self._former is None else self._former - opening
        self._former = opening
        if abs(change) > 0.5 and not self._steps:
            self._held, self._steps = change, OCTO_HELD_STEPS
        if self._steps:
            self._steps -= 1
            return self._held
        return change


@dataclass(slots=True)
class Rt1Rules:
    """Actions (7,): position, rotation, and how far to close in [-1, 1], as RT-1 and RT-1-X give them."""

    scaled: bool
    """Google Robot: metres and axis-angle as they are. WidowX: positions in ±1.75 stand for ±5 cm,
    Euler angles in ±1.4 for ±0.25 rad, and the gripper is inverted and becomes ±1."""

    def __call__(self, action: np.ndarray) -> np.ndarray:
        """The command (7,)."""
        numbers = np.array(action, dtype=np.float64)
        if not self.scaled:
            if abs(numbers[6]) < RT1_SMALL:
                numbers[6] = 0.0
            return numbers
        position = _rescaled(numbers[:3], RT1_POSITION, RT1_POSITION_METRES)
        rotation = _rescaled(numbers[3:6], RT1_ROTATION, RT1_ROTATION_RADIANS)
        return np.concatenate([position, euler_to_axis_angle(rotation), [2.0 * (numbers[6] < 0) - 1.0]])


@dataclass(slots=True)
class RoboVlmsRules:
    """Actions (7,) in [-1, 1] between the quantiles of the robot's data set, as RoboVLMs predicts them."""

    robot: str
    _commands: Callable[..., object] | None = None

    def __call__(self, action: np.ndarray) -> np.ndarray:
        """The command (7,)."""
        from vla_bench.policies.vla.actions.robot_commands import RobotCommands

        if self._commands is None:
            self._commands = RobotCommands.for_robot(self.robot)
        command = self._commands(np.asarray(action))
        return np.concatenate([command.world_vector, command.axis_angle, [command.gripper]])  # type: ignore[attr-defined]


FAMILIES: Mapping[str, Mapping[str, Callable[[], Rules]]] = {
    "octo": {
        "google_robot": lambda: OctoRules(sticky=True),
        "widowx": lambda: OctoRules(sticky=False),
    },
    "rt1": {
        "google_robot": lambda: Rt1Rules(scaled=False),
        "widowx": lambda: Rt1Rules(scaled=True),
    },
    "robovlms": {
        "google_robot": lambda: RoboVlmsRules("google_robot"),
        "widowx": lambda: RoboVlmsRules("widowx"),
    },
}


def rules_of(family: str, robot: str) -> Rules:
    """Fresh rules of a policy family for a robot; PolicyError names those there are."""
    for name, known in ((family, FAMILIES), (robot, FAMILIES.get(family, {}))):
        if name not in known:
            raise PolicyError(f"no action rules for {name!r}.{suggestion(name, known)} Known: {', '.join(known)}")
    return FAMILIES[family][robot]()


def _rescaled(numbers: np.ndarray, most: float, meaning: float) -> np.ndarray:
    return np.clip(numbers / most * meaning, -meaning, meaning)
