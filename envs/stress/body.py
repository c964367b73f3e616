"""What happens to actions on their way to the robot: noise, loss, repetition, gains, a gripper that is slow."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vla_bench.envs.action_spec import ActionSpec
from vla_bench.envs.stress.levels import Stress

UNIT_METRES, UNIT_RADIANS = 0.02, 0.05
"""What 1 means in ``action_noise``: a full step of CALVIN's relative actions."""
_GAIN, _NOISE, _ARRIVAL = 2, 3, 4
"""Of the seeds: each axis draws for itself, so that one's level changes nothing in another."""


@dataclass(slots=True)
class Body:
    """Changes the actions of one episode after another.

    What becomes of the action of a control step depends on the episode's seed, the number of the step and the actions
    before it, not on how they came in chunks.
    """

    levels: Stress
    action: ActionSpec
    _seed: int = 0
    _step: int = 0
    _told: list[float] = field(default_factory=list)
    """Gripper commands so far."""
    _last: np.ndarray | None = None
    """(A,) what was executed last."""

    def begin(self, seed: int) -> None:
        """A new episode."""
        self._seed, self._step, self._told, self._last = seed, 0, [], None

    def changed(self, actions: np.ndarray) -> np.ndarray:
        """What the robot does for ``actions`` (k, A); nothing is taken for executed before :meth:`executed`."""
        result = np.array(actions)
        told, last = list(self._told), self._last
        for number in range(len(result)):
            told.append(float(actions[number, -1]))
            last = result[number] = self._one(result[number], told, last, self._step + number)
        return result

    def executed(self, actions: np.ndarray, done: np.ndarray) -> None:
        """``actions`` (n, A) as they were given, and what was done in their place."""
        self._told += [float(action[-1]) for action in actions]
        self._step += len(actions)
        if len(done):
            self._last = np.array(done[-1])

    def _one(self, action: np.ndarray, told: list[float], last: np.ndarray | None, step: int) -> np.ndarray:
        levels = self.levels
        if levels.slow_gripper:  # before the first command has arrived the gripper is where that wants it
            action[-1] = told[max(0, len(told) - 1 - levels.slow_gripper)]
        if levels.lost or levels.repeated:
            draw = np.random.default_rng((self._seed, _ARRIVAL, step)).random()
            if draw < levels.lost:
                return held(self.action, action, last)
            if draw < levels.lost + levels.repeated and last is not None:
                return last.copy()
        if levels.gain:
            signs = np.random.default_rng((self._seed, _GAIN)).choice((-1.0, 1.0), size=len(action) - 1)
            action[:-1] *= (1.0 + levels.gain * signs).astype(action.dtype)
        if levels.action_noise:
            noise = np.random.default_rng((self._seed, _NOISE, step)).standard_normal(len(action) - 1)
            _disturb(action, noise * levels.action_noise, self.action)
        return action


def held(spec: ActionSpec, action: np.ndarray, last: np.ndarray | None) -> np.ndarray:
    """What a robot does that is told nothing in the place of ``action`` (A,): it stays on its way to where it was
    last told to be. Before the first command it does what it is told."""
    if changes(spec):
        still = np.zeros_like(action)
        still[-1] = action[-1] if last is None else last[-1]
        if spec.gripper == "relative" and not spec.exact_gripper:
            still[-1] = (spec.gripper_open + spec.gripper_closed) / 2
        return still
    return action.copy() if last is None else last.copy()


def changes(spec: ActionSpec) -> bool:
    """Whether the arm's numbers are changes, so that zeros keep it where it is."""
    return spec.control in ("tcp_delta", "joint_delta")


def _disturb(action: np.ndarray, noise: np.ndarray, spec: ActionSpec) -> None:
    """Adds ``noise`` (A - 1,), in units of 2 cm and 0.05 rad, to the arm's part of ``action`` (A,)."""
    if spec.control in ("joint_delta", "joint_position"):
        action[:-1] += (noise * (UNIT_RADIANS / spec.rotation_scale)).astype(action.dtype)
        return
    action[:3] += (noise[:3] * (UNIT_METRES / spec.position_scale)).astype(action.dtype)
    if spec.rotation == "quaternion_xyzw":
        action[3:7] = _turned(action[3:7], noise[3:6] * UNIT_RADIANS).astype(action.dtype)
    else:
        action[3:-1] += (noise[3:] * (UNIT_RADIANS / spec.rotation_scale)).astype(action.dtype)


def _turned(quaternion: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """``quaternion`` (4,) xyzw turned by a rotation vector (3,), radians, world."""
    angle = float(np.linalg.norm(vector))
    axis = vector / angle if angle else vector
    x, y, z = (float(number) for number in axis * np.sin(angle / 2))
    w = float(np.cos(angle / 2))
    a, b, c, d = (float(number) for number in quaternion)
    return np.array(
        [
            w * a + x * d + y * c - z * b,
            w * b - x * c + y * d + z * a,
            w * c + x * b - y * a + z * d,
            w * d - x * a - y * b - z * c,
        ]
    )
