"""Ways through the free space above the table, as phases of motion."""

from __future__ import annotations

import dataclasses

import numpy as np

from vla_bench.policies.expert.motion import CLOSED, OPEN, Phase
from vla_bench.policies.expert.view import Pose, View

X, Y, Z = np.eye(3)
TRAVEL_HEIGHT = 0.60
"""High enough for the fingers, with a block between them, to pass over everything in front of the slope."""
TRAVEL_BACK = -0.08
"""The furthest y at that height; what is on the slope stands higher behind it."""
WITHDRAWAL = 0.09
"""How far the tool backs out of where it has been, and starts from on its way in, metres."""
CLOSING_STEPS, OPENING_STEPS = 9, 7
PASSING = 0.03
"""How close the tool must come to a point it only passes, metres."""


def leave(view: View, carries: str | None = None) -> list[Phase]:
    """Backs out along the tool's axis, then rises to where it may travel.

    The gripper stays as it is meanwhile, unless it is to let go of a block: fingers that opened
    around a block would take it along if they closed, and there may be no room to open.
    """
    tool, phases = view.tool, []
    gripper = CLOSED if carries else float(view.state.robot_obs[14])
    if view.held and not carries:
        gripper = OPEN
        phases.append(Phase("let go", None, OPEN, steps=OPENING_STEPS))
    low = tool.position[2] < TRAVEL_HEIGHT - PASSING
    deep = tool.position[1] > TRAVEL_BACK + PASSING
    if low or deep:
        out = tool.withdrawn(WITHDRAWAL)
        phases.append(Phase("back out", out, gripper, speed=0.7, tolerance=PASSING, carries=carries))
        phases.append(Phase("rise", _above(out), gripper, tolerance=PASSING, carries=carries))
    return phases


def travel(to: Pose, gripper: float, carries: str | None = None, seeks: str | None = None) -> list[Phase]:
    """Crosses at travelling height to above ``to``, turning on the way, then comes down to it."""
    return [
        Phase("cross", _above(to), gripper, tolerance=PASSING, carries=carries, seeks=seeks),
        Phase("come down", to, gripper, tolerance=0.015, carries=carries, seeks=seeks),
    ]


def enter(to: Pose, gripper: float, carries: str | None = None, seeks: str | None = None) -> list[Phase]:
    """Travels to before ``to`` and goes in along the tool's axis, slowly, to arrive precisely."""
    return [
        *travel(to.withdrawn(WITHDRAWAL), gripper, carries, seeks),
        Phase("go in", to, gripper, speed=0.5, tolerance=0.004, carries=carries, seeks=seeks),
    ]


def release(at: Pose) -> list[Phase]:
    """Opens the gripper and backs out."""
    return [
        Phase("let go", at, OPEN, steps=OPENING_STEPS, patience=0),
        Phase("back out", at.withdrawn(WITHDRAWAL), OPEN, speed=0.5, tolerance=PASSING),
    ]


def close(at: Pose) -> Phase:
    """Closes the gripper and waits for the fingers."""
    return Phase("grasp", at, CLOSED, steps=CLOSING_STEPS, patience=0)


def _above(pose: Pose) -> Pose:
    x, y, z = pose.position
    return Pose(np.array((x, min(y, TRAVEL_BACK), max(z, TRAVEL_HEIGHT))), pose.rotation)


def preparing(phases: list[Phase]) -> list[Phase]:
    """The same, marked as only making room for the next plan."""
    return [*phases[:-1], dataclasses.replace(phases[-1], prepares=True)]


def wait() -> list[Phase]:
    """For when nothing can be done about the task as things are."""
    return [Phase("wait", None, OPEN, steps=30)]
