"""Each known defect, planted into a whole set, is found, named and placed; a whole set has none."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from calvin_sets import recording, write_set

from vla_bench.bench.cli.main import main
from vla_bench.envs.calvin.dataset import CalvinDataset, DatasetWriter, RecordedAnnotation, Recording
from vla_bench.envs.calvin.dataset.check import check
from vla_bench.envs.calvin.dataset.out_of_step import POOLED_BETTER, POOLED_CLEAR, POOLED_FEWEST, best_shift, products
from vla_bench.envs.calvin.dataset.pickles import load_object, save_array, save_object
from vla_bench.envs.calvin.dataset.scene_evidence import FIXTURES


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("whole"), 3, steps=60, sizes={"rgb_static": 80, "rgb_gripper": 42})


@pytest.fixture
def copy(whole, tmp_path):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    return tmp_path / "training"


def alter(folder, index, **arrays):
    path = folder / f"episode_{index:07d}.npz"
    with np.load(path) as held:
        frame = {**held}
    frame.update({key: value(frame[key]) for key, value in arrays.items()})
    np.savez_compressed(path, **frame)


def faults(folder, **more):
    return {each.kind: each for each in check(CalvinDataset(folder), **more) if each.fault}


def test_a_whole_set_has_no_fault(whole):
    assert faults(whole, threads=2) == {}


def test_missing_truncated_and_misshapen_frames(copy):
    (copy / "episode_0000005.npz").unlink()
    (copy / "episode_0000006.npz").unlink()
    path = copy / "episode_0000070.npz"
    path.write_bytes(path.read_bytes()[:200])
    alter(copy, 9, rgb_static=lambda a: a[:40])
    alter(copy, 20, robot_obs=lambda a: a * np.nan)
    found = faults(copy)
    assert found["missing"].where == ((5, 6),) and found["unreadable"].where == ((70, 70),)
    assert "truncated" in found["unreadable"].text
    assert found["shape"].where == ((9, 9),) and "(40, 80, 3)" in found["shape"].text
    assert found["not finite"].where == ((20, 20),)


def test_actions_and_relative_ones(copy):
    alter(copy, 7, actions=lambda a: a + 1e-3, rel_actions=lambda a: a)
    alter(copy, 63, rel_actions=lambda a: a * 0.9)
    found = faults(copy)
    assert found["actions"].where == ((7, 7),)
    assert found["relative"].where == ((7, 7), (63, 63))


def test_annotations_that_cannot_be(copy):
    path = copy / "lang_annotations" / "auto_lang_ann.npy"
    held = load_object(path)
    held["info"]["indx"] = [(50, 70), (80, 80), (500, 520)]
    held["language"]["task"][1] = "open_the_fridge"
    save_object(path, held)
    notes = copy / "dataset.json"
    said = json.loads(notes.read_text())
    notes.write_text(json.dumps({**said, "scenes": []}))
    found = faults(copy)
    assert found["across"].where == ((0, 0),) and found["annotation"].where == ((1, 2),)
    assert found["unknown task"].where == ((1, 1),) and "open_the_fridge" in found["unknown task"].text
    assert found["scene"].where == ((2, 2),)


def test_duplicates_still_images_and_files_outside(copy):
    shutil.copy(copy / "episode_0000012.npz", copy / "episode_0000030.npz")
    with np.load(copy / "episode_0000099.npz") as before:
        image = before["rgb_static"]
    alter(copy, 100, rgb_static=lambda _: image)
    shutil.copy(copy / "episode_0000012.npz", copy / "episode_0000900.npz")
    every = {each.kind: each for each in check(CalvinDataset(copy))}
    assert every["duplicate"].where == ((30, 30),) and every["duplicate"].fault
    assert every["still"].where == ((100, 100),)
    assert every["outside"].where == ((900, 900),) and not every["outside"].fault


def test_index_files_that_contradict(copy):
    save_array(copy / "ep_lens.npy", np.array([61, 61, 60]))
    assert "182 frames" in faults(copy)["index"].text
    save_array(copy / "ep_start_end_ids.npy", np.array([[0, 60], [50, 121], [122, 182]]))
    save_array(copy / "ep_lens.npy", np.array([61, 72, 61]))
    assert "begin within" in faults(copy)["index"].text


def test_images_that_run_behind(copy):
    """The images of one recording are moved on by two frames."""
    frames = {index: np.load(copy / f"episode_{index:07d}.npz")["rgb_static"] for index in range(61, 122)}
    for index in range(61, 122):
        alter(copy, index, rgb_static=lambda _, i=index: frames[max(61, i - 2)])
        alter(copy, index, rgb_gripper=lambda a: np.zeros_like(a))
    found = faults(copy)["out of step"]
    assert found.where == ((61, 121),) and "2 frames later" in found.text


@pytest.mark.parametrize("shift", [-3, 0, 1, 4])
def test_shifts_are_found_and_noise_is_not_one(shift):
    random = np.random.default_rng(3)
    motion = random.gamma(1, 0.01, 300)
    change = np.roll(motion * 1000, shift) * random.uniform(0.7, 1.3, 300)
    other = random.gamma(1, 10, (300, 2))
    assert best_shift(products(motion, np.stack([change, other[:, 0]], 1))) == shift
    assert best_shift(products(motion, other)) == 0
    assert best_shift(products(motion[:20], np.stack([change, change], 1)[:20])) == 0


def test_a_set_of_short_recordings_is_judged_as_a_whole():
    """No recording alone says enough; together they do."""
    random, sums = np.random.default_rng(3), 0.0
    for _ in range(40):
        motion = random.gamma(1, 0.01, 30)
        sums = sums + (each := products(motion, np.stack([np.roll(motion * 1000, 1) + random.gamma(1, 5, 30)] * 2, 1)))
        assert best_shift(each) == 0
    assert best_shift(sums, POOLED_FEWEST, POOLED_CLEAR, POOLED_BETTER) == 1


def at_fixtures(scene: str, seed: int = 0) -> Recording:
    """The arm goes from fixture to fixture of a scene and moves each."""
    random = np.random.default_rng(seed)
    made = recording(seed, steps=64, scene=scene)
    robot, table = made.robot_obs.copy(), np.zeros((65, 24))
    for visit, (place, _, handles) in enumerate(FIXTURES.values()):
        for step in range(4, 14):
            now = visit * 16 + step
            table[now:, place] += 0.01
            handle = handles[scene] - (table[now, 0] if place == 0 else 0)
            robot[now, 0] = handle + random.normal(0, 0.02)
    return Recording(scene, robot, table, made.images, (RecordedAnnotation(0, 64, "open_drawer", "pull"),))


@pytest.mark.parametrize("true", "ABCD")
def test_the_scene_is_known_by_its_fixtures(tmp_path, true):
    for said in (true, "BCDA"["ABCD".index(true)]):
        folder = tmp_path / said / "training"
        with DatasetWriter(folder) as writer:
            for seed in range(2):
                made = at_fixtures(true, seed)
                writer.write(Recording(said, made.robot_obs, made.scene_obs, made.images, made.annotations))
        found = faults(folder).get("scene")
        if said == true:
            assert found is None
        else:
            assert found.where == ((0, 64), (65, 129))
            assert f"says {said}, but" in found.text and f"where {true} has" in found.text


def test_the_scene_that_the_name_promises(copy):
    """Old copies of task_D_D say scene A of their training frames."""
    (copy / "dataset.json").unlink()
    (copy / "recordings.jsonl").unlink()
    folder = copy.parent / "task_D_D" / "training"
    shutil.copytree(copy, folder)
    save_object(folder / "scene_info.npy", {"calvin_scene_A": [0, 182]})
    found = faults(folder)["scene"]
    assert found.where == ((0, 182),) and "says A of these, but task_D_D has none" in found.text
    (folder / "scene_info.npy").unlink()
    assert {each.scene for each in CalvinDataset(folder).annotations} == {"D"} and "scene" not in faults(folder)


def test_a_set_without_annotations_is_said_to_be_one(copy):
    (copy / "lang_annotations" / "auto_lang_ann.npy").unlink()
    found = faults(copy)
    assert list(found) == ["annotation"] and "Some copies were published without" in found["annotation"].text


def test_a_sample_of_the_frames(copy):
    (copy / "episode_0000100.npz").unlink()
    seen = []
    check(CalvinDataset(copy), frames=60, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (61, 61)


def test_the_command_says_where_and_its_exit_code_tells(copy, capsys):
    assert main(["data", "check", str(copy.parent)]) == 0
    capsys.readouterr()
    alter(copy, 63, rel_actions=lambda a: a * 0.9)
    shutil.copytree(copy, copy.parent / "validation")
    assert main(["data", "check", str(copy.parent), "--json"]) == 3
    rows = json.loads(capsys.readouterr().out)
    assert [row["where"] for row in rows if row["kind"] == "relative"] == [[[63, 63]], [[63, 63]]]
    both = [row for row in rows if row["split"] == "both splits"]
    assert both[0]["kind"] == "duplicate" and both[0]["where"] == [[0, 182]]
    assert main(["data", "check", str(copy.parent / "nothing")]) == 1
    assert "there is no folder" in capsys.readouterr().err
