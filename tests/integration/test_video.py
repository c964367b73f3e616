"""Clips: made from what was executed, of the episodes that were asked for, changing no number."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from vla_bench import bench
from vla_bench.bench.cli import main as commands
from vla_bench.bench.cli import run as command_line
from vla_bench.bench.errors import ConfigError, ResultSetError
from vla_bench.bench.report.page import render
from vla_bench.bench.setup.presets import load_config
from vla_bench.bench.video.clips import add_to_index, make_clips, read_index, write_index
from vla_bench.bench.video.trace import Trace, file_name

FAKE = ("benchmark=fake", "policy=random", "run.backend=local", "run.workers=1", "benchmark.sequences=3")


def evaluate(folder: Path, *words: str) -> bench.ResultSet:
    return bench.evaluate(load_config([*words, f"run.results={folder}"]))


def outcomes(result_set: bench.ResultSet) -> list[dict]:
    return [record.outcome() for record in sorted(result_set.records, key=lambda record: record.index)]


def test_a_run_with_clips_has_the_same_records_and_a_clip_of_each_failure(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    plain = evaluate(tmp_path / "plain", *FAKE)
    words = [*FAKE, f"run.results={tmp_path / 'clips'}", "run.video=failures"]
    assert command_line.main(words) == 0
    said = capsys.readouterr()
    (folder,) = (tmp_path / "clips").iterdir()
    filmed = bench.load(folder)
    assert outcomes(filmed) == outcomes(plain)
    failed = {record.episode for record in filmed.records if not record.subtasks[-1].success}
    clips = read_index(folder)
    assert failed and {clip.episode for clip in clips} == failed
    assert all(clip.faithful and not clip.success for clip in clips)
    assert f"{len(failed)} clips" in said.out and "CPU time" in said.out
    assert all(clip.file in (folder / "videos" / "index.html").read_text() for clip in clips)
    with av.open(str(folder / "videos" / clips[0].file)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) > clips[0].steps / 3
    assert np.abs(frames[0].astype(int) - frames[-1]).mean() > 1, "the last frame has the outcome"
    assert render({"mine": filmed}).count('src="data:video/mp4;base64,') == len({c.subtask for c in clips})
    before = (folder / "videos" / clips[0].file).stat().st_mtime_ns
    assert commands.main(["video", str(folder)]) == 0, "nothing is left to do"
    assert (folder / "videos" / clips[0].file).stat().st_mtime_ns == before


def test_calvin_repeats_to_the_last_bit_with_cameras(tmp_path):
    made = evaluate(
        tmp_path,
        "benchmark=calvin_smoke",
        "policy=random",
        "run.backend=local",
        "run.workers=1",
        "benchmark.sequences=1",
        "benchmark.step_limit=40",
        "run.video=first_1",
    )
    (clip,) = make_clips(made.folder)
    assert (clip.episode, clip.faithful, clip.steps) == ("seq-0000", True, 40)


def test_a_replay_that_goes_another_way_says_so(tmp_path):
    made = evaluate(tmp_path, *FAKE, "run.video=first_1")
    (path,) = (made.folder / "traces").glob("*.npz")
    trace = Trace.read(path)
    trace.actions[0] = -trace.actions[0]
    trace.write(path.parent)
    (clip,) = make_clips(made.folder)
    assert not clip.faithful


def test_traces_are_data(tmp_path):
    made = evaluate(tmp_path, *FAKE, "run.video=all")
    first, second, third = sorted((made.folder / "traces").glob("*.npz"))
    first.write_bytes(first.read_bytes()[:200])
    with np.load(second) as file:
        arrays = dict(file)
    about = json.loads(str(arrays.pop("about")))
    np.savez(second, about=np.array(json.dumps({**about, "family": "os"})), **arrays)
    for path, reason in ((first, "damaged"), (second, "unknown family 'os'")):
        with pytest.raises(ResultSetError, match=reason):
            Trace.read(path)
    said = []
    clips = make_clips(made.folder, on_clip=lambda done, total, clip: said.append(clip))
    assert [clip.file for clip in clips] == [f"{third.stem}.mp4"], "a bad trace costs its own clip alone"
    assert sum(isinstance(clip, str) for clip in said) == 2
    assert file_name("../../etc/passwd") == "etc-passwd"


def test_a_simulator_that_crashes_costs_its_own_clip(tmp_path):
    cue = "{do: segfault, episode: 1, step: 9, times: 1}"
    counter = f"benchmark.options.counter={tmp_path}"
    made = evaluate(tmp_path, *FAKE, f"benchmark.options.cues=[{cue}]", counter, "run.video=all")
    assert [record.attempt for record in made.records if record.episode == "seq-0001"] == [2]
    for used in tmp_path.glob("cue-*"):
        used.unlink()
    said = []
    clips = make_clips(made.folder, on_clip=lambda done, total, clip: said.append(clip))
    assert [clip.episode for clip in clips] == ["seq-0000", "seq-0002"]
    assert [each for each in said if isinstance(each, str)] == ["seq-0001: its replay crashed (exit code -11)"]


def test_a_mistake_is_told_before_the_run(tmp_path, capsys):
    with pytest.raises(ConfigError, match=r"run.video: none, failures, all or first_<n>, e\.g\. first_20"):
        load_config([*FAKE, "run.video=some"])
    assert commands.main(["video", str(tmp_path)]) == 1
    assert "run with run.video=failures" in capsys.readouterr().err


def test_clips_of_several_workers_are_those_of_one(tmp_path):
    """Also when another command adds to the list meanwhile: no clip is lost from it."""
    run = evaluate(tmp_path / "one", *FAKE, "benchmark.sequences=3", "benchmark.step_limit=6", "run.video=all")
    twice = tmp_path / "two"
    shutil.copytree(run.folder, twice)
    one = make_clips(run.folder)
    assert [clip.episode for clip in one] == ["seq-0000", "seq-0001", "seq-0002"]

    def meanwhile(done, total, clip):
        add_to_index(twice, {"seq-0002": one[2]})

    shutil.copytree(
        run.folder / "videos", twice / "videos", ignore=shutil.ignore_patterns("*0000*", "*0001*", "index*")
    )
    make_clips(twice, workers=2, episodes=["seq-0000", "seq-0001"], on_clip=meanwhile)
    assert [clip.episode for clip in read_index(twice)] == [clip.episode for clip in one]
    for clip in one:
        for name in (clip.file, clip.poster):
            assert (twice / "videos" / name).read_bytes() == (run.folder / "videos" / name).read_bytes()


def test_a_poster_is_a_frame_of_its_clip(tmp_path):
    run = evaluate(tmp_path, *FAKE, "benchmark.sequences=1", "benchmark.step_limit=40", "run.video=all")
    (clip,) = make_clips(run.folder)
    videos = run.folder / "videos"
    assert f'poster="{clip.poster}"' in (videos / "index.html").read_text()
    with Image.open(videos / clip.poster) as image:
        poster = np.asarray(image.convert("RGB")).astype(int)
    with av.open(str(videos / clip.file)) as container:
        frames = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]
    unlike = [np.abs(frame - poster).mean() for frame in frames]
    assert poster.shape == frames[0].shape and min(unlike) < 4
    assert int(np.argmin(unlike)) <= 12, "of its beginning"
    write_index(run.folder, [dataclasses.replace(clip, poster="")])
    assert "#t=" in (videos / "index.html").read_text(), "a clip of an earlier version shows a moment of itself"
