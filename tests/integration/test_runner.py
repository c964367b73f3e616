"""One evaluation from Python, on the toy environment with one local worker."""

import dataclasses
import json
import re

import pytest

import bench
from bench.config import Config
from bench.dispatch import EpisodeFinished, WorkerStarted
from bench.errors import PolicyError, ProtocolMismatch, ResultSetError, RunFailed
from bench.presets import load_config
from bench.runner import _check_worker, evaluate, prepare
from bench.screen import SilentScreen

WORDS = ("benchmark=fake", "policy=stub", "run.backend=local", "run.workers=1", "benchmark.sequences=5")


def config(folder, *words) -> Config:
    return load_config([*WORDS, f"run.results={folder}", *words])


class Watcher(SilentScreen):
    """Remembers what it was told; stops the run after so many episodes, like a driver that dies."""

    def __init__(self, stop_after=None):
        self.events = []
        self.stop_after = stop_after
        self.ended = 0

    def take(self, event):
        self.events.append(event)
        if self.stop_after is not None and self.finished >= self.stop_after:
            raise ConnectionError("the driver is gone")

    def end(self):
        self.ended += 1

    @property
    def finished(self):
        return sum(isinstance(event, EpisodeFinished) for event in self.events)


def test_a_run_and_its_result_set(tmp_path):
    screen = Watcher()
    result_set = bench.evaluate(config(tmp_path), screen)
    assert result_set.summary.complete
    assert result_set.folder.parent == tmp_path
    assert (screen.finished, screen.ended) == (5, 1)
    again = bench.load(result_set.folder)
    assert again.records == result_set.records
    assert list(again.episodes["index"]) == [0, 1, 2, 3, 4]


def test_a_complete_run_starts_no_worker(tmp_path):
    evaluate(config(tmp_path))
    screen = Watcher()
    assert evaluate(config(tmp_path), screen).summary.done == 5
    assert (screen.events, screen.ended) == ([], 1)


def test_an_unfinished_run_is_finished_and_nothing_redone(tmp_path):
    with pytest.raises(ConnectionError):
        evaluate(config(tmp_path, "run.name=x"), Watcher(stop_after=2))
    part = bench.load(tmp_path / "x")
    assert (part.summary.done, part.summary.missing) == (2, 3)
    assert json.loads((tmp_path / "x" / "summary.json").read_text())["complete"] is False
    screen = Watcher()
    whole = evaluate(config(tmp_path, "run.name=x", "run.step_deadline=9"), screen)
    assert screen.finished == 3
    assert whole.records[:2] == part.records
    tries = json.loads((tmp_path / "x" / "provenance.json").read_text())["tries"]
    assert [each["episodes"] for each in tries] == [2, 3]


def test_damaged_lines_are_run_again(tmp_path):
    evaluate(config(tmp_path, "run.name=x"))
    journal = tmp_path / "x" / "journal.jsonl"
    before = bench.load(tmp_path / "x")
    journal.write_text(journal.read_text().replace('"index":3', '"index":2'))
    screen = Watcher()
    assert evaluate(config(tmp_path, "run.name=x"), screen).summary.complete
    assert screen.finished == 1
    after = bench.load(tmp_path / "x")
    assert [record.outcome() for record in after.records] == [record.outcome() for record in before.records]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("run.seed=1", "seed 0 there, 1 now"),
        ("benchmark.split=ABC", "split 'none' there, 'ABC' now"),
        (
            "benchmark.step_limit=50",
            r"the episodes themselves \(states, .* or step limit\)",
        ),
        ("benchmark.assets=official", "assets 'builtin' there, 'official' now"),
        ("policy.chunk=3", r"arguments \{\} there, \{'chunk': 3\} now"),
        ("policy=random", "policy 'stub' there, 'random' now"),
    ],
)
def test_another_runs_folder_is_refused_with_the_difference(tmp_path_factory, word, message):
    folder = tmp_path_factory.getbasetemp() / "refused"
    evaluate(config(folder, "run.name=x"))
    words = [each for each in WORDS if not word.startswith("policy=") or not each.startswith("policy=")]
    with pytest.raises(ResultSetError, match=f"{message}.*run.name=<name>.*run.overwrite=true"):
        evaluate(load_config([*words, f"run.results={folder}", "run.name=x", word]))
    assert bench.load(folder / "x").summary.complete


def test_overwriting_starts_afresh_and_is_not_remembered(tmp_path):
    evaluate(config(tmp_path, "run.name=x"))
    other = [*(word for word in WORDS if "sequences" not in word), "benchmark.sequences=2", "run.name=x"]
    result_set = evaluate(load_config([*other, f"run.results={tmp_path}", "run.overwrite=true"]))
    assert (result_set.summary.planned, result_set.summary.done) == (2, 2)
    assert len(json.loads((tmp_path / "x" / "provenance.json").read_text())["tries"]) == 1
    assert "overwrite: false" in (tmp_path / "x" / "config.yaml").read_text()


def test_folders_are_named_by_what_is_run_not_by_where(tmp_path):
    def name(*words):
        return prepare(config(tmp_path, *words)).folder.name

    assert re.fullmatch(r"fake-stub-[0-9a-f]{8}", name())
    assert name("run.max_attempts=9", "run.decision_deadline=7") == name()
    others = [
        name(word)
        for word in ("run.seed=1", "benchmark.split=ABC", "policy.chunk=3", "benchmark.step_limit=9")
    ]
    assert len({name(), *others}) == 5
    assert not list(tmp_path.iterdir())


CRASHES = "benchmark.options.cues=[{do: abort, episode: 1}]"


def test_errors_within_the_limit_are_reported_apart_and_tried_again(tmp_path):
    words = (CRASHES, "run.name=x", "run.max_attempts=1")
    result_set = evaluate(config(tmp_path, *words, "run.error_limit=0.2"))
    assert (result_set.summary.done, result_set.summary.errors) == (4, 1)
    screen = Watcher()
    with pytest.raises(RunFailed, match=r"1 of 5 episodes .* run\.error_limit=0\.02") as failure:
        evaluate(config(tmp_path, *words), screen)
    assert screen.finished == 1
    assert failure.value.result_set.summary.done == 4


def test_a_hopeless_run_is_given_up_early(tmp_path):
    words = ("benchmark.options.cues=[{do: raise}]", "run.max_attempts=1")
    with pytest.raises(RunFailed, match="3 of 5 episodes ended in an error") as failure:
        evaluate(config(tmp_path, *words))
    assert failure.value.result_set.summary.missing == 2


def test_a_simulation_that_cannot_be_built_fails_the_run(tmp_path):
    with pytest.raises(RunFailed, match="raised on cue"):
        evaluate(config(tmp_path, "benchmark.options.cues=[{do: raise, when: build}]"))


def test_an_unknown_argument_is_found_before_anything_is_written(tmp_path):
    with pytest.raises(PolicyError, match="no argument 'speed'"):
        evaluate(config(tmp_path, "policy.speed=1"))
    assert not list(tmp_path.iterdir())


def test_a_worker_with_another_renderer_is_refused():
    facts = {"renderer": "egl", "assets": "official", "assets_checksum": "12"}
    _check_worker("ray-1", {"renderer": "egl", "assets_checksum": "12"}, facts)
    _check_worker("ray-1", {"renderer": "tiny"}, {**facts, "renderer": "none"})
    with pytest.raises(ProtocolMismatch, match="ray-1 on n7 has renderer 'tiny', the run has 'egl'"):
        _check_worker("ray-1", {"renderer": "tiny", "host": "n7"}, facts)


def test_workers_say_what_they_are(tmp_path):
    screen = Watcher()
    result_set = evaluate(dataclasses.replace(config(tmp_path)), screen)
    (started,) = (event for event in screen.events if isinstance(event, WorkerStarted))
    (attempt,) = json.loads((result_set.folder / "provenance.json").read_text())["tries"]
    assert attempt["workers"][0]["pid"] == started.info["pid"]
    assert attempt["first_worker"] >= attempt["started"]
