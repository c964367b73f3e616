"""The reader and the window lists against a data set of CALVIN's form and the original loader's own lists."""

from __future__ import annotations

import re

import numpy as np
import pytest
from training_recordings import DATASET, needs_training_recordings, read_json

from vla_bench.envs.calvin.dataset import CalvinDataset, windows
from vla_bench.envs.calvin.dataset.labels import absolute_actions, relative_actions
from vla_bench.envs.calvin.dataset.windows import window_frames

pytestmark = needs_training_recordings

LISTS = (
    *("W1_C10", "W4_C5", "W8_C1", "W8_C10", "W16_C10", "W8_C10_skip_frames_3"),
    *("validation_W1_C10", "validation_W4_C5", "validation_W8_C1", "validation_W8_C10", "validation_W16_C10"),
)


@pytest.mark.parametrize("name", LISTS)
def test_windows_are_the_original_loaders(name):
    window, chunk, skip = re.search(r"W(\d+)_C(\d+)(?:_skip_frames_(\d+))?", name).groups()
    dataset = CalvinDataset(DATASET, "validation" if name.startswith("validation") else "training")
    found = windows(dataset.annotations, int(window), int(chunk), skip_frames=int(skip or 1))
    assert [[each.first, each.annotation, -each.padding] for each in found] == read_json("items.json")[name]
    for each in found:
        frames, real = window_frames(each.first, dataset.annotations[each.annotation].end, int(window), int(chunk))
        assert (~real).sum() == each.padding and real[: int(window)].all()
        assert (frames[~real] == dataset.annotations[each.annotation].end).all()


def test_what_the_set_says_of_itself():
    dataset = CalvinDataset(DATASET)
    assert dataset.recordings.tolist() == [[100, 139], [200, 244], [300, 337]]
    assert [(each.start, each.end, each.scene) for each in dataset.annotations] == [
        *[(102, 135, "A"), (203, 244, "B"), (300, 337, "C"), (210, 219, "B"), (120, 126, "A")]
    ]
    assert dataset.annotations[0].task == "move_slider_right"
    assert dataset.annotations[0].instruction == "move the door all the way to the right"
    assert dataset.shapes["rgb_static"] == (200, 200, 3) and dataset.label == "achieved"
    assert dataset.has(139) and not dataset.has(140)
    assert CalvinDataset(DATASET, "validation").annotations[0].scene == "D"


def test_frames_are_what_numpy_reads_in_the_order_asked_for():
    dataset = CalvinDataset(DATASET)
    found = dataset.frames([130, 102, 130], ("rgb_gripper", "rel_actions"))
    for place, index in enumerate((130, 102, 130)):
        with np.load(DATASET / "training" / f"episode_{index:07d}.npz") as frame:
            assert np.array_equal(found["rgb_gripper"][place], frame["rgb_gripper"])
            assert np.array_equal(found["rel_actions"][place], frame["rel_actions"].astype(np.float32))
    assert found["rel_actions"].dtype == np.float32


def test_labels_follow_from_the_states():
    """What the original's renderer wrote, computed from the states alone."""
    for index in (100, 137, 210, 320):
        with (
            np.load(DATASET / "training" / f"episode_{index:07d}.npz") as frame,
            np.load(DATASET / "training" / f"episode_{index + 1:07d}.npz") as following,
        ):
            states = np.stack([frame["robot_obs"], following["robot_obs"]])
            actions = absolute_actions(states)
            assert np.array_equal(actions[0], frame["actions"])
            assert np.array_equal(relative_actions(actions, states[:-1])[0], frame["rel_actions"])
