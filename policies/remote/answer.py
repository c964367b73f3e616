"""Replies into chunks of actions, by a mapping."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from vla_bench.envs.action_spec import ActionSpec
from vla_bench.policies.remote.errors import MessageFault
from vla_bench.policies.remote.mapping import Answer, Gripper
from vla_bench.policies.remote.rotations import convert

FEW = 256
"""Numbers."""
SMALL_CHANGE = 0.5
"""A change of the gripper's value above this is a command to the Google Robot."""


def rows_of(reply: Any, answer: Answer, batch: int = 1, batched: bool = False) -> list[np.ndarray]:
    """The rows (k, n) of a reply for each of ``batch`` observations, float32 or float64.

    MessageFault: there are no such numbers in it, too few of them, or not all are finite.
    """
    found = reply
    for name in _steps(answer.path):
        if isinstance(found, dict):
            found = found.get(name)
        elif isinstance(found, list | tuple) and name.isdigit():
            found = found[int(name)] if int(name) < len(found) else None
        else:
            found = None
        if found is None:
            raise MessageFault(f"an answer without {answer.path!r}; it has {_keys(reply)}")
    if answer.keys:
        if not isinstance(found, Mapping) or not all(name in found for name in answer.keys):
            raise MessageFault(f"an answer without {', '.join(answer.keys)}; it has {_keys(found)}")
        parts = [_numbers(found[name], name) for name in answer.keys]
        if answer.chunk > 1:  # GR00T N1.5 leaves out axes of length 1
            parts = [part[:, None] if part.ndim == 1 else part for part in parts]
        if len({part.shape[:-1] for part in parts}) != 1:
            raise MessageFault(f"an answer whose parts have the shapes {', '.join(str(p.shape) for p in parts)}")
        numbers = np.concatenate(parts, axis=-1)
    else:
        numbers = _numbers(found, answer.path or "answer")
    if batched:
        if numbers.ndim != 3 or len(numbers) != batch:
            raise MessageFault(f"an answer of shape {numbers.shape} to {batch} observations")
        several = list(numbers)
    else:
        several = [numbers]
    return [_checked(each[None] if each.ndim == 1 else each, answer) for each in several]


@cache
def _steps(path: str) -> tuple[str, ...]:
    return tuple(filter(None, path.split("/")))


def _numbers(value: Any, name: str) -> np.ndarray:
    if isinstance(value, np.ndarray) and value.ndim and value.dtype.char in "fd" and value.dtype.isnative:
        return value
    try:
        array = np.asarray(value)
    except (ValueError, TypeError):
        raise MessageFault(f"an answer whose {name!r} is no array of numbers") from None
    if array.dtype.kind not in "fiub" or not array.ndim:
        raise MessageFault(f"an answer whose {name!r} is no array of numbers")
    if array.dtype.kind == "f" and array.dtype.itemsize in (4, 8):
        return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    return array.astype(np.float32 if array.dtype == np.float16 else np.float64)


def _checked(rows: np.ndarray, answer: Answer) -> np.ndarray:
    columns = max(answer.position[1], answer.rotation[1], answer.gripper_at + 1)
    if rows.ndim != 2 or rows.shape[1] < columns or len(rows) < answer.execute:
        raise MessageFault(f"an answer of shape {rows.shape}; at least ({answer.execute}, {columns}) is needed")
    used = rows[: answer.execute, :columns]
    if not _finite(used):
        raise MessageFault("an answer with numbers that are not finite")
    return rows


def _finite(numbers: np.ndarray) -> bool:
    """Looking at few Python numbers takes less time than NumPy's reductions."""
    if numbers.size <= FEW:
        return all(map(math.isfinite, numbers.ravel().tolist()))
    return bool(np.isfinite(numbers).all())


def _keys(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(str(key)[:40] for key in list(value)[:12]) or "nothing"
    return f"a {type(value).__name__}"


@dataclass(slots=True)
class Interpreter:
    """Turns the rows of one slot into actions; keeps what a gripper rule or an ensemble remembers."""

    answer: Answer
    action: ActionSpec
    _past: deque[np.ndarray] = field(init=False)
    _gripper: StickyGripper = field(init=False)
    _plain: bool = field(init=False)
    """Whether the server's columns are the environment's as they are."""

    def __post_init__(self) -> None:
        answer, size = self.answer, self.action.size
        self._plain = (
            answer.gripper.rule == "as_is"
            and answer.ensemble == "none"
            and not (answer.low or answer.mean or answer.offset)
            and (answer.position_scale, answer.rotation_scale) == (1.0, 1.0)
            and (answer.form == self.action.rotation or answer.as_form == "as_is")
            and (answer.position[0], answer.position[1], answer.rotation[1], answer.gripper_at)
            == (0, answer.rotation[0], size - 1, size - 1)
        )
        self.reset()

    def reset(self) -> None:
        """A new subtask."""
        self._past = deque(maxlen=self.answer.horizon)
        self._gripper = StickyGripper(self.answer.gripper)

    def chunk(self, rows: np.ndarray) -> np.ndarray:
        """Actions (execute, A) of the environment's convention; rows that pass unchanged keep their dtype."""
        answer = self.answer
        if self._plain:
            return rows[: answer.execute, : self.action.size]
        if answer.low or answer.mean:
            rows = unnormalised(rows, answer)
        if answer.ensemble == "adaptive":
            rows = self._ensembled(rows)
        rows = rows[: answer.execute]
        arm = rows[:, slice(*answer.position)]
        turn = rows[:, slice(*answer.rotation)]
        if answer.position_scale != 1.0:
            arm = arm * answer.position_scale
        if answer.rotation_scale != 1.0:
            turn = turn * answer.rotation_scale
        form = answer.form
        if answer.offset:
            turn = np.array([convert(each, form, "euler_xyz") for each in turn]) + np.array(answer.offset)
            form = "euler_xyz"
        if turn.shape[1] and answer.as_form != "as_is" and form != self.action.rotation:
            turn = np.array([convert(each, form, self.action.rotation) for each in turn])
        grip = rows[:, answer.gripper_at]
        if answer.gripper.rule == "threshold":
            grip = thresholded(grip, answer.gripper, self.action)
        elif answer.gripper.rule != "as_is":
            grip = np.array([self._gripper(float(each)) for each in grip])
        dtype = np.result_type(arm, turn) if turn.shape[1] else arm.dtype
        return np.concatenate([arm, turn, np.asarray(grip)[:, None]], axis=1).astype(dtype, copy=False)

    def _ensembled(self, rows: np.ndarray) -> np.ndarray:
        """One row (1, n): what all kept chunks predict for this step, weighted by exp(alpha * cosine) to the newest.

        ``AdaptiveEnsembler`` of CogACT (``sim_cogact/adaptive_ensemble.py``), which starVLA's SimplerEnv client uses.
        """
        self._past.append(np.asarray(rows, dtype=np.float64))
        newest = len(self._past) - 1
        ages = [(newest - number, past) for number, past in enumerate(self._past)]
        predictions = np.stack([past[age] for age, past in ages if age < len(past)])
        reference = predictions[-1]
        lengths = np.linalg.norm(predictions, axis=1) * np.linalg.norm(reference)
        weights = np.exp(self.answer.alpha * (predictions @ reference) / (lengths + 1e-7))
        return ((weights / weights.sum())[:, None] * predictions).sum(axis=0)[None]


def unnormalised(rows: np.ndarray, answer: Answer) -> np.ndarray:
    """Columns in [-1, 1] between ``low`` and ``high``, or times ``std`` plus ``mean``."""
    numbers = np.array(rows, dtype=np.float64)
    count = len(answer.low or answer.mean)
    mask = np.array(answer.mask or (True,) * count)
    if answer.low:
        low, high = np.array(answer.low), np.array(answer.high)
        made = 0.5 * (np.clip(numbers[:, :count], -1, 1) + 1) * (high - low) + low
    else:
        made = numbers[:, :count] * np.array(answer.std) + np.array(answer.mean)
    numbers[:, :count] = np.where(mask, made, numbers[:, :count])
    return numbers


def thresholded(values: np.ndarray, rule: Gripper, action: ActionSpec) -> np.ndarray:
    """The environment's open or closed number for each value."""
    compared = {"above": np.greater, "below": np.less, "at_most": np.less_equal}[rule.opens]
    return np.where(compared(values, rule.threshold), action.gripper_open, action.gripper_closed)


@dataclass(slots=True)
class StickyGripper:
    """The Google Robot's relative command (+1 closes) of an opening in [0, 1].

    A change above one half is repeated for ``held`` steps. ``sticky_value``: the command is 1 - 2 * value
    (vla-eval, Isaac-GR00T). ``sticky_change``: the last value minus this one, none at first (starVLA, Octo).
    """

    rule: Gripper
    _former: float | None = None
    _held: float = 0.0
    _left: int = 0

    def __call__(self, value: float) -> float:
        """The command of this step."""
        if self.rule.rule == "sticky_value":
            command = 1.0 - 2.0 * value
        else:
            command = 0.0 if self._former is None else self._former - value
            self._former = value
        if abs(command) > SMALL_CHANGE and not self._left:
            self._held, self._left = command, self.rule.held
        if self._left:
            self._left -= 1
            return self._held
        return command
