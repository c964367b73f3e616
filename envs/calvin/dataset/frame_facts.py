"""A few numbers of each frame, from which defects show."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_bench.envs.calvin.dataset.labels import SATURATED, relative_actions

TOLERANCE = 1e-5
"""Difference above which two stored numbers are not the same; float32 rounding stays below."""
RELATIVE_TOLERANCE = 1e-3
"""The same for relative actions, whose rounding is divided by 0.02."""
MOVED = {"rgb_static": 5e-3, "rgb_gripper": 2e-3}
"""Metres of the tool in a frame from which an image must change: a pixel, where images are small."""
SAMPLES = 50
"""Images are compared at about so many pixels a side."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameFacts:
    """Of n frames of one recording, ascending; perhaps with holes. Arrays are (n, …)."""

    index: np.ndarray
    hash: np.ndarray
    """uint64, of state and static image."""
    robot_obs: np.ndarray
    scene_obs: np.ndarray
    not_finite: np.ndarray
    actions: np.ndarray
    """bool, the action is not the next state; False where there is none to compare with."""
    relative: np.ndarray
    """bool, the relative action does not follow."""
    still: np.ndarray
    """bool, an image is the one before, though the arm moved."""
    saturated: np.ndarray
    """How many of the six entries are at their limit."""
    motion: np.ndarray
    """float64, how far the arm went since the frame before: metres plus radians of its joints; NaN without one."""
    change: np.ndarray
    """(n, 2) float64, mean change of the static and the gripper image since the frame before, grey levels."""


def facts_of(read: Mapping[int, Mapping[str, np.ndarray]], last: int) -> FrameFacts:
    """Facts of the frames up to ``last``; what follows in ``read`` only serves to compare with.

    Args:
        read: Frame to its arrays, ascending, of one recording.
        last: Last frame to say something of.
    """
    rows = [_facts(index, frame, read.get(index - 1), read.get(index + 1)) for index, frame in read.items()]
    rows = [row for row in rows if row[0] <= last]
    kinds = (np.int64, np.uint64, float, float, bool, bool, bool, bool, np.int64, float, float)
    shapes = ((), (), (15,), (24,), (), (), (), (), (), (), (2,))
    columns = zip(*rows, strict=True) if rows else [()] * len(kinds)
    return FrameFacts(
        *(
            np.array(column, kind).reshape(-1, *shape)
            for column, kind, shape in zip(columns, kinds, shapes, strict=True)
        )
    )


def _facts(
    index: int, frame: Mapping[str, np.ndarray], before: Mapping | None, after: Mapping | None
) -> tuple[Any, ...]:
    robot, action, relative = (frame[key].astype(float) for key in ("robot_obs", "actions", "rel_actions"))
    finite = all(np.isfinite(frame[key]).all() for key in ("robot_obs", "scene_obs", "actions", "rel_actions"))
    wrong_action = False
    if after is not None and finite:
        following = after["robot_obs"].astype(float)
        gripper = -1.0 if following[14] == 0 else following[14]
        wrong_action = _differ(action, np.append(following[:6], gripper), TOLERANCE)
    wrong_relative = finite and _differ(relative, relative_actions(action[None], robot[None])[0], RELATIVE_TOLERANCE)
    motion, still = np.nan, False
    change: tuple[float, ...] = (np.nan, np.nan)
    if before is not None and finite:
        was = before["robot_obs"].astype(float)
        moved = float(np.linalg.norm(robot[:3] - was[:3]))
        motion = moved + float(np.abs(robot[7:14] - was[7:14]).sum())
        change = tuple(_change(frame.get(key), before.get(key)) for key in MOVED)
        still = any(
            key in frame and moved > least and np.array_equal(frame[key], before[key]) for key, least in MOVED.items()
        )
    digest = hashlib.blake2b(frame["robot_obs"].astype(np.float32).tobytes(), digest_size=8)
    digest.update(frame["scene_obs"].astype(np.float32).tobytes())
    if "rgb_static" in frame:
        digest.update(frame["rgb_static"].tobytes())
    return (
        *(index, int.from_bytes(digest.digest(), "little"), robot, frame["scene_obs"].astype(float), not finite),
        *(wrong_action, wrong_relative, still, int((np.abs(relative[:6]) >= SATURATED).sum()), motion, change),
    )


def _differ(found: np.ndarray, expected: np.ndarray, tolerance: float) -> bool:
    return bool((np.abs(found - expected) > tolerance).any())


def _change(now: np.ndarray | None, before: np.ndarray | None) -> float:
    if now is None or before is None or now.shape != before.shape:
        return np.nan
    step = max(1, now.shape[0] // SAMPLES)
    return float(np.abs(now[::step, ::step].astype(np.int16) - before[::step, ::step].astype(np.int16)).mean())
