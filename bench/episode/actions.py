"""What becomes of a policy's answer on its way to the simulation.

Whatever comes back passes :class:`Actions`, the one place where chunks are checked and where the numbers of a bounded
convention are brought into their range.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vla_bench.policies.base import PolicySpec
from vla_bench.policies.errors import PolicyError


class PolicyServerError(RuntimeError):
    """The policy of a server has failed in a way that another try may mend."""


class PolicyServerLost(PolicyServerError):
    """The server itself has died; the next worker that needs one starts another."""


def chunks_of(answer: object, slots: int, name: str) -> Sequence[np.ndarray]:
    """What a policy answered for so many slots. PolicyError: it has not one chunk for each."""
    what = type(answer).__name__
    if isinstance(answer, Sequence) or (isinstance(answer, np.ndarray) and answer.ndim > 0):
        if len(answer) == slots:
            return answer  # type: ignore[return-value]  # an array's rows are as good as a list of arrays
        what += f" of {len(answer)}"
    raise PolicyError(
        f"policy {name!r} was asked for {slots} and returned a {what}; act() must return a list with one "
        "NumPy array (k, A) for each slot"
    )


class Actions:
    """Checks the chunks of a policy and cuts them to what is executed.

    For a bounded convention the arm numbers are clipped to [-1, 1] and the gripper command becomes
    exactly ``gripper_open`` when it lies on the open side of the middle of its two values, else
    exactly ``gripper_closed``: CALVIN's ``relative`` gives 1 for a command above 0, else -1, as the
    official evaluation wrapper does. The dtype, float32 or float64, is the policy's own, since CALVIN scales
    actions in it. Other conventions pass unchanged.
    """

    def __init__(self, spec: PolicySpec) -> None:
        action = spec.action
        self._name = spec.name
        self._size = action.size
        self._execute = spec.execute
        self._bounded = action.bounded
        self._commands = (action.gripper_open, action.gripper_closed)

    def executed(self, chunk: np.ndarray, remaining: int) -> np.ndarray:
        """The actions to execute, (min(execute, remaining), A), in the chunk's dtype.

        PolicyError: not a floating (k, A) array, fewer actions than ``execute``, NaN or infinity.
        """
        if not (
            isinstance(chunk, np.ndarray)
            and chunk.ndim == 2
            and chunk.shape[1] == self._size
            and chunk.shape[0] >= self._execute
            and chunk.dtype.char in "fd"
        ):
            self._refuse(chunk)
        actions = chunk[: min(self._execute, remaining)]
        # Chunks are short: looking at Python numbers takes a quarter of the time of NumPy's reductions.
        numbers = actions.ravel().tolist()
        if not self._bounded:
            if not all(map(math.isfinite, numbers)):
                self._refuse_number(actions)
            return actions
        if all(-1.0 <= number <= 1.0 for number in numbers) and all(
            command in self._commands for command in numbers[self._size - 1 :: self._size]
        ):
            return actions
        return self._within_bounds(actions)

    def _within_bounds(self, actions: np.ndarray) -> np.ndarray:
        if not np.isfinite(actions).all():
            self._refuse_number(actions)
        actions = actions.copy()
        np.clip(actions[:, :-1], -1.0, 1.0, out=actions[:, :-1])
        opened, closed = self._commands
        above = actions[:, -1] > (opened + closed) / 2
        actions[:, -1] = np.where(above == (opened > closed), opened, closed)
        return actions

    def _refuse_number(self, actions: np.ndarray) -> None:
        row, column = np.argwhere(~np.isfinite(actions))[0].tolist()
        raise PolicyError(
            f"policy {self._name!r} returned {actions[row, column]} as number {column} of action {row} "
            "of its chunk; all numbers must be finite"
        )

    def _refuse(self, chunk: object) -> None:
        if not isinstance(chunk, np.ndarray):
            raise PolicyError(
                f"policy {self._name!r} returned {type(chunk).__name__} for a slot; act() must return one "
                "NumPy array (k, A) per slot"
            )
        if chunk.ndim != 2 or chunk.shape[1] != self._size:
            raise PolicyError(
                f"policy {self._name!r} returned an array of shape {chunk.shape}; its convention has "
                f"{self._size} numbers per action, so ({self._size},) or (k, {self._size}) is needed"
            )
        if chunk.dtype.char not in "fd":
            raise PolicyError(
                f"policy {self._name!r} returned {chunk.dtype} numbers; actions must be float32 or float64, "
                "e.g. chunk.astype(np.float32)"
            )
        raise PolicyError(
            f"policy {self._name!r} returned {len(chunk)} actions, but {self._execute} of each chunk are to "
            "be executed (`execute`)"
        )
