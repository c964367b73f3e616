"""What the expert makes of the simulator's state: tool, blocks, furniture, and what is held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vla_bench.envs.calvin.oracle import ROBOT, Contact
from vla_bench.envs.calvin.scenes import BLOCK_HALF_WIDTH
from vla_bench.envs.calvin.state import CalvinState
from vla_bench.policies.expert.boxes import Box
from vla_bench.policies.expert.furniture import Furniture
from vla_bench.policies.expert.rotations import matrix_of_euler, matrix_of_quaternion

HELD_WITHIN = 0.05
"""A held block's centre is this close to the tool centre point, metres."""
FINGER_LINKS = (frozenset((9, 10)), frozenset((11, 12)))
"""Links of the left and of the right finger."""


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """Where the tool centre point is and how the tool is turned.

    The columns of ``rotation`` are the tool's axes in the world: the third points out of the
    gripper, the second is the line along which the fingers open.
    """

    position: np.ndarray
    """(3,) metres, world."""
    rotation: np.ndarray
    """(3, 3)."""

    @property
    def approach(self) -> np.ndarray:
        """(3,) unit vector out of the gripper."""
        return self.rotation[:, 2]

    def shifted(self, offset: np.ndarray) -> Pose:
        """Moved by a world vector (3,), metres."""
        return Pose(self.position + offset, self.rotation)

    def withdrawn(self, distance: float) -> Pose:
        """Moved backwards along the approach, metres."""
        return Pose(self.position - distance * self.approach, self.rotation)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The scene at one moment, read from :class:`vla_bench.envs.calvin.state.CalvinState`."""

    state: CalvinState
    tool: Pose
    blocks: Mapping[str, Box]
    furniture: Furniture
    held: str | None
    """The block between the fingers, if any."""
    touched: Mapping[str, frozenset[Contact]]
    """Bodies and links that each block touches."""

    @classmethod
    def of(cls, state: CalvinState) -> View:
        """Reads the state, contacts included, so call it before the simulation moves on."""
        robot = state.robot_obs
        tool = Pose(robot[:3].copy(), matrix_of_euler(robot[3:6]))
        blocks = {
            block.name: Box(
                state.block_positions[block.name],
                matrix_of_quaternion(state.block_quaternions[block.name]),
                np.array((block.half_length, BLOCK_HALF_WIDTH, BLOCK_HALF_WIDTH)),
            )
            for block in state.scene.blocks
        }
        touched = {name: state.information.contacts(state.information.body(name)) for name in blocks}
        return cls(state, tool, blocks, Furniture.of(state), held_block(state), touched)

    def obstacles(self, *ignoring: str) -> list[Box]:
        """Everything solid but the robot and the blocks named."""
        return [
            *self.furniture.boxes,
            *(box for name, box in self.blocks.items() if name not in ignoring),
        ]


def held_block(state: CalvinState) -> str | None:
    """The block in the hand, if any: near the tool centre point, and either touched by both fingers or
    by nothing but the robot.

    The last gripper command does not matter: after a reset to a state with a block in the hand it
    says open, but the fingers hold. Nor need both touch it then, before they have closed.
    """
    for name, position in state.block_positions.items():
        if np.linalg.norm(position - state.robot_obs[:3]) > HELD_WITHIN:
            continue
        contacts = state.information.contacts(state.information.body(name))
        touching = {link for body, link in contacts if body == ROBOT}
        gripped = all(touching & finger for finger in FINGER_LINKS)
        if gripped or (touching and len({body for body, _ in contacts}) == 1):
            return name
    return None
