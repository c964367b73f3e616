"""Chooses how the tool takes hold of a block, sets it down, or comes at a fixture.

Candidates are scored by how far the gripper stays from everything solid on its last way in, how
far the arm has to reach, and how far the tool leans and turns.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from vla_bench.envs.calvin.robot import FINGER_OPEN
from vla_bench.envs.calvin.scenes import BLOCK_HALF_WIDTH, ROBOT_BASE
from vla_bench.policies.expert.boxes import Box, distances, near
from vla_bench.policies.expert.motion import REST_EULER
from vla_bench.policies.expert.rotations import about, about_z
from vla_bench.policies.expert.view import Pose

DOWN, SIDEWAYS = np.array((0.0, 0.0, -1.0)), np.array((1.0, 0.0, 0.0))
TWIST = math.radians(17)
FINGER_ABOVE, FINGER_HALF_THICKNESS = 0.010, 0.014
"""The tool centre point is held this much above a block's middle, so that the fingers clear the
table; half the extent of a finger across, metres."""
WIDEST_GRASP = FINGER_OPEN - 0.009
"""Half of the widest block that the open fingers pass over with room to spare, metres."""
FINGER_TIP = 0.019
"""How far the fingers reach beyond the tool centre point, metres."""

SHOULDER = np.array((*ROBOT_BASE[:2], ROBOT_BASE[2] + 0.333))
"""Where the arm's first three axes meet."""
WRIST_BEHIND_TOOL, WRIST_OFFSET = 0.247, 0.088
"""From the tool centre point back along the tool to the height of axis 6, and sideways to it."""
NEAREST_REACH, COMFORTABLE_REACH = 0.33, 0.69
"""Shoulder to wrist, metres: nearer, the arm folds up onto itself; stretched, it is 0.72 long."""
REST_YAW = float(REST_EULER[2])
COMFORTABLE_TURN = 1.8
"""A turn to either side of it that is within the last joint's limits wherever the arm is, radians."""

ROOM = 0.010
"""More clearance than this is not worth anything, metres."""
TIGHT = -0.002
"""The gripper is modelled a little larger than it is; less clearance than this means it collides, metres."""
GRIPPER_SIZE = 0.35
"""Nothing of the gripper or of the last way in is further than this from the tool centre point."""
LEANS = tuple(math.radians(degrees) for degrees in (0, 15, -15, 30, -30, 45, -45))
BACK_ALONG_TOOL = np.outer((0.0, 0.03, 0.09), (0.0, 0.0, 1.0))
"""Shifts (3, 3) from the final pose, in the tool's frame, at which the way in is checked, metres."""


def _grid(x: Sequence[float], y: Sequence[float], z: Sequence[float]) -> np.ndarray:
    return np.array(list(itertools.product(x, y, z)))


def _gripper_points(opening: float) -> np.ndarray:
    """Points (n, 3) on fingers and hand in the tool's frame, each finger ``opening`` from the middle."""
    depth = (FINGER_TIP, -0.01, -0.045, -0.085)
    inner, outer = opening, opening + 0.031
    fingers = _grid((-0.014, 0.014), (-outer, -(inner + outer) / 2, -inner, inner, (inner + outer) / 2, outer), depth)
    hand = _grid((-0.036, 0.0, 0.036), (-0.106, -0.07, -0.035, 0.0, 0.035, 0.07, 0.106), (-0.07, -0.11, -0.16))
    flange = _grid((-0.06, 0.0, 0.06), (-0.06, 0.0, 0.06), (-0.2,))
    return np.concatenate((fingers, hand, flange))


OPEN_GRIPPER, CLOSED_GRIPPER = _gripper_points(FINGER_OPEN), _gripper_points(0.0)

Option = tuple[Pose, float]
"""A pose, and what it costs beyond :func:`cost_of`."""


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """A pose and how good it is; higher is better."""

    pose: Pose
    score: float
    clearance: float


def tool_rotation(opening: np.ndarray, approach: np.ndarray) -> np.ndarray:
    """Rotation (3, 3) of a tool whose fingers open along one unit vector and point along another."""
    return np.column_stack((np.cross(opening, approach), opening, approach))


def yaw_of(rotation: np.ndarray) -> float:
    """Direction of the tool's first axis in the plane, radians, nearest to the rest pose's."""
    yaw = math.atan2(rotation[1, 0], rotation[0, 0])
    return yaw + 2 * math.pi * round((REST_YAW - yaw) / (2 * math.pi))


def reach(pose: Pose) -> float:
    """Distance from the shoulder to the wrist in that pose, metres, elbow plane upright."""
    wrist = pose.position - WRIST_BEHIND_TOOL * pose.approach
    outward = wrist - SHOULDER
    outward[2] = 0.0
    sideways = outward - (outward @ pose.approach) * pose.approach
    length = float(np.linalg.norm(sideways))
    if length > 1e-6:
        wrist = wrist - WRIST_OFFSET * sideways / length
    return float(np.linalg.norm(wrist - SHOULDER))


def cost_of(pose: Pose) -> float:
    """What leaning, turning and reaching far cost, in centimetres of clearance."""
    lean = math.acos(max(-1.0, min(1.0, float(pose.approach @ DOWN))))
    turn = abs(yaw_of(pose.rotation) - REST_YAW)
    away = reach(pose)
    strain = 10.0 * max(0.0, away - COMFORTABLE_REACH, NEAREST_REACH - away)
    strain += max(0.0, turn - COMFORTABLE_TURN)
    return 0.3 * lean**2 + 0.1 * turn**2 + 3.0 * strain


def clearance_of(pose: Pose, obstacles: Sequence[Box], points: np.ndarray) -> float:
    """Least distance to an obstacle on the last way in, metres. ``points`` (n, 3): the gripper, and
    what it holds, in the tool's frame."""
    # In the tool's frame the way in is a shift of the same points.
    on_the_way = (points[None] - BACK_ALONG_TOOL[:, None]).reshape(-1, 3) @ pose.rotation.T + pose.position
    nearby = near(obstacles, pose.position, GRIPPER_SIZE)
    return float(distances(on_the_way, nearby).min()) if nearby else math.inf


def best(
    poses: Iterable[Option],
    obstacles: Sequence[Box],
    points: np.ndarray,
    attempt: int = 0,
    through: Callable[[Pose], Sequence[Pose]] = lambda pose: (),
) -> Choice:
    """The best of the poses; at a later attempt, the next best that differs from those before.

    Each pose comes with what it costs beyond :func:`cost_of`. ``through``: where the tool goes
    from a pose, which must be clear as well.
    """
    candidates = [(cost_of(pose) + cost, order, pose) for order, (pose, cost) in enumerate(poses)]
    distinct: list[Choice] = []
    for cost, _, pose in sorted(candidates, key=lambda candidate: candidate[:2]):
        # No pose from here on can be better than with all the clearance there is to gain.
        if sum(choice.score >= 100.0 * ROOM - cost for choice in distinct) > attempt:
            break
        clearance = min(clearance_of(place, obstacles, points) for place in (pose, *through(pose)))
        choice = Choice(pose, 100.0 * min(clearance, ROOM) - cost, clearance)
        twin = next((i for i, other in enumerate(distinct) if not _differs(pose, other.pose)), None)
        if twin is None:
            distinct.append(choice)
        elif choice.score > distinct[twin].score:
            distinct[twin] = choice
    distinct.sort(key=lambda choice: -choice.score)
    usable = [choice for choice in distinct if choice.clearance > TIGHT]
    return usable[attempt] if attempt < len(usable) else distinct[attempt % len(distinct)]


def _differs(a: Pose, b: Pose) -> bool:
    return float(np.sum(a.rotation * b.rotation)) < 2.8 or float(np.linalg.norm(a.position - b.position)) > 0.02


def grasps(block: Box) -> Iterable[Option]:
    """Ways to take a block between the fingers, across any side that fits between them.

    Besides the plain way, the tool may lean about the line along which it opens, sit off the
    block's middle, and be twisted a little, since closing fingers straighten a block. A block that
    stands on an edge has no side to take it by: it is taken from above, wherever that is narrow enough.
    """
    regular = list(_across_a_side(block))
    if regular:
        return regular
    turns = np.arange(0.0, math.pi, math.radians(15))
    rotations = [about_z(turn) @ tool_rotation(SIDEWAYS, DOWN) for turn in turns]
    widths = [block.reach(rotation[:, 1]) for rotation in rotations]
    narrow = [r for r, width in zip(rotations, widths, strict=True) if width <= max(WIDEST_GRASP, min(widths))]
    return [(Pose(block.centre - FINGER_ABOVE * DOWN, rotation), 0.0) for rotation in narrow]


def _across_a_side(block: Box) -> Iterable[Option]:
    for axis in range(3):
        if block.half[axis] > WIDEST_GRASP:
            continue
        opening = block.axes[:, axis]
        if abs(opening[2]) > 0.5:
            continue
        straight = DOWN - (DOWN @ opening) * opening
        straight = straight / np.linalg.norm(straight)
        for lean, twist in itertools.product(LEANS, (0.0, TWIST, -TWIST)):
            approach = about(opening, lean) @ straight
            rotation = about(approach, twist) @ tool_rotation(opening, approach)
            if abs(yaw_of(rotation) - REST_YAW) > math.pi / 2:
                rotation = rotation * (-1.0, -1.0, 1.0)
            width = block.reach(rotation[:, 1])
            if width > WIDEST_GRASP:
                continue
            along = rotation[:, 0]
            height = FINGER_ABOVE + FINGER_HALF_THICKNESS * abs(math.sin(lean))
            spare = max(0.0, block.reach(along) - BLOCK_HALF_WIDTH - FINGER_HALF_THICKNESS)
            aside = WIDEST_GRASP - width
            for slip, shift in itertools.product(sorted({0.0, spare, -spare}), sorted({0.0, aside, -aside})):
                centre = block.centre + slip * along + shift * rotation[:, 1] - height * approach
                yield Pose(centre, rotation), 5.0 * abs(slip) + 5.0 * abs(shift) + 0.5 * abs(twist)


def held_points(tool: Pose, block: Box) -> np.ndarray:
    """Points (27, 3) of a held block in the tool's frame."""
    return (block.lattice - tool.position) @ tool.rotation


def level_rotations(tool: Pose, block: Box, yaws: Sequence[float]) -> Iterable[np.ndarray]:
    """Rotations of the tool that bring the held block to lie level, turned by each yaw (radians)."""
    # The block's axis that is nearest to the vertical is made vertical.
    vertical = block.axes[:, int(np.argmax(np.abs(block.axes[2])))]
    vertical = vertical * math.copysign(1.0, vertical[2])
    axis = np.cross(vertical, -DOWN)
    sine = float(np.linalg.norm(axis))
    levelled = about(axis / sine, math.asin(min(1.0, sine))) @ tool.rotation if sine > 1e-6 else tool.rotation
    for yaw in yaws:
        yield about_z(yaw) @ levelled


def leaning(opening: np.ndarray, towards: np.ndarray, lean: float) -> np.ndarray:
    """Rotation of a tool pointing down but for ``lean`` (radians) towards a horizontal unit vector."""
    approach = math.cos(lean) * DOWN + math.sin(lean) * towards
    opening = opening - (opening @ approach) * approach
    return tool_rotation(opening / np.linalg.norm(opening), approach)
