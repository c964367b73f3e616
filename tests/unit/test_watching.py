"""A run that goes on elsewhere, seen by its journal."""

import datetime
import json
import os
import socket
import subprocess
import sys

import pytest
from result_sets import write_chains
from sample_records import chain_record, error_record, header

from vla_bench.bench.cli import describe, watch
from vla_bench.bench.cli.main import main
from vla_bench.bench.errors import ResultSetError
from vla_bench.bench.live.watching import WatchedRun
from vla_bench.bench.records.journal import LOCK, Journal
from vla_bench.bench.records.journal_tail import JournalTail
from vla_bench.bench.records.rows import Row, write_rows


@pytest.fixture
def journal(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda file: None)
    with Journal.open(tmp_path / "run" / "journal.jsonl", {**header(10), "name": "run"}) as journal:
        yield journal


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


def begin_try(folder, ended=None, workers=("local-0", "local-1"), later=0.0):
    now = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=later)).isoformat()
    one = {"started": now, "first_worker": now, "ended": ended and now, "workers": [{"worker": w} for w in workers]}
    (folder / "provenance.json").write_text(json.dumps({"tries": [one]}))


def test_records_arrive_as_they_are_written(journal, folder):
    begin_try(folder)
    watched = WatchedRun(folder)
    assert watched.totals.finished == 0 and watched.state == "running"
    assert [worker.label for worker in watched.totals.workers()] == ["ready", "ready"]
    journal.append(chain_record(0, 3))
    journal.append(error_record(1))
    watched.look()
    assert (watched.totals.finished, watched.totals.errors) == (2, 1)
    assert dict((name, value) for name, value, _ in watched.totals.numbers())["average"] == "3.00"
    assert watched.totals.workers()[0].label == "seq-0000: 3 of 5"
    for index in range(1, 10):
        journal.append(chain_record(index, 5))
    watched.look()
    assert dict((name, value) for name, value, _ in watched.totals.numbers())["n"] == "10"


def test_a_line_that_is_half_written_waits(journal, folder):
    journal.append(chain_record(0, 3))
    path = folder / "journal.jsonl"
    whole = path.read_bytes()
    journal.append(chain_record(1, 3))
    both = path.read_bytes()
    path.write_bytes(both[: len(whole) + 40])
    tail = JournalTail(path)
    assert len(tail.entries) == 1
    with path.open("r+b") as file:
        file.write(both)
    assert not tail.look() and [entry.record.index for entry in tail.entries] == [0, 1]


def test_earlier_tries_count_and_a_journal_begun_anew_is_noticed(journal, folder, tmp_path):
    journal.append(chain_record(0, 3))
    begin_try(folder, later=0.1)
    watched = WatchedRun(folder)
    assert watched.totals.finished == 1 and watched.totals.missing_at_start == 9
    with Journal.open(tmp_path / "other" / "journal.jsonl", {**header(4), "name": "run"}) as other:
        other.append(chain_record(2, 1))
    (tmp_path / "other" / "journal.jsonl").replace(folder / "journal.jsonl")
    watched.look()
    assert watched.totals.planned == 4 and watched.totals.finished == 1


def test_how_it_ended_is_known(journal, folder):
    begin_try(folder)
    watched = WatchedRun(folder)
    assert watched.state == "running" and not watched.remark()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (folder / LOCK).write_text(f"process {gone.pid} on {socket.gethostname()}")
    assert watched.state == "lost" and "is gone; the same command finishes the rest" in watched.remark()
    (folder / LOCK).write_text(f"process {gone.pid} on another-host")
    assert watched.state == "running", "nobody can say from here"
    begin_try(folder, ended=True)
    watched.look()
    assert watched.state == "ended"


def test_the_command_says_how_far_a_run_is(journal, folder, capsys, tmp_path):
    begin_try(folder)
    journal.append(chain_record(0, 3))
    assert main(["watch", str(tmp_path), "--once"]) == 0
    said = capsys.readouterr().out
    assert "run: running" in said and "1/10" in said and "average" in said
    for index in range(1, 10):
        journal.append(chain_record(index, 3))
    assert main(["watch", str(folder)]) == 0, "a run that is through needs no waiting"
    assert "average chain length 3.00" in capsys.readouterr().out
    with pytest.raises(ResultSetError, match="goes on now; it has run"):
        watch.choose(tmp_path)
    assert main(["watch", str(tmp_path / "nowhere")]) == 1


def test_a_run_that_stopped_is_not_complete(journal, folder, capsys):
    begin_try(folder, ended=True)
    journal.append(chain_record(0, 3))
    assert main(["watch", str(folder)]) == 130
    assert "the same command finishes the rest" in capsys.readouterr().err


def test_an_ablation_is_watched_row_after_row(tmp_path, monkeypatch, capsys):
    """The next row may begin a while after the last one's end; when all are complete, nobody waits."""
    folders = [write_chains(tmp_path / "ablation-toy" / name, [5, 3, 1], policy=name) for name in ("a-1", "b-2")]
    write_rows(tmp_path / "ablation-toy", [Row(each.name[0], each.name) for each in folders])
    going = iter([[folders[0]], [], [folders[1]], []])
    seen, complete = [], iter([False, False, True])
    monkeypatch.setattr(watch, "_going_in", lambda folder: next(going))
    monkeypatch.setattr(watch, "_watch", lambda folder, once: seen.append(folder))
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0)
    real = describe.sets_of_rows
    monkeypatch.setattr(describe, "sets_of_rows", lambda *words: real(*words) if next(complete) else {})
    assert main(["watch", str(tmp_path / "ablation-toy")]) == 0
    assert seen == folders
    assert "an ablation of 2 rows" in capsys.readouterr().out
