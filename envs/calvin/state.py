"""The numbers of CALVIN's state vectors by name, and the whole state of a scene."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vla_bench.envs.calvin.oracle import Information
from vla_bench.envs.calvin.scenes import Scene
from vla_bench.envs.simulation import EpisodeStart

ROBOT_OBS = (
    *(f"tcp_{axis}" for axis in "xyz"),
    *(f"tcp_euler_{axis}" for axis in "xyz"),
    "gripper_width",
    *(f"joint_{number}" for number in range(1, 8)),
    "gripper_command",
)
"""Names of ``robot_obs`` (15,): metres and radians in the world frame, width 0-0.08 m, joints in
radians, last gripper command -1 (close) or 1 (open)."""

TABLE_OBS = ("slide", "drawer", "button", "switch", "lightbulb", "led")
"""Names of the first six numbers of ``scene_obs`` (24,): joint positions in metres, lights 0 or 1."""


def scene_obs_names(scene: Scene) -> tuple[str, ...]:
    """Names of ``scene_obs`` (24,) in ``scene``: the blocks' order differs between scenes."""
    parts = ("x", "y", "z", "euler_x", "euler_y", "euler_z")
    return (*TABLE_OBS, *(f"{block.name}_{part}" for block in scene.blocks for part in parts))


STATE_SIZES = {"robot_obs": 15, "scene_obs": 24}
"""Lengths of the vectors an episode starts from."""


def state_vector(start: EpisodeStart, name: str) -> np.ndarray | None:
    """A vector of :data:`STATE_SIZES` as float64, None when ``start`` leaves it open.

    Raises:
        ValueError: it has another length.
    """
    values = start.state.get(name)
    if values is None:
        return None
    vector = np.array(values, dtype=np.float64)
    if vector.shape != (STATE_SIZES[name],):
        raise ValueError(f"{name} must hold {STATE_SIZES[name]} numbers, not {vector.size}")
    return vector


@dataclass(frozen=True, slots=True, eq=False)
class CalvinState:
    """The simulator's state between two control steps; see :class:`vla_bench.envs.simulation.SceneState`."""

    scene: Scene
    subtask: str
    """The subtask that is being judged."""
    robot_obs: np.ndarray
    """(15,) float64, named by :data:`ROBOT_OBS`."""
    scene_obs: np.ndarray
    """(24,) float64, named by :func:`scene_obs_names`."""
    target_position: np.ndarray
    """(3,) the accumulated target of relative actions, metres, world."""
    target_euler: np.ndarray
    """(3,) its orientation, radians, extrinsic x-y-z, world."""
    block_positions: Mapping[str, np.ndarray]
    """(3,) centre of each block, metres, world."""
    block_quaternions: Mapping[str, np.ndarray]
    """(4,) x y z w of each block, world."""
    block_velocities: Mapping[str, np.ndarray]
    """(6,) linear (m/s) and angular (rad/s) velocity of each block, world."""
    joint_ranges: Mapping[str, tuple[float, float]]
    """Limits of slide, drawer, button and switch, metres."""
    information: Information
    """Contacts and the rest, live: read it before the simulation moves on."""

    def joint(self, name: str) -> float:
        """Position of ``slide``, ``drawer``, ``button`` or ``switch``, metres."""
        return float(self.scene_obs[TABLE_OBS.index(name)])

    def digest(self) -> str:
        """Digest of the exact bits of robot_obs, scene_obs and the blocks' velocities."""
        bits = hashlib.sha256()
        bits.update(self.robot_obs.tobytes())
        bits.update(self.scene_obs.tobytes())
        for block in self.scene.blocks:
            bits.update(self.block_velocities[block.name].tobytes())
        return bits.hexdigest()[:16]
