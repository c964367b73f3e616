"""What becomes of a policy's answer on its way to the simulation.

Whatever comes back passes :class:`Actions`, the one place where chunks are checked and where the numbers of a bounded
convention are brought into their range.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vla_bench.policies.answers import as_chunk
from vla_bench.policies.base import PolicySpec
from vla_bench.policies.errors import PolicyError


class PolicyServerError(RuntimeError):
    """The policy of a server has failed in a way that another try may mend.

    Args:
        message: what it raised, in a line.
        detail: its traceback, or the end of the server's log.
        at: the line of the policy's code.
    """

    def __init__(self, message: str, detail: str = "", at: str = "") -> None:
        super().__init__(message)
        self.detail = detail
        self.at = at


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
    exactly ``gripper_closed``: with 1 and -1 that is 1 for a command above 0, else -1, as the official
    evaluation wrappers do. The dtype, float32 or float64, is the policy's own, since an environment scales
    actions in it. Other conventions pass unchanged.
    """

    def __init__(self, spec: PolicySpec) -> None:
        action = spec.action
        self._name = spec.name
        self._size = action.size
        self._execute = spec.execute
        self._bounded = action.bounded
        self._exact = action.exact_gripper
        self._convention = action.name
        self._commands = (action.gripper_open, action.gripper_closed)

    def executed(self, chunk: object, remaining: int) -> np.ndarray:
        """The actions to execute, at most (min(execute, remaining), A), in the chunk's dtype; a chunk with fewer
        than ``execute`` is played to its end.

        PolicyError: not numbers (k, A) of this convention, NaN or infinity, or a gripper command that the
        environment does not take.
        """
        if not isinstance(chunk, np.ndarray) or chunk.dtype.char not in "fd":
            chunk = as_chunk(chunk, self._name)
        if not (
            isinstance(chunk, np.ndarray)
            and chunk.ndim == 2
            and chunk.shape[1] == self._size
            and chunk.shape[0] > 0
            and chunk.dtype.char in "fd"
        ):
            self._refuse(chunk)
        actions = chunk[: min(self._execute, remaining)]
        # Chunks are short: looking at Python numbers takes a quarter of the time of NumPy's reductions.
        numbers = actions.ravel().tolist()
        if not self._bounded:
            if not all(map(math.isfinite, numbers)):
                self._refuse_number(actions)
            if self._exact and not all(command in self._commands for command in numbers[self._size - 1 :: self._size]):
                self._refuse_gripper(actions)
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

    def _refuse_gripper(self, actions: np.ndarray) -> None:
        opened, closed = self._commands
        row = int(np.argmax(~np.isin(actions[:, -1], self._commands)))
        raise PolicyError(
            f"policy {self._name!r} returned {actions[row, -1]:g} as the gripper command of action {row} of its "
            f"chunk; the convention {self._convention!r} takes exactly {opened:g} (open) or {closed:g} (closed). Round "
            f"it first, e.g. {opened:g} if command > {(opened + closed) / 2:g} else {closed:g}"
        )

    def _refuse(self, chunk: np.ndarray) -> None:
        if chunk.ndim != 2 or chunk.shape[1] != self._size:
            batched = chunk.ndim == 3 and chunk.shape[0] == 1 and chunk.shape[2] == self._size
            raise PolicyError(
                f"policy {self._name!r} returned an array of shape {chunk.shape}; its convention has "
                f"{self._size} numbers per action, so ({self._size},) or (k, {self._size}) is needed"
                + (": drop the batch in front, e.g. return chunk[0]" if batched else "")
            )
        if chunk.dtype.char not in "fd":
            raise PolicyError(
                f"policy {self._name!r} returned {chunk.dtype} numbers; actions must be float32 or float64, "
                "e.g. chunk.astype(np.float32)"
            )
        raise PolicyError(f"policy {self._name!r} returned a chunk without actions; at least one is needed")
