"""From what a network said to the commands of an environment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vla_bench.policies.errors import PolicyError
from vla_bench.policies.vla.actions.chunks import TemporalEnsemble
from vla_bench.policies.vla.actions.frames import tcp_to_world, tool_pose_to_world
from vla_bench.policies.vla.actions.normalisation import inverse_mu_law, unnormalise
from vla_bench.policies.vla.config import VlaConfig


@dataclass(frozen=True, slots=True)
class Prediction:
    """One predicted chunk."""

    arm: np.ndarray
    """(C, 6), scaled to [-1, 1]."""
    gripper: np.ndarray
    """(C,), opens when above ``threshold``."""
    threshold: float
    """0.5 for a probability, 0.0 for a value in [-1, 1]."""


def commands(
    prediction: Prediction,
    config: VlaConfig,
    *,
    execute: int = 1,
    released: bool = False,
    robot_state: np.ndarray | None = None,
    ensemble: TemporalEnsemble | None = None,
) -> np.ndarray:
    """(execute, 7) CALVIN relative actions with the gripper at -1 or 1, in the dtype of the prediction.

    Undoes the training's steps from the last to the first: tool frame, companding, scaling.

    Args:
        released: decide the gripper as the released evaluation does; see ``compat`` in
            :class:`vla_bench.policies.vla.options.VlaOptions`.
        robot_state: ``robot_obs`` at the time of the prediction, for actions in the tool's frame.
        ensemble: averages overlapping chunks, after everything else.
    """
    chunk = np.concatenate([prediction.arm, prediction.gripper[:, None]], axis=1)
    if released:
        opening = chunk[:, 6] > prediction.threshold
        chunk[:, 6] = np.where(opening, 1.0, 0.0 if prediction.threshold else -1.0)
    if config.action_frame != "world" and robot_state is None:
        raise PolicyError(f"vla: action_frame={config.action_frame} needs robot_obs, which the observation lacks")
    if config.action_frame == "tcp":
        chunk = tcp_to_world(chunk, robot_state)
    if config.mu_law is not None:
        chunk = inverse_mu_law(chunk, config.mu_law)
    if config.norm is not None:
        chunk = unnormalise(chunk, *config.norm, gripper_too=released)
    if config.action_frame == "tcp_pose":
        chunk = tool_pose_to_world(chunk, robot_state)
    chunk = chunk[:execute] if ensemble is None else ensemble(chunk, execute)
    chunk[:, 6] = np.where(chunk[:, 6] > prediction.threshold, 1.0, -1.0)
    return chunk
