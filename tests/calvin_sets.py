"""Small data sets of CALVIN's layout, made for a test."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vla_bench.envs.calvin.dataset import DatasetWriter, RecordedAnnotation, Recording

SIZES = {"rgb_static": 20, "rgb_gripper": 12}


def recording(
    seed: int, steps: int = 12, scene: str = "D", annotations: tuple | None = None, sizes: dict | None = None
) -> Recording:
    """A smooth walk whose images show where the arm is."""
    random = np.random.default_rng(seed)
    speed = random.gamma(1, 1, (steps + 1, 1))  # of the arm as a whole
    robot_obs = np.cumsum(random.uniform(-0.008, 0.008, (steps + 1, 15)) * speed, axis=0)
    robot_obs[:, 14] = random.choice([-1.0, 1.0], steps + 1)
    images = {key: waves(robot_obs, size) for key, size in (sizes or SIZES).items()}
    return Recording(
        scene=scene,
        robot_obs=robot_obs,
        scene_obs=np.cumsum(random.uniform(-0.001, 0.001, (steps + 1, 24)), axis=0),
        images=images,
        annotations=(
            (RecordedAnnotation(0, steps, "open_drawer", f"pull the handle {seed % 3}"),)
            if annotations is None
            else annotations
        ),
    )


def waves(robot_obs: np.ndarray, size: int) -> np.ndarray:
    """(n, size, size, 3) uint8 of waves that move as the arm does: any motion changes the picture, more the more."""
    y, x = np.mgrid[:size, :size] * (12 / size)
    shift = 12 * robot_obs[:, :3, None, None]
    waves = np.stack([np.sin(x + shift[:, 0]), np.sin(y + shift[:, 1]), np.sin(x + y + shift[:, 2])], -1)
    return (128 + 120 * waves).astype(np.uint8)


def write_set(folder: Path, count: int = 3, **more: object) -> Path:
    """A training split of ``count`` recordings; returns the data set's folder."""
    with DatasetWriter(folder / "training", provenance={"made_by": "a test"}) as writer:
        for seed in range(count):
            writer.write(recording(seed, **more))
    return folder
