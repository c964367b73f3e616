"""What the numbers of an action mean, stated by an environment and by a policy, and compared."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Literal

Control = Literal["tcp_delta", "tcp_pose", "joint_delta", "joint_position"]
Rotation = Literal["euler_xyz", "quaternion_xyzw", "axis_angle", "none"]
Frame = Literal["world", "tcp", "base", "joint"]


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """The convention of an action vector ``(size,)``: arm first, gripper command last.

    Two conventions are the same when all fields are equal; :meth:`differences` names those that
    are not, so that a policy made for another convention is refused before a run starts.
    """

    name: str
    """Short name under which an environment offers it, e.g. ``relative``."""
    size: int
    """Length of one action vector, gripper included."""
    control: Control
    """What the arm numbers command: a change or a value, of the tool centre point or the joints."""
    frame: Frame
    """Frame of the arm numbers: ``world``, ``tcp`` (tool), robot ``base``, or ``joint``."""
    rotation: Rotation
    """Format of the rotation part; ``none`` for joint control."""
    position_scale: float = 1.0
    """Metres per unit of the position part (1.0: the numbers are metres)."""
    rotation_scale: float = 1.0
    """Radians per unit of the rotation or joint part (1.0: the numbers are radians)."""
    gripper_open: float = 1.0
    """Value of the last number that opens the gripper."""
    gripper_closed: float = -1.0
    """Value of the last number that closes the gripper."""
    gripper: Literal["absolute", "relative"] = "absolute"
    """Whether the last number states where the gripper shall be, or how it shall move from there."""
    bounded: bool = False
    """True when the arm numbers are meant to stay within [-1, 1]."""
    restarts: bool = False
    """True when a change is added to the last commanded pose, and that pose is taken anew from where the tool
    really is at the beginning of each subtask (vla-eval's CALVIN client)."""

    exact_gripper: bool = field(default=False, compare=False)
    """True when the environment takes exactly the two gripper values and nothing between. The environment's own
    affair: a policy need not state it."""

    def differences(self, other: ActionSpec) -> list[str]:
        """Names the fields (``name`` and ``exact_gripper`` aside) in which two conventions differ, with both values."""
        return [
            f"{each.name}: {mine!r} against {theirs!r}"
            for each in dataclasses.fields(self)
            if each.name != "name"
            and each.compare
            and (mine := getattr(self, each.name)) != (theirs := getattr(other, each.name))
        ]
