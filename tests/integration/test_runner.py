"""One evaluation from Python, on the toy environment with one local worker."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys

import pytest

from vla_bench import bench
from vla_bench.bench.dispatch import EpisodeFinished, WorkerStarted
from vla_bench.bench.errors import (
    ConfigError,
    PolicyError,
    ProtocolMismatch,
    ResultSetError,
    RunFailed,
    UserError,
)
from vla_bench.bench.live.screen import SilentScreen
from vla_bench.bench.runner import _check_worker, evaluate
from vla_bench.bench.setup.config import Config
from vla_bench.bench.setup.preparation import prepare
from vla_bench.bench.setup.presets import load_config

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


def test_what_is_in_the_way_is_named(tmp_path):
    """A folder where a table belongs; tables whose journal is gone, which may be all there is of a run."""
    evaluate(config(tmp_path, "run.name=x"))
    folder = tmp_path / "x"
    (folder / "summary.json").unlink()
    (folder / "summary.json").mkdir()
    with pytest.raises(ResultSetError, match=r"cannot write to .*/x/summary\.json: Is a directory"):
        evaluate(config(tmp_path, "run.name=x"))
    (folder / "journal.jsonl").unlink()
    with pytest.raises(ResultSetError, match=r"holds episodes\.parquet, but no journal.*overwrite"):
        evaluate(config(tmp_path, "run.name=x"))
    (folder / "summary.json").rmdir()
    assert evaluate(config(tmp_path, "run.name=x", "run.overwrite=true")).summary.complete


def test_a_folder_that_is_removed_ends_the_run_at_once(tmp_path):
    class Removes(Watcher):
        def take(self, event):
            super().take(event)
            if self.finished == 2:
                shutil.rmtree(tmp_path / "x", ignore_errors=True)

    screen = Removes()
    with pytest.raises(ResultSetError, match="was removed, moved or replaced while the run was writing"):
        evaluate(config(tmp_path, "run.name=x"), screen)
    assert screen.finished == 2


def test_folders_are_named_by_what_is_run_not_by_where(tmp_path):
    def name(*words):
        return prepare(config(tmp_path, *words)).folder.name

    assert re.fullmatch(r"fake-stub-[0-9a-f]{8}", name())
    assert name("run.max_attempts=9", "run.decision_deadline=7") == name()
    others = [name(word) for word in ("run.seed=1", "benchmark.split=ABC", "policy.chunk=3", "benchmark.step_limit=9")]
    assert len({name(), *others}) == 5
    assert not list(tmp_path.iterdir())


CRASHES = "benchmark.options.cues=[{do: abort, episode: 1}]"


def test_errors_within_the_limit_are_reported_apart_and_tried_again(tmp_path):
    words = (CRASHES, "run.name=x", "run.max_attempts=1")
    result_set = evaluate(config(tmp_path, *words, "run.max_error_rate=0.2"))
    assert (result_set.summary.done, result_set.summary.errors) == (4, 1)
    screen = Watcher()
    with pytest.raises(RunFailed, match=r"1 of 5 episodes .* run\.max_error_rate=0\.02") as failure:
        evaluate(config(tmp_path, *words), screen)
    assert screen.finished == 1
    assert failure.value.result_set.summary.done == 4


def test_a_hopeless_run_is_given_up_early(tmp_path):
    words = ("benchmark.options.cues=[{do: raise, step: 3}]", "run.max_attempts=1", "run.max_error_rate=0.9")
    said = "3 of 5 episodes ended in an error.*The last one: exception: RuntimeError: raised on cue"
    with pytest.raises(RunFailed, match=said) as failure:
        evaluate(config(tmp_path, *words))
    assert failure.value.result_set.summary.missing == 2


def test_a_simulation_that_cannot_be_built_fails_the_run(tmp_path):
    with pytest.raises(RunFailed, match="raised on cue"):
        evaluate(config(tmp_path, "benchmark.options.cues=[{do: raise, when: build}]"))


def test_an_episode_can_be_run_alone(tmp_path):
    words = (CRASHES, "run.name=x", "run.max_attempts=1", "run.max_error_rate=0.2")
    evaluate(config(tmp_path, *words))
    assert "was killed by SIGABRT" in (tmp_path / "x" / "errors.md").read_text()
    screen = Watcher()
    evaluate(config(tmp_path, *words, "run.only=seq-0001"), screen)
    assert [event.record.index for event in screen.events if isinstance(event, EpisodeFinished)] == [1]
    assert "only: []" in (tmp_path / "x" / "config.yaml").read_text()
    with pytest.raises(ConfigError, match=r"no such episode\. Did you mean 'seq-0001'\? It has 5, from seq-0000"):
        evaluate(config(tmp_path, "run.only=seq-001"))


def test_a_run_of_some_episodes_has_those(tmp_path):
    part = evaluate(config(tmp_path, "run.name=x", "run.only=seq-0003,seq-0001"))
    assert [record.index for record in part.records] == [1, 3]
    assert part.has(("seq-0001", "seq-0003")) and not part.has(("seq-0000",)) and not part.has()


def test_more_sequences_join_the_set_and_nothing_is_redone(tmp_path):
    few = evaluate(config(tmp_path, "run.name=x"))
    more = ("benchmark.sequences=8", "run.name=x")
    words = [word for word in WORDS if "sequences" not in word] + [f"run.results={tmp_path}"]
    with pytest.raises(ResultSetError, match=r"episodes 5 there, 8 now\. Add .* run\.extend=true"):
        evaluate(load_config([*words, *more]))
    screen = Watcher()
    whole = evaluate(load_config([*words, *more, "run.extend=true"]), screen)
    assert screen.finished == 3 and whole.summary.complete
    assert whole.records[:5] == few.records
    fresh = evaluate(load_config([*words, "benchmark.sequences=8"]))
    assert whole.header["protocol"] == fresh.header["protocol"]
    assert [record.outcome() for record in whole.records] == [record.outcome() for record in fresh.records]
    assert [each["episodes"] for each in whole.header["extended"]] == [5]
    for name in ("episodes.csv", "subtasks.parquet"):
        assert (whole.folder / name).read_bytes() == (fresh.folder / name).read_bytes()
    assert evaluate(load_config([*words, *more])).summary.complete, "the longer run is what it is now"


def test_more_rollouts_tasks_and_scenes_join_a_task_suite(tmp_path):
    """In its own order, in which the old episodes have other places than before."""

    def words(name, rollouts, tasks, scenes, *more):
        suite = (f"benchmark.rollouts={rollouts}", f"benchmark.tasks={tasks}", f"benchmark.scenes={scenes}")
        plain = [
            "benchmark=fake",
            "benchmark.kind=tasks",
            "policy=random",
            "run.backend=local",
            "run.workers=1",
        ]
        return load_config([*plain, *suite, f"run.name={name}", f"run.results={tmp_path}", *more])

    evaluate(words("x", 1, "raise,lower", "A"))
    wider = (3, "reach_red,lower,raise", "B,A")
    with pytest.raises(ResultSetError, match=r"episodes 2 there, 18 now\. Add .* run\.extend=true"):
        evaluate(words("x", *wider))
    screen = Watcher()
    whole = evaluate(words("x", *wider, "run.extend=true"), screen)
    assert screen.finished == 16 and whole.summary.complete
    fresh = evaluate(words("y", *wider))
    for name in ("episodes.csv", "subtasks.parquet"):
        assert (whole.folder / name).read_bytes() == (fresh.folder / name).read_bytes()
    with pytest.raises(ResultSetError, match=r"episodes 18 there, 2 now\. Give"):
        evaluate(words("x", 1, "raise,lower", "A", "run.extend=true"))


def test_only_the_same_run_is_extended(tmp_path):
    evaluate(config(tmp_path, "run.name=x"))
    words = [word for word in WORDS if "sequences" not in word] + [f"run.results={tmp_path}", "run.name=x"]
    for other in ("benchmark.sequences=4", "run.seed=1", "benchmark.step_limit=9"):
        with pytest.raises(ResultSetError, match="holds another run"):
            evaluate(load_config([*words, "run.extend=true", other]))


def test_a_policy_that_cannot_act_ends_the_run_at_once_and_writes_no_record(tmp_path, monkeypatch):
    (tmp_path / "broken_policy.py").write_text(
        "class Broken:\n    def reset(self, instruction): pass\n    def act(self, observation): return self.weights\n"
    )
    monkeypatch.chdir(tmp_path)
    words = [word for word in WORDS if not word.startswith("policy=")]
    with pytest.raises(UserError, match=r"first act\(\): AttributeError: .*\(broken_policy\.py, line 3\)"):
        evaluate(load_config([*words, "policy._target_=broken_policy.Broken", "run.name=x"]))
    assert bench.load(tmp_path / "results" / "x").records == ()


FULL = """
import resource, sys
from vla_bench.bench.cli.run import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
sys.exit(main(sys.argv[2:]))
"""


def run_on_a_full_disk(size, words):
    """No file may grow beyond so many bytes."""
    full = [sys.executable, "-c", FULL, str(size), *words]
    done = subprocess.run(full, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "File too large" in done.stderr and "the same command finishes the rest" in done.stderr


def test_a_full_disk_is_a_sentence_and_the_same_command_goes_on(tmp_path):
    words = [*WORDS, f"run.results={tmp_path}", "run.name=x"]
    for size in (600, 4000):  # the header of the journal; a record
        run_on_a_full_disk(size, words)
    assert 1 <= len(bench.load(tmp_path / "x").records) < 5
    evaluate(load_config(words))
    run_on_a_full_disk(3300, words)  # a table
    after = evaluate(load_config(words))
    undisturbed = evaluate(load_config([*words[:-1], "run.name=y"]))
    assert [each.outcome() for each in after.records] == [each.outcome() for each in undisturbed.records]


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


def test_a_run_stops_when_its_average_is_known_closely_enough(tmp_path):
    def config(*words):
        sized = [word for word in WORDS if "sequences" not in word]
        return load_config([*sized, "benchmark.sequences=400", f"run.results={tmp_path}", *words])

    words = ("run.stop_width=1.2", "benchmark.step_limit=2")
    stopped = evaluate(config(*words))
    n = stopped.early_stop.n
    assert 20 < n < 400 and stopped.summary.complete and stopped.summary.done == n
    (note,) = (note for note in stopped.summary.notes if "stopped early" in note)
    assert f"after {n} episodes" in note and "confidence sequence" in note
    watcher = Watcher()
    again = evaluate(config(*words), watcher)
    assert watcher.finished == 0 and again.early_stop == stopped.early_stop
    assert note in (again.folder / "summary.md").read_text()
    with pytest.raises(ConfigError, match=r"run\.stop_width is for chains"):
        prepare(load_config(["benchmark=calvin_tasks", "policy=stub", "run.stop_width=0.1"]))
    with pytest.raises(ConfigError, match=r"run\.stop_width: a number of subtasks above 0"):
        config("run.stop_width=0")
