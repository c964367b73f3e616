"""The paper's judge of the put-on tasks as a pure function of poses, contacts and history.

The original package has its own; ManiSkill3 judges by other rules, so its backend judges with this.
Formulas: ``put_on_in_scene.py`` of ManiSkill2_real2sim ef7a4d4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from vla_bench.envs.simpler.rotations import rotation_matrix

MOVED = 0.03
"""Metres in xy beyond which an object counts as moved."""
HELD_STEPS = 5
"""Steps in a row that make a grasp a consecutive one."""
EDGE = 0.003
"""Metres by which the source's centre may lie beyond the target's half diagonal."""


@dataclass(frozen=True, slots=True)
class PutOnRule:
    """What differs between the four tasks."""

    height: float = 0.02
    """Metres the source may hover above resting on the target."""
    clear: bool = True
    """Whether the source may touch nothing but the target and the robot."""


RULES: Mapping[str, PutOnRule] = {
    "widowx_spoon_on_towel": PutOnRule(clear=False),
    "widowx_carrot_on_plate": PutOnRule(),
    "widowx_stack_cube": PutOnRule(),
    "widowx_put_eggplant_in_basket": PutOnRule(height=0.06, clear=False),
}


@dataclass(slots=True)
class PutOnJudge:
    """Judges one trial, step by step."""

    rule: PutOnRule
    settled: Mapping[str, np.ndarray]
    """Positions (3,) of the objects' origins once they lay still; source first, then target."""
    half_extents: Mapping[str, np.ndarray]
    """Half of the bounding box (3,) of source and target, turned as they lay: signed numbers, since
    the original multiplies the rotation matrix with the extents and takes no absolute value."""
    _held: int = 0
    _flags: dict[str, float] = field(default_factory=dict)

    def judge(
        self,
        *,
        origins: Mapping[str, np.ndarray],
        centres: Mapping[str, np.ndarray],
        grasped: bool,
        touches_else: bool,
    ) -> tuple[bool, Mapping[str, float]]:
        """Success and flags after a step.

        Args:
            origins: positions (3,) of the objects' origins now.
            centres: centres of mass (3,) of source and target now.
            grasped: whether the gripper holds the source.
            touches_else: whether the source presses on anything but the target and the robot.
        """
        source, target = self.half_extents
        moved = {
            name: float(np.linalg.norm(position[:2] - origins[name][:2])) for name, position in self.settled.items()
        }
        others = [distance for name, distance in moved.items() if name != source]
        self._held = self._held + 1 if grasped else 0
        offset = centres[source] - centres[target]
        on_target = bool(
            np.linalg.norm(offset[:2]) <= np.linalg.norm(self.half_extents[target][:2]) + EDGE
            and offset[2] > 0
            and offset[2] - self.half_extents[target][2] - self.half_extents[source][2] <= self.rule.height
        )
        success = on_target and not (self.rule.clear and touches_else)
        before = self._flags
        self._flags = {
            "moved_correct_obj": float(moved[source] > MOVED and max(others) < moved[source]),
            "moved_wrong_obj": float(any(d > MOVED for d in others) and any(d > moved[source] for d in others)),
            "is_src_obj_grasped": max(before.get("is_src_obj_grasped", 0.0), float(grasped)),
            "consecutive_grasp": max(before.get("consecutive_grasp", 0.0), float(self._held >= HELD_STEPS)),
            "src_on_target": float(success),
        }
        return success, self._flags


def turned_half_extents(size: np.ndarray, quaternion: np.ndarray) -> np.ndarray:
    """Half extents (3,) of a box of ``size`` turned by ``quaternion`` (wxyz), with the original's signs."""
    return rotation_matrix(quaternion) @ np.asarray(size, dtype=np.float64) / 2
