"""Rules that turn a predicted gripper value into a command. One object per running episode."""

from __future__ import annotations

from dataclasses import dataclass

STICKY_STEPS = 2
"""Commands a change of the gripper is repeated for on the Google robot in the released evaluation
(OpenVLA: 15)."""
DELAYED_STEPS = 2
"""Predictions in a row that must ask to open before the WidowX opens, in the released evaluation."""


def to_sign(opening: float, threshold: float = 0.5) -> float:
    """1.0 (open) when the value is above the threshold, else -1.0 (closed)."""
    return 1.0 if opening > threshold else -1.0


@dataclass(slots=True)
class StickyGripper:
    """Google robot: the command is the change of the gripper, held for a number of steps.

    +1 closes: the change is the former sign less the new one.
    """

    repeat: int = STICKY_STEPS
    _former: float | None = None
    _held: float = 0.0
    _steps: int = 0
    _on: bool = False

    def __call__(self, opening: float) -> float:
        """The command for a predicted opening in [0, 1]: 0.0 when nothing changes, else -2.0 or 2.0."""
        sign = to_sign(opening)
        command = 0.0 if self._former is None else self._former - sign
        self._former = sign
        if abs(command) > 0.5 and not self._on:
            self._on, self._held = True, command
        if self._on:
            self._steps += 1
            command = self._held
        if self._steps == self.repeat:
            self._on, self._steps, self._held = False, 0, 0.0
        return command


@dataclass(slots=True)
class DelayedGripper:
    """WidowX: opens only once several predictions in a row ask for it, and closes at once."""

    needed: int = DELAYED_STEPS
    _asked: int = 0

    def __call__(self, opening: float) -> float:
        """1.0 (open) or -1.0 (closed) for a predicted opening in [0, 1]; -1.0 on the first step."""
        self._asked = self._asked + 1 if opening > 0.5 else 0
        return 1.0 if self._asked >= self.needed else -1.0
