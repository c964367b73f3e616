"""A loss that asks what the action head reads for the tool's next waypoint.

Far from a block the expert's actions are at their bounds, so that a chunk tells the direction and hardly the place, and
a network is slow to find out which of the blocks it sees is meant. Where the tool will be when the gripper next opens
or closes, or where the annotation ends, is in every recording; a small head that has to read it off the action head's
input teaches the policy to find it. (Waypoints at changes of the gripper are James and Davison's keyframes,
"Q-attention", RA-L 2022.) The head is thrown away afterwards.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from vla_bench.policies.vla.model import VlaModel
from vla_bench.policies.vla.training.taught import WAYPOINT_HEAD

BETA = 0.1
HIDDEN = 256
REACH = 0.15
"""Metres that count as 1."""
TARGETS = 5


class WaypointHead(nn.Module):
    """(N, features) to what :func:`waypoints` says."""

    def __init__(self, features: int, ratio: float):
        """``features``: numbers the action head reads. ``ratio``: weight of the loss."""
        super().__init__()
        self.ratio = ratio
        self.mlp = nn.Sequential(nn.Linear(features, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, TARGETS))

    def forward(self, features: Tensor, wanted: Tensor) -> Tensor:
        """The loss: smooth L1 between what is read off and ``wanted`` (N, 5)."""
        return functional.smooth_l1_loss(self.mlp(features.float()), wanted.to(features.device), beta=BETA)


def waypoints(states: np.ndarray, gripper: np.ndarray, frames: int) -> np.ndarray:
    """Where the tool goes from each of the first frames of a recording.

    Args:
        states: (n, 15) ``robot_obs`` up to the end of the annotation, the frames asked for first.
        gripper: (n,) commands, the sign counts.
        frames: for how many of them.

    Returns:
        (frames, 5) float32: from the tool to its place at the next change of the gripper's command, else at the end,
        in the world, 0.15 m as 1; cosine and sine of twice the turn about the vertical to there.
    """
    closed = gripper < 0
    made = np.empty((frames, TARGETS), np.float32)
    for frame in range(frames):
        changed = np.flatnonzero(closed[frame:] != closed[frame])
        there = frame + int(changed[0]) if len(changed) else len(states) - 1
        turn = 2 * (states[there, 5] - states[frame, 5])
        made[frame, :3] = (states[there, :3] - states[frame, :3]) / REACH
        made[frame, 3:] = np.cos(turn), np.sin(turn)
    return made


def add_waypoint_head(model: VlaModel, ratio: float) -> None:
    """Gives the model a head for the loss."""
    features = model.adapter.hidden_size() * (1 if model.config.generates_tokens else model.config.latent)
    model.add_module(WAYPOINT_HEAD, WaypointHead(features, ratio).to(model.device))
