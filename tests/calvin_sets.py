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
    robot_obs = np.cumsum(random.uniform(-0.01, 0.01, (steps + 1, 15)), axis=0)
    robot_obs[:, 14] = random.choice([-1.0, 1.0], steps + 1)
    images = {}
    for key, size in (sizes or SIZES).items():
        images[key] = np.full((steps + 1, size, size, 3), 90, np.uint8)
        for step, row in enumerate(robot_obs):
            x, y = (int((value + 0.2) / 0.4 * (size - 4)) % (size - 4) for value in row[:2])
            images[key][step, y : y + 4, x : x + 4] = 240
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


def write_set(folder: Path, count: int = 3, **more: object) -> Path:
    """A training split of ``count`` recordings; returns the data set's folder."""
    with DatasetWriter(folder / "training", provenance={"made_by": "a test"}) as writer:
        for seed in range(count):
            writer.write(recording(seed, **more))
    return folder
