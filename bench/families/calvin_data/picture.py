"""A look at a data set: one annotation of each task, some frames of it in a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

    from vla_bench.envs.calvin.dataset import Annotation, Dataset

CELL = 100
"""Pixels a side of a frame."""
COLUMNS = 5
LINE = 16
"""Pixels of a line of text."""


def contact_sheet(dataset: Dataset, seed: int = 0) -> Image.Image:
    """An RGB picture: a row a task, with the static camera over time and the gripper camera of first and last frame.

    Args:
        dataset: The split.
        seed: Of the choice of one annotation a task.

    Raises:
        DatasetError: it has no annotation or no static camera.
    """
    from PIL import Image, ImageDraw

    from vla_bench.envs.calvin.dataset.choosing import choose
    from vla_bench.envs.errors import DatasetError

    if not dataset.annotations or "rgb_static" not in dataset.shapes:
        raise DatasetError(f"{dataset.folder} has no annotated images to show")
    chosen = choose(dataset.annotations, per_task=1, seed=seed)
    chosen = tuple(sorted(chosen, key=lambda each: each.task))
    gripper = "rgb_gripper" in dataset.shapes
    width = CELL * (COLUMNS + 2 * gripper)
    sheet = Image.new("RGB", (width, len(chosen) * (CELL + LINE)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, each in enumerate(chosen):
        top = row * (CELL + LINE)
        scene = f" ({each.scene})" if each.scene else ""
        draw.text((2, top + 2), f"{each.task}{scene}, {each.start}-{each.end}: {each.instruction}", fill="black")
        for place, image in enumerate(_images(dataset, each, gripper)):
            sheet.paste(Image.fromarray(image).resize((CELL, CELL)), (place * CELL, top + LINE))
    return sheet


def _images(dataset: Dataset, each: Annotation, gripper: bool) -> list[np.ndarray]:
    times = np.linspace(each.start, max(each.start, each.end - 1), COLUMNS).round().astype(int)
    images = list(dataset.frames(times, ("rgb_static",))["rgb_static"])
    if gripper:
        images += list(dataset.frames(times[[0, -1]], ("rgb_gripper",))["rgb_gripper"])
    return images
