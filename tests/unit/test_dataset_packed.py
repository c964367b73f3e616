"""Packing: the same frames as the source, resumed after being stopped, damage found."""

from __future__ import annotations

import json
import pickle
import time

import numpy as np
import pytest
from calvin_sets import recording, write_set
from PIL import Image

from tools.data_reading import resident, sparse_set
from vla_bench.envs.calvin.dataset import CalvinDataset, DatasetError, DatasetWriter, open_dataset, packing
from vla_bench.envs.calvin.dataset.packed import PackedDataset
from vla_bench.envs.calvin.dataset.packing import damaged_blocks, pack, plan_packing

KEYS = ("actions", "rel_actions", "robot_obs", "scene_obs", "rgb_static", "rgb_gripper")


@pytest.fixture
def source(tmp_path):
    return CalvinDataset(write_set(tmp_path / "source", 4))


def test_packed_frames_are_the_sources(source, tmp_path):
    packed = pack(source, tmp_path / "packed", plan_packing(source), threads=2)
    assert packed.annotations == source.annotations and packed.shapes == {key: source.shapes[key] for key in KEYS}
    assert np.array_equal(packed.recordings, source.recordings) and packed.label == "achieved"
    for indices in ([0], [3, 4, 5, 6], [51, 0, 12, 13, 13, 13], range(52)):
        expected = source.frames(indices, KEYS)
        found = packed.frames(indices, KEYS)
        for key in KEYS:
            assert found[key].dtype == expected[key].dtype and np.array_equal(found[key], expected[key])
    assert isinstance(open_dataset(tmp_path / "packed"), PackedDataset) and damaged_blocks(packed) == []
    again = pickle.loads(pickle.dumps(packed))
    assert np.array_equal(again.frames([7], KEYS)["rgb_static"], source.frames([7], KEYS)["rgb_static"])
    assert np.array_equal(packed.mapped("robot_obs")[7], source.frames([7], KEYS)["robot_obs"][0])


def test_only_what_annotations_reach_is_packed(tmp_path):
    from vla_bench.envs.calvin.dataset import RecordedAnnotation

    with DatasetWriter(tmp_path / "training") as writer:
        for seed in range(2):
            annotations = tuple(RecordedAnnotation(start, start + 4, "open_drawer", "pull") for start in (1, 3))
            writer.write(recording(seed, annotations=annotations))
    source = CalvinDataset(tmp_path)
    packed = pack(source, tmp_path / "packed", plan_packing(source))
    assert packed.ranges.tolist() == [[1, 7, 0], [14, 20, 7]]
    assert [packed.has(index) for index in (0, 1, 7, 8, 13, 14, 20, 21)] == [False, True, True, False] * 2
    with pytest.raises(DatasetError, match="frame 8 is not packed"):
        packed.frames([7, 8], ["actions"])
    whole = plan_packing(source, everything=True)
    assert whole.rows == 26


def test_images_are_resized_as_the_networks_preparation_does(source, tmp_path):
    packed = pack(source, tmp_path / "packed", plan_packing(source, sizes={"rgb_static": 32, "rgb_gripper": 8}))
    found = packed.frames([5], ["rgb_static", "rgb_gripper"])
    image = Image.fromarray(source.frames([5], ["rgb_static"])["rgb_static"][0])
    assert np.array_equal(found["rgb_static"][0], np.asarray(image.resize((32, 32), Image.Resampling.BICUBIC)))
    assert found["rgb_gripper"].shape == (1, 8, 8, 3)


def test_a_stopped_packing_goes_on_and_is_the_same(source, tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "BLOCK", 10)
    plan = plan_packing(source)
    whole = pack(source, tmp_path / "whole", plan)

    class Stopped(Exception):
        pass

    def stop(done, total):
        if done >= 20:
            raise Stopped

    with pytest.raises(Stopped):
        pack(source, tmp_path / "cut", plan, progress=stop)
    with pytest.raises(DatasetError, match=r"not packed to its end; .*data pack \S+ \S+cut"):
        open_dataset(tmp_path / "cut")
    with (tmp_path / "cut" / "packing.jsonl").open("ab") as file:
        file.write(b'{"block": 2, "su')
    asked = []
    monkeypatch.setattr(
        CalvinDataset,
        "frames",
        lambda self, indices, keys, real=CalvinDataset.frames: asked.append(len(indices)) or real(self, indices, keys),
    )
    again = pack(source, tmp_path / "cut", plan)
    assert sum(asked) == plan.rows - 20
    for key in KEYS:
        assert (tmp_path / "cut" / f"{key}.npy").read_bytes() == (tmp_path / "whole" / f"{key}.npy").read_bytes()
    assert again.digest == whole.digest and again.index["sums"] == whole.index["sums"]
    assert pack(source, tmp_path / "cut", plan).digest == whole.digest  # nothing left to do


def test_damage_is_found_and_named(source, tmp_path):
    packed = pack(source, tmp_path / "packed", plan_packing(source))
    path = tmp_path / "packed" / "rel_actions.npy"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    assert damaged_blocks(packed) == [("rel_actions", 0, 51)]
    path.write_bytes(content[:-100])
    with pytest.raises(DatasetError, match=r"rel_actions.npy holds fewer than 52 rows"):
        open_dataset(tmp_path / "packed")


def test_what_cannot_be_packed(source, tmp_path):
    with pytest.raises(DatasetError, match="has no depth_static"):
        plan_packing(source, keys=["depth_static"])
    with pytest.raises(DatasetError, match="only camera images"):
        plan_packing(source, sizes={"robot_obs": 3})
    pack(source, tmp_path / "packed", plan_packing(source))
    with pytest.raises(DatasetError, match="another packing"):
        pack(source, tmp_path / "packed", plan_packing(source, sizes={"rgb_static": 10}))
    with np.load(source.path(20)) as held:
        frame = dict(held)
    frame["rgb_static"] = np.zeros((40, 40, 3), np.uint8)
    np.savez_compressed(source.path(20), **frame)
    with pytest.raises(DatasetError, match=r"rgb_static of .*20.npz is \(40, 40, 3\)"):
        pack(source, tmp_path / "other", plan_packing(source, sizes={"rgb_static": 10}))


def test_reading_holds_nothing(tmp_path):
    """Half a gigabyte of windows goes through the reader; the process keeps none of it."""
    dataset = open_dataset(sparse_set(tmp_path / "sparse", 60_000, 224))
    before = 0.0
    for number in range(220):
        each = dataset.annotations[number * 7 % 1000]
        dataset.frames(range(each.start, each.start + 8), KEYS)
        if number == 20:
            before = resident()
    assert resident() - before < 50


def test_a_million_frames_open_in_a_moment(tmp_path):
    begun = time.perf_counter()
    dataset = open_dataset(sparse_set(tmp_path / "sparse", 1_000_000, 224))
    opened = time.perf_counter()
    assert len(dataset.annotations) == 16_666 and dataset.has(1_000_000)
    assert dataset.frames(range(1_000_000, 1_000_008), KEYS)["rgb_static"].shape == (8, 224, 224, 3)
    assert opened - begun < 5  # with the making of it; tools/data_reading measures: a fifth of a second
    assert sum(path.stat().st_blocks * 512 for path in (tmp_path / "sparse").iterdir()) < 20e6


def test_an_index_of_another_form_is_refused(source, tmp_path):
    pack(source, tmp_path / "packed", plan_packing(source))
    path = tmp_path / "packed" / "packed.json"
    held = json.loads(path.read_text())
    path.write_text(json.dumps({**held, "format": 9}))
    with pytest.raises(DatasetError, match="of form 9"):
        open_dataset(tmp_path / "packed")
    path.write_text("{")
    with pytest.raises(DatasetError, match="is damaged"):
        open_dataset(tmp_path / "packed")
