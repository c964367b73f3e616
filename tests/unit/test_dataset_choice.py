"""Choosing a part that is like the whole, describing a set, and a look at it."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from calvin_sets import recording, write_set

from vla_bench.bench.cli.main import main
from vla_bench.bench.families.calvin_data.picture import CELL, LINE, contact_sheet
from vla_bench.envs.calvin.dataset import (
    Annotation,
    CalvinDataset,
    DatasetError,
    DatasetWriter,
    RecordedAnnotation,
    open_dataset,
)
from vla_bench.envs.calvin.dataset.choosing import choose, read_choice, write_choice
from vla_bench.envs.calvin.dataset.description import summarise


def made_up(seed: int = 0) -> list[Annotation]:
    random = np.random.default_rng(seed)
    return [
        Annotation(n, n * 100, n * 100 + int(random.integers(33, 65)), task, "words", str(random.choice(list("ABC"))))
        for n, task in enumerate(random.choice(["lift", "push", "open"], 600, p=[0.6, 0.3, 0.1]))
    ]


@pytest.mark.parametrize("seed", range(5))
def test_each_group_gives_its_share(seed):
    annotations = made_up()
    chosen = choose(annotations, count=100, seed=seed)
    assert len(chosen) == len({each.number for each in chosen}) == 100
    for name in ("task", "scene"):
        of = Counter((each.task, getattr(each, name)) for each in annotations)
        got = Counter((each.task, getattr(each, name)) for each in chosen)
        assert all(abs(got[group] - count / 6) <= 2 for group, count in of.items())
    whole, part = (np.mean([each.length for each in some]) for some in (annotations, chosen))
    assert abs(whole - part) < 1.0


def test_the_seed_decides_and_nothing_else():
    annotations = made_up()
    assert choose(annotations, per_task=10, seed=3) == choose(annotations, per_task=10, seed=3)
    assert choose(annotations, per_task=10, seed=3) != choose(annotations, per_task=10, seed=4)
    assert Counter(each.task for each in choose(annotations, per_task=10)) == {"lift": 10, "open": 10, "push": 10}
    assert {each.scene for each in choose(annotations, count=20, scenes=["B"])} == {"B"}


def test_what_cannot_be_chosen():
    annotations = made_up()
    with pytest.raises(DatasetError, match=r"no annotation is of the task 'lifts'. Did you mean 'lift'"):
        choose(annotations, count=3, tasks=["lifts"])
    with pytest.raises(DatasetError, match=r"fewer than 100 of open"):
        choose(annotations, per_task=100)
    with pytest.raises(DatasetError, match=r"601 of 600"):
        choose(annotations, count=601)
    with pytest.raises(DatasetError, match=r"no annotation is of scene 'D'; there are A, B, C"):
        choose(annotations, count=1, scenes=["D"])


@pytest.fixture
def folder(tmp_path):
    with DatasetWriter(tmp_path / "set" / "training") as writer:
        for seed in range(6):
            task = ("open_drawer", "close_drawer")[seed % 2]
            annotations = (RecordedAnnotation(0, 12, task, f"words {seed % 3}"),)
            writer.write(recording(seed, scene="AB"[seed // 3], annotations=annotations))
    return tmp_path / "set"


def test_a_choice_is_written_read_and_packed(folder, tmp_path, capsys):
    path = tmp_path / "few.json"
    assert main(["data", "choose", str(folder), "--per-task", "1", "--to", str(path)]) == 0
    assert "2 of 6 annotations" in capsys.readouterr().out
    dataset = CalvinDataset(folder)
    part = read_choice(path, dataset)
    assert [each.number for each in part.annotations] == [0, 1] and part.digest != dataset.digest
    assert main(["data", "pack", str(folder), str(tmp_path / "packed"), "--choice", str(path), "--size", "16"]) == 0
    packed = open_dataset(tmp_path / "packed")
    assert packed.annotations == part.annotations and packed.shapes["rgb_gripper"] == (16, 16, 3)
    assert packed.index["rows"] == 26
    other = CalvinDataset(write_set(tmp_path / "other", steps=9))
    with pytest.raises(DatasetError, match=r"which .*few.json chose from another set"):
        read_choice(path, other)
    write_choice(path, dataset, (), {})
    path.write_text("[]")
    with pytest.raises(DatasetError, match="names no chosen annotations"):
        read_choice(path, dataset)


def test_a_description_counts_what_is_there(folder, capsys):
    dataset = CalvinDataset(folder)
    found = summarise(dataset)
    assert (found.frames, found.recordings, found.annotations, found.annotated, found.slots) == (78, 6, 6, 72, 72)
    assert found.tasks == {"open_drawer": 3, "close_drawer": 3} and found.scenes == {"A": 3, "B": 3}
    assert found.instructions == 3 and found.lengths == (12, 12, 12) and found.sampled == 78
    frames = dataset.frames(range(78), ["robot_obs"])["robot_obs"]
    np.testing.assert_allclose(found.quantiles["robot_obs"][1], np.quantile(frames, 0.01, axis=0), atol=1e-6)
    assert main(["data", "describe", str(folder)]) == 0
    text = capsys.readouterr().out
    assert "78 frames in 6 recordings; actions are achieved" in text and "gripper_command" in text
    assert main(["data", "describe", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[str(folder / "training")]["lengths"]["median"] == 12


def test_a_picture_has_a_row_a_task(folder, tmp_path):
    picture = contact_sheet(CalvinDataset(folder))
    assert picture.size == (7 * CELL, 2 * (CELL + LINE))
    rows = np.asarray(picture)
    assert rows[LINE + CELL // 2, : 5 * CELL].std() > 1  # something is drawn in each
    assert main(["data", "describe", str(folder), "--picture", str(tmp_path / "x.png")]) == 0
    assert (tmp_path / "x.png").stat().st_size > 1000


def test_finish_closes_a_set_that_was_cut_off(tmp_path, capsys):
    writer = DatasetWriter(tmp_path / "training")
    writer.write(recording(0))
    assert main(["data", "describe", str(tmp_path)]) == 1
    assert "was not finished" in capsys.readouterr().err
    assert main(["data", "finish", str(tmp_path)]) == 0
    assert main(["data", "describe", str(tmp_path)]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pack", "SET", "OUT", "--size", "big"], "give pixels a side"),
        (["pack", "SET", "OUT", "--size", "tactile=3"], "the cameras are static and gripper"),
        (["pack", "SET", "OUT", "--camera", "tactile"], "has no rgb_tactile"),
        (["describe", "SET", "--picture", "OUT/x.png"], "cannot write"),
        (["describe", "SET", "--picture", "x.what"], "a file that ends in .png"),
        (["check", "SET", "--frames", "0"], "must be 1 or more"),
        (["export", "lerobot", "SET", "SET"], "is not empty"),
        (["import", "hdf5", "SET", "OUT"], "holds no .h5 or .hdf5 file"),
        (["import", "lerobot", "SET", "OUT"], "is no LeRobot data set"),
        (["import", "lmdb", "SET", "OUT"], "add --unpickle"),
        (["finish", "OUT"], "holds no data set that was begun here"),
    ],
)
def test_mistakes_are_one_sentence(folder, tmp_path, capsys, words, said):
    places = {"SET": str(folder), "OUT": str(tmp_path / "out"), "OUT/x.png": str(tmp_path / "out" / "x.png")}
    assert main(["data", *(places.get(word, word) for word in words)]) == 1
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error
