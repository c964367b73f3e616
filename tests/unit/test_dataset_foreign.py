"""Other people's forms: what goes out comes back, pickles run nothing, what does not fit is named."""

from __future__ import annotations

import io
import json
import pickle

import numpy as np
import pytest
from calvin_sets import recording, write_set
from PIL import Image

from vla_bench.bench.cli.main import main
from vla_bench.envs.calvin.bundle import find_bundle
from vla_bench.envs.calvin.dataset import CalvinDataset, DatasetError
from vla_bench.envs.calvin.dataset.check import check
from vla_bench.envs.calvin.dataset.foreign.lerobot_source import LeRobotSource
from vla_bench.envs.calvin.dataset.foreign.tensor_pickles import read_pickle
from vla_bench.envs.calvin.dataset.labels import absolute_actions, relative_actions

KEYS = ("robot_obs", "scene_obs", "actions", "rel_actions")


def same_labelled_frames(first, second, *, exact_images: bool = True):
    assert len(first.annotations) == len(second.annotations)
    for one, other in zip(first.annotations, second.annotations, strict=True):
        assert (one.instruction, one.length) == (other.instruction, other.length)
        a = first.frames(range(one.start, one.end), (*KEYS, "rgb_static", "rgb_gripper"))
        b = second.frames(range(other.start, other.end), (*KEYS, "rgb_static", "rgb_gripper"))
        for key in KEYS:
            np.testing.assert_allclose(a[key], b[key], atol=2e-5)
        for key in ("rgb_static", "rgb_gripper"):
            far = np.abs(a[key].astype(int) - b[key].astype(int))
            assert far.max() == 0 if exact_images else far.mean() < 30


def no_fault(folder):
    return [each for each in check(CalvinDataset(folder)) if each.fault] == []


@pytest.mark.parametrize("video", [False, True])
def test_lerobot_there_and_back(tmp_path, video, capsys):
    if video:
        pytest.importorskip("av")
    source = write_set(tmp_path / "source", 3, steps=20, sizes={"rgb_static": 64, "rgb_gripper": 32})
    there, back = str(tmp_path / "lerobot"), str(tmp_path / "back")
    assert main(["data", "export", "lerobot", str(source), there, *["--video"] * video]) == 0
    assert main(["data", "import", "lerobot", there, back, "--scene", "A"]) == 0
    assert ("compressed video" in capsys.readouterr().out) == video
    dataset = CalvinDataset(tmp_path / "back")
    same_labelled_frames(CalvinDataset(source), dataset, exact_images=not video)
    assert dataset.label == "achieved" and {each.scene for each in dataset.annotations} == {"D"}
    assert {each.task for each in dataset.annotations} == {"open_drawer"}
    assert video or no_fault(tmp_path / "back")


def test_an_import_that_was_stopped_goes_on(tmp_path, monkeypatch):
    source = write_set(tmp_path / "source", 3)
    there = str(tmp_path / "lerobot")
    main(["data", "export", "lerobot", str(source), there])
    assert main(["data", "import", "lerobot", there, str(tmp_path / "whole")]) == 0
    asked, real = [], LeRobotSource.trajectories

    def stopping(self, first):
        for number, each in enumerate(real(self, first), first):
            asked.append(number)
            yield each
            if number == 1 and len(asked) < 5:
                raise KeyboardInterrupt

    monkeypatch.setattr(LeRobotSource, "trajectories", stopping)
    assert main(["data", "import", "lerobot", there, str(tmp_path / "cut")]) == 130
    monkeypatch.setattr(LeRobotSource, "trajectories", real)
    assert main(["data", "import", "lerobot", there, str(tmp_path / "cut")]) == 0
    for path in (tmp_path / "whole" / "training").rglob("*.np?"):
        other = tmp_path / "cut" / "training" / path.relative_to(tmp_path / "whole" / "training")
        assert path.read_bytes() == other.read_bytes()


def test_lerobot_tables_are_of_its_form(tmp_path):
    """What LeRobot's own reader looks for."""
    import pandas as pd

    source = write_set(tmp_path / "source", 2)
    target = tmp_path / "lerobot"
    main(["data", "export", "lerobot", str(source), str(target)])
    info = json.loads((target / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0" and info["fps"] == 30 and info["total_frames"] == 24
    assert info["splits"] == {"train": "0:2"} and info["features"]["action"]["shape"] == [7]
    tasks = pd.read_parquet(target / "meta/tasks.parquet")
    assert tasks.index.tolist() == ["pull the handle 0", "pull the handle 1"] and tasks["task_index"].tolist() == [0, 1]
    episodes = pd.read_parquet(target / "meta/episodes/chunk-000/file-000.parquet")
    assert episodes["dataset_from_index"].tolist() == [0, 12] and episodes["dataset_to_index"].tolist() == [12, 24]
    data = pd.read_parquet(target / info["data_path"].format(chunk_index=0, file_index=0))
    assert set(info["features"]) == set(data.columns)
    assert data["index"].tolist() == list(range(24)) and data["task_index"].tolist() == [0] * 12 + [1] * 12
    image = np.asarray(Image.open(io.BytesIO(data["observation.images.top"][3]["bytes"])))
    assert np.array_equal(image, recording(0).images["rgb_static"][3])
    held = json.loads((target / "meta/stats.json").read_text())
    np.testing.assert_allclose(held["action"]["mean"], np.stack(data["action"]).mean(0), atol=1e-5)
    assert np.shape(held["observation.images.top"]["mean"]) == (3, 1, 1)


def test_lerobot_sets_that_do_not_fit(tmp_path):
    source = write_set(tmp_path / "source", 1)
    target = tmp_path / "lerobot"
    main(["data", "export", "lerobot", str(source), str(target)])
    path = target / "meta/info.json"
    info = json.loads(path.read_text())
    path.write_text(json.dumps({**info, "codebase_version": "v2.1"}))
    with pytest.raises(DatasetError, match=r"form v2.1; v3.0 is read"):
        LeRobotSource(target)
    features = {name.replace("observation.state", "joints"): each for name, each in info["features"].items()}
    path.write_text(json.dumps({**info, "features": features}))
    with pytest.raises(DatasetError, match=r"has no robot_obs by a known name; .*--map robot_obs=<feature>"):
        LeRobotSource(target)
    with pytest.raises(DatasetError, match=r"there is no joint;"):
        LeRobotSource(target, {"robot_obs": "joint"})
    path.write_text(json.dumps({**info, "fps": 10, "data_path": "../../{chunk_index}/{file_index}"}))
    other = LeRobotSource(target)
    assert any("10 frames a second" in note for note in other.notes())
    with pytest.raises(DatasetError, match="names a file outside"):
        next(iter(other.trajectories(0)))


def hdf5(path, seed, *, commanded=False, encode=False, group=None):
    h5py = pytest.importorskip("h5py")
    made = recording(seed, steps=12, sizes={"rgb_static": 32, "rgb_gripper": 16})
    actions = absolute_actions(made.robot_obs)
    if commanded:
        actions = actions + 0.01
    with h5py.File(path, "a") as file:
        place = file.require_group(group) if group else file
        place["obs/proprio"] = made.robot_obs[:-1].astype(np.float32)
        if encode:
            held = place.create_dataset("obs/third_image", 12, h5py.vlen_dtype(np.uint8))
            for step, image in enumerate(made.images["rgb_static"][:-1]):
                buffer = io.BytesIO()
                Image.fromarray(image).save(buffer, "PNG")
                held[step] = np.frombuffer(buffer.getvalue(), np.uint8)
        else:
            place["obs/third_image"] = made.images["rgb_static"][:-1]
        place["obs/wrist_image"] = made.images["rgb_gripper"][:-1]
        place["actions"] = actions
        place["language_instruction"] = f"pull {seed}"
    return made, actions


@pytest.mark.parametrize("grouped", [False, True])
def test_hdf5_trajectories(tmp_path, grouped):
    pytest.importorskip("h5py")
    folder = tmp_path / "trajectories"
    folder.mkdir()
    for seed in range(3):
        name = "all.hdf5" if grouped else f"{seed}.h5"
        made, _ = hdf5(folder / name, seed, encode=seed % 2 == 1, group=f"data/demo_{seed}" if grouped else None)
    assert main(["data", "import", "hdf5", str(folder), str(tmp_path / "set"), "--scene", "B"]) == 0
    dataset = CalvinDataset(tmp_path / "set")
    assert [each.instruction for each in dataset.annotations] == ["pull 0", "pull 1", "pull 2"]
    assert dataset.annotations[0].scene == "B" and dataset.label == "achieved"
    last = dataset.annotations[2]
    frames = dataset.frames(range(last.start, last.end), ("rgb_static", "actions"))
    assert np.array_equal(frames["rgb_static"], made.images["rgb_static"][:-1])
    np.testing.assert_allclose(frames["actions"], absolute_actions(made.robot_obs), atol=1e-5)
    assert no_fault(tmp_path / "set")


def test_tasks_are_found_by_their_words(tmp_path):
    h5py = pytest.importorskip("h5py")
    texts = find_bundle("builtin").instructions
    hdf5(tmp_path / "x.h5", 0)
    with h5py.File(tmp_path / "x.h5", "a") as file:
        del file["language_instruction"]
        file.attrs["instruction"] = texts["push_into_drawer"].upper()
    assert main(["data", "import", "hdf5", str(tmp_path / "x.h5"), str(tmp_path / "set")]) == 0
    assert CalvinDataset(tmp_path / "set").annotations[0].task == "push_into_drawer"


def test_actions_that_were_sent_stay_what_they_are(tmp_path):
    _, sent = hdf5(tmp_path / "x.h5", 0, commanded=True)
    assert main(["data", "import", "hdf5", str(tmp_path / "x.h5"), str(tmp_path / "set")]) == 0
    dataset = CalvinDataset(tmp_path / "set")
    assert dataset.label == "commanded" and "differ from the next states" in dataset.notes["provenance"]["actions"]
    np.testing.assert_allclose(dataset.frames(range(12), ["actions"])["actions"], sent, atol=1e-6)


def test_hdf5_that_does_not_fit(tmp_path, capsys):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = np.zeros((3, 8, 8, 3), np.uint8)
        file["joints"] = np.zeros((3, 9))
        file["actions"] = np.zeros((3, 7))
        file["text"] = "x"
        file["far"] = h5py.ExternalLink("/etc/passwd", "/")
    command = ["data", "import", "hdf5", str(tmp_path / "x.h5"), str(tmp_path / "set")]
    assert main(command) == 1
    assert "has no robot_obs, rgb_static by a known name" in capsys.readouterr().err
    assert main([*command, "--map", "robot_obs=joints", "--map", "rgb_static=images"]) == 1
    assert "states are (3, 9); CALVIN's robot has 15" in capsys.readouterr().err
    (tmp_path / "y.h5").write_bytes((tmp_path / "x.h5").read_bytes()[:400])
    assert main(["data", "import", "hdf5", str(tmp_path / "y.h5"), str(tmp_path / "set")]) == 1
    assert "is no HDF5 file, or was cut off" in capsys.readouterr().err


def write_lmdb(folder, values):
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(str(folder), map_size=1 << 28) as file, file.begin(write=True) as transaction:
        for key, value in values.items():
            transaction.put(key.encode(), value if isinstance(value, bytes) else pickle.dumps(value))


def gr1_values(count=2):
    """As calvin2lmdb writes: frames start to end, both included, tensors pickled, images as JPEG."""
    torch = pytest.importorskip("torch")
    values, step = {}, 0
    for episode in range(count):
        made = recording(episode, steps=12, sizes={"rgb_static": 32, "rgb_gripper": 16})
        actions = absolute_actions(made.robot_obs)
        relative = relative_actions(actions, made.robot_obs[:-1])
        values[f"inst_{episode}"] = f"pull {episode}"
        for place in range(13):
            row = {
                "robot_obs": torch.from_numpy(made.robot_obs[place]),
                "scene_obs": torch.from_numpy(made.scene_obs[place]),
                "abs_action": torch.from_numpy(actions[min(place, 11)]),
                "rel_action": torch.from_numpy(relative[min(place, 11)]),
            }
            for key in ("rgb_static", "rgb_gripper"):
                buffer = io.BytesIO()
                Image.fromarray(made.images[key][place]).save(buffer, "JPEG", quality=95)
                row[key] = torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8)
            values |= {f"{key}_{step}": value for key, value in row.items()}
            values |= {f"cur_episode_{step}": episode, f"done_{step}": place == 12, "cur_step": step}
            step += 1
    return values


def test_the_lmdb_of_gr1(tmp_path, capsys):
    write_lmdb(tmp_path / "lmdb", gr1_values())
    command = ["data", "import", "lmdb", str(tmp_path / "lmdb"), str(tmp_path / "set")]
    assert main(command) == 1
    assert "values of" in (error := capsys.readouterr().err) and "add --unpickle" in error
    assert main([*command, "--unpickle", "--scene", "C"]) == 0
    dataset = CalvinDataset(tmp_path / "set")
    assert [(each.start, each.end, each.instruction) for each in dataset.annotations] == [
        *[(0, 12, "pull 0"), (13, 25, "pull 1")]
    ]
    made = recording(1, steps=12, sizes={"rgb_static": 32, "rgb_gripper": 16})
    found = dataset.frames(range(13, 26), ("robot_obs", "rgb_static", "actions"))
    np.testing.assert_allclose(found["robot_obs"], made.robot_obs, atol=1e-6)
    assert np.abs(found["rgb_static"].astype(int) - made.images["rgb_static"]).mean() < 10
    assert dataset.label == "achieved" and no_fault(tmp_path / "set")


class Runs:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        import os

        return os.system, (f"touch {self.path}",)


def test_no_pickle_of_an_lmdb_runs_anything(tmp_path, capsys):
    pytest.importorskip("lmdb")
    values = gr1_values(1)
    values["robot_obs_3"] = Runs(tmp_path / "ran")
    write_lmdb(tmp_path / "lmdb", values)
    assert main(["data", "import", "lmdb", str(tmp_path / "lmdb"), str(tmp_path / "set"), "--unpickle"]) == 1
    assert "robot_obs_3 of" in (error := capsys.readouterr().err) and "wants to call posix.system" in error
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int64", "float16", "bool"])
def test_pickled_tensors_are_read_without_torch(dtype):
    torch = pytest.importorskip("torch")
    tensor = (torch.arange(24) % 2 if dtype == "bool" else torch.arange(24)).to(getattr(torch, dtype)).reshape(4, 6)
    for each in (tensor, tensor.T, tensor[1:3, ::2], tensor[0], tensor[:0]):
        found = read_pickle(pickle.dumps(each), "x")
        assert np.array_equal(found, each.numpy()) and found.dtype == each.numpy().dtype


def test_tensors_that_lie_about_their_size(tmp_path):
    torch = pytest.importorskip("torch")
    content = pickle.dumps(torch.arange(4, dtype=torch.float32))
    for place in range(0, len(content), 7):
        altered = content[:place] + bytes([content[place] ^ 0x41]) + content[place + 1 :]
        try:
            found = read_pickle(altered, "x")
        except DatasetError:
            continue
        assert found is not None
    with pytest.raises(DatasetError):
        read_pickle(content[:-20], "x")
