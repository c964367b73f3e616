"""Writing CALVIN's layout, reading it back, being stopped in between, and what is refused."""

from __future__ import annotations

import io
import pickle
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
from calvin_sets import recording, write_set
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_bench.envs.calvin.dataset import (
    Annotation,
    CalvinDataset,
    DatasetError,
    DatasetWriter,
    RecordedAnnotation,
    windows,
)
from vla_bench.envs.calvin.dataset.journal import JOURNAL
from vla_bench.envs.calvin.dataset.labels import relative_actions
from vla_bench.envs.calvin.dataset.pickles import load_object, save_object
from vla_bench.envs.calvin.dataset.statistics import read_statistics


def all_frames(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_set_reads_back_as_it_was_written(tmp_path):
    dataset = CalvinDataset(write_set(tmp_path))
    assert dataset.recordings.tolist() == [[0, 12], [13, 25], [26, 38]]
    assert [(each.start, each.end) for each in dataset.annotations] == [(0, 12), (13, 25), (26, 38)]
    assert {each.scene for each in dataset.annotations} == {"D"}
    for number, (first, last) in enumerate(dataset.recordings):
        made = recording(number)
        found = dataset.frames(range(first, last + 1), ("rgb_static", "rgb_gripper", "scene_obs"))
        assert np.array_equal(found["rgb_static"], made.images["rgb_static"])
        assert np.array_equal(found["rgb_gripper"], made.images["rgb_gripper"])
        assert np.array_equal(found["scene_obs"], made.scene_obs.astype(np.float32))


def test_actions_are_the_next_state_and_relative_ones_the_way_there(tmp_path):
    folder = write_set(tmp_path) / "training"
    for first, last in CalvinDataset(folder).recordings:
        frames = [dict(np.load(folder / f"episode_{index:07d}.npz")) for index in range(first, last + 1)]
        for now, following in pairwise(frames):
            assert np.array_equal(now["actions"][:6], following["robot_obs"][:6])
            assert now["actions"][6] == following["robot_obs"][14]
            expected = relative_actions(now["actions"][None], now["robot_obs"][None])[0]
            assert np.array_equal(now["rel_actions"], expected)
        assert np.array_equal(frames[-1]["actions"][:6], frames[-1]["robot_obs"][:6])  # stays
        assert not frames[-1]["rel_actions"][:6].any()


def test_index_files_are_what_the_original_loaders_open(tmp_path):
    """The calls of DiskDataset and DiskCalvinDataset, restated."""
    folder = write_set(tmp_path) / "training"
    held = np.load(folder / "lang_annotations" / "auto_lang_ann.npy", **{"allow_pickle": True}).item()
    assert held["info"]["indx"] == [(0, 12), (13, 25), (26, 38)] and held["language"]["emb"].shape == (3, 1, 0)
    assert np.load(folder / "scene_info.npy", **{"allow_pickle": True}).item() == {"calvin_scene_D": [0, 38]}
    assert np.load(folder / "ep_start_end_ids.npy").tolist() == [[0, 12], [13, 25], [26, 38]]
    assert np.load(folder / "ep_lens.npy").tolist() == [13, 13, 13]
    for _, end in held["info"]["indx"]:
        assert (folder / f"episode_{end:07d}.npz").is_file()  # what pads the last chunks


def test_object_arrays_name_nothing_that_old_numpy_lacks(tmp_path):
    path = tmp_path / "x.npy"
    save_object(path, {"emb": np.ones((2, 1, 3), np.float32), "ann": ["a"]})
    content = path.read_bytes()
    assert b"numpy._core" not in content and b"numpy.core.multiarray" in content
    assert np.array_equal(load_object(path)["emb"], np.ones((2, 1, 3)))
    assert np.array_equal(np.load(path, **{"allow_pickle": True}).item()["emb"], np.ones((2, 1, 3)))


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_annotations_of_any_protocol_are_read(tmp_path, protocol):
    array = np.array({"a": np.array(["x", "yy"]), "b": np.float64(2), "c": [(np.int64(1), 2)]}, dtype=object)
    path = tmp_path / "x.npy"
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        pickle.dump(array, file, protocol=protocol)
    found = load_object(path)
    assert type(found["a"]) is np.ndarray and isinstance(found["b"], np.float64)
    assert found["a"].tolist() == ["x", "yy"] and found["b"] == 2 and found["c"] == [(1, 2)]


def test_a_number_in_a_pickle_is_no_order_for_memory():
    """A memo of two billion places is 32 GB to the unpickler written in C."""
    from vla_bench.envs.calvin.dataset.pickles import unpickle

    assert unpickle(b"\x80\x04K\x01r\xff\xff\xff\x7f.", "x") == 1


def test_a_dtype_that_lies_is_not_believed():
    """numpy's own dtype takes any flags from a pickle: numbers that are said to be pointers would crash it."""
    from vla_bench.envs.calvin.dataset.pickles import unpickle

    content = pickle.dumps(np.arange(3), protocol=2)
    lie = content.replace(b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t", b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x3ft")
    assert lie != content
    found = unpickle(lie, "x")
    assert found.dtype == np.int64 and not found.dtype.hasobject and found.tolist() == [0, 1, 2]
    structured = pickle.dumps(np.zeros(2, [("a", "i4"), ("b", "O")]), protocol=4)
    with pytest.raises(DatasetError, match=r"a dtype|structured"):
        unpickle(structured, "x")


class Runs:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


def hostile(tmp_path):
    import builtins
    import os

    mark = tmp_path / "ran"
    yield Runs(os.system, (f"touch {mark}",))
    yield Runs(builtins.eval, (f"open({str(mark)!r}, 'w')",))
    yield Runs(np.load, (str(mark),))
    yield Runs(getattr, (np.ndarray, "tofile"))
    yield {"language": [Runs(builtins.open, (str(mark), "w"))]}


def test_a_pickle_that_wants_to_run_code_runs_none(tmp_path):
    write_set(tmp_path)
    path = tmp_path / "training" / "lang_annotations" / "auto_lang_ann.npy"
    count = 0
    for value in hostile(tmp_path):
        array = np.empty((), dtype=object)
        array[()] = value
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
            pickle.dump(array, file, protocol=4)
        with pytest.raises(DatasetError, match=r"auto_lang_ann.npy is a pickle that wants to call \S+\.\w+, which"):
            _ = CalvinDataset(tmp_path).annotations
        assert not (tmp_path / "ran").exists()
        count += 1
    assert count == 5


@given(st.binary(max_size=200), st.integers(0, 400))
@settings(max_examples=200, deadline=None)
def test_a_damaged_pickle_is_a_sentence(garbage, place):
    from vla_bench.envs.calvin.dataset.pickles import unpickle

    buffer = io.BytesIO()
    pickle.dump({"a": np.arange(20), "b": ["text"] * 5}, buffer, protocol=4)
    content = buffer.getvalue()
    place = min(place, len(content))
    with suppress(DatasetError):
        unpickle(content[:place] + garbage + content[place + len(garbage) :], "x")


def test_a_killed_writer_is_gone_on_with_and_the_set_is_the_same(tmp_path):
    whole = write_set(tmp_path / "whole", 4) / "training"
    folder = tmp_path / "cut" / "training"
    writer = DatasetWriter(folder, provenance={"made_by": "a test"})
    for seed in range(2):
        writer.write(recording(seed))
    del writer
    # in the middle of the third recording: some frames, half a frame, half a line
    for index in (26, 27):
        (folder / f"episode_{index:07d}.npz").write_bytes(b"PK half")
    with (folder / JOURNAL).open("ab") as file:
        file.write(b'{"first":26,"la')
    with pytest.raises(DatasetError, match=r"was not finished: 2 recordings .* data finish"):
        CalvinDataset(folder)
    with DatasetWriter(folder, provenance={"made_by": "a test"}) as writer:
        assert writer.recordings == 2 and writer.next_frame == 26
        for seed in range(writer.recordings, 4):
            writer.write(recording(seed))
    assert all_frames(folder) == all_frames(whole)


def test_a_cut_off_set_can_be_closed_as_it_is(tmp_path):
    writer = DatasetWriter(tmp_path / "training", label="achieved", provenance={"a": 1})
    writer.write(recording(0))
    again = DatasetWriter.reopen(tmp_path / "training")
    again.finish()
    assert len(CalvinDataset(tmp_path).annotations) == 1
    again.write(recording(1))  # more after finishing: unfinished again until closed
    with pytest.raises(DatasetError, match="2 recordings are written, of which 1"):
        CalvinDataset(tmp_path)


def test_commanded_labels_are_written_and_said(tmp_path):
    random = np.random.default_rng(0)
    made = recording(0)
    sent = random.uniform(-1, 1, (12, 7)), random.uniform(-1, 1, (12, 7))
    fields = {name: getattr(made, name) for name in ("scene", "robot_obs", "scene_obs", "images", "annotations")}
    with DatasetWriter(tmp_path / "training", label="commanded") as writer:
        writer.write(type(made)(**fields, actions=sent[0], rel_actions=sent[1]))
        with pytest.raises(DatasetError, match="commanded needs actions"):
            writer.write(made)
    dataset = CalvinDataset(tmp_path)
    assert dataset.label == "commanded" and "lags" in dataset.notes["label_means"]
    found = dataset.frames(range(12), ("actions", "rel_actions"))
    assert np.array_equal(found["rel_actions"], sent[1].astype(np.float32))
    with pytest.raises(DatasetError, match="another kind"):
        DatasetWriter(tmp_path / "training", label="achieved")


def test_statistics_are_of_the_frames(tmp_path):
    dataset = CalvinDataset(write_set(tmp_path))
    found = read_statistics(dataset.folder / "statistics.yaml")
    frames = dataset.frames(range(39), ("robot_obs", "scene_obs", "actions"))
    np.testing.assert_allclose(found.robot_mean, frames["robot_obs"].mean(0), atol=1e-6)
    np.testing.assert_allclose(found.scene_deviation, frames["scene_obs"].std(0), atol=1e-6)
    np.testing.assert_allclose(found.action_high, frames["actions"].max(0), atol=1e-6)


def test_the_environment_can_be_built_again(tmp_path):
    """What the original's ``get_env`` reads, resolved as it resolves it."""
    from omegaconf import OmegaConf

    config = OmegaConf.load(write_set(tmp_path) / "training" / ".hydra" / "merged_config.yaml")
    del config.cameras["gripper"]  # as it does with cameras that nobody looks through
    env = OmegaConf.to_container(config.env, resolve=True)
    assert env["_target_"] == "calvin_env.envs.play_table_env.PlayTableSimEnv" and list(env["cameras"]) == ["static"]
    assert env["cameras"]["static"]["width"] == 20 and env["robot_cfg"]["tcp_link_id"] == 15
    assert list(env["scene_cfg"]["objects"]["movable_objects"]) == ["block_red", "block_blue", "block_pink"]
    assert env["scene_cfg"]["surfaces"]["table"] == [[0.0, -0.15, 0.46], [0.35, -0.03, 0.46]]


def test_scenes_that_come_back_are_still_known(tmp_path):
    with DatasetWriter(tmp_path / "training") as writer:
        for seed, scene in enumerate("AABA"):
            writer.write(recording(seed, scene=scene))
    dataset = CalvinDataset(tmp_path)
    assert [each.scene for each in dataset.annotations] == list("AABA")
    assert dict((name, (first, last)) for name, first, last in dataset.scenes) == {"A": (0, 25), "B": (26, 38)}


def damage(folder, kind):
    path = folder / "training" / "episode_0000005.npz"
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:300])
    elif kind == "missing":
        path.unlink()
    else:
        with np.load(path) as frame:
            held = dict(frame)
        if kind == "robot":
            held["robot_obs"] = np.zeros(8)
        elif kind == "keys":
            held = {"state": np.zeros(8), "image": held["rgb_static"]}
        elif kind == "size":
            held["rgb_static"] = np.zeros((30, 30, 3), np.uint8)
        np.savez_compressed(path, **held)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("truncated", r"episode_0000005.npz is truncated or damaged"),
        ("missing", r"frame episode_0000005.npz is missing in"),
        ("robot", r"robot_obs of .*5.npz is \(8,\) float64; CALVIN's has 15 .* another robot"),
        ("keys", r"5.npz has no rgb_static, robot_obs; it has image, state"),
        ("size", r"rgb_static of .*5.npz is \(30, 30, 3\), of the frames before it \(20, 20, 3\)"),
    ],
)
def test_a_bad_frame_is_named(tmp_path, kind, said):
    write_set(tmp_path)
    damage(tmp_path, kind)
    with pytest.raises(DatasetError, match=said):
        CalvinDataset(tmp_path).frames(range(3, 8), ("rgb_static", "robot_obs"))


def test_folders_that_are_no_data_set(tmp_path):
    with pytest.raises(DatasetError, match="there is no folder"):
        CalvinDataset(tmp_path / "none")
    with pytest.raises(DatasetError, match=r"neither ep_start_end_ids.npy nor training/"):
        CalvinDataset(tmp_path)
    write_set(tmp_path)
    with pytest.raises(DatasetError, match=r"nor validation/; it has training/"):
        CalvinDataset(tmp_path, "validation")
    (tmp_path / "training" / "lang_annotations" / "auto_lang_ann.npy").unlink()
    with pytest.raises(DatasetError, match="Some copies"):
        _ = CalvinDataset(tmp_path).annotations
    (tmp_path / "training" / "ep_start_end_ids.npy").unlink()
    with pytest.raises(DatasetError, match=r"ep_start_end_ids"):
        CalvinDataset(tmp_path)


def test_recordings_that_cannot_be_are_refused(tmp_path):
    writer = DatasetWriter(tmp_path / "training")
    with pytest.raises(DatasetError, match="annotation of frames 0 to 13 in a recording of 12 steps"):
        writer.write(recording(0, annotations=(RecordedAnnotation(0, 13, "open_drawer", "pull"),)))
    writer.write(recording(0))
    with pytest.raises(DatasetError, match="does not fit"):
        writer.write(recording(1, sizes={"rgb_static": 30, "rgb_gripper": 12}))
    with pytest.raises(DatasetError, match="training or validation in its path"):
        DatasetWriter("/nowhere/demos")


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, 40)), max_size=5),
    *(st.integers(1, 12) for _ in range(3)),
)
def test_windows_lie_in_their_annotations(ranges, window, chunk, skip):
    annotations = [Annotation(n, s, s + length, "t", "i", None) for n, (s, length) in enumerate(ranges)]
    found = windows(annotations, window, chunk, skip_frames=skip)
    for each in annotations:
        starts = [one.first for one in found if one.annotation == each.number]
        assert starts == [s for s in range(each.start, each.end) if s + window <= each.end][::skip]
    for one in found:
        end = annotations[one.annotation].end
        assert one.padding == sum(one.first + place >= end for place in range(window + chunk))
