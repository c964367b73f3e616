import dataclasses
import io

import pytest
from rich.console import Console
from sample_records import chain_record, error_record, header, task_record

from vla_bench.bench.dispatch.events import (
    EpisodeFinished,
    EpisodeRetried,
    EpisodeStarted,
    Progress,
    StopAsked,
    WorkerLost,
    WorkerStarted,
)
from vla_bench.bench.live.screen import LiveScreen, PlainScreen
from vla_bench.bench.live.table import draw
from vla_bench.bench.live.totals import RunningTotals, clock_text
from vla_bench.bench.protocol import EpisodeError, EpisodeSpec
from vla_bench.bench.records.journal import JournalContents
from vla_bench.bench.records.statistics import rate
from vla_bench.bench.records.summary import summarize
from vla_bench.envs.simulation import EpisodeStart


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def episode(index):
    return EpisodeSpec(index, f"seq-{index:04d}", EpisodeStart("D"), ("open_drawer",), ("open it",), 360)


def running(clock, earlier=(), missing=10):
    totals = RunningTotals(header(10), earlier, missing, clock)
    for worker in ("a", "b"):
        totals.take(WorkerStarted(worker, {}))
    return totals


def test_counts_and_numbers():
    totals = running(Clock())
    totals.take(EpisodeStarted("a", episode(0), 1))
    totals.take(EpisodeFinished(chain_record(0, 5)))
    totals.take(EpisodeFinished(chain_record(1, 0)))
    totals.take(EpisodeFinished(error_record(2)))
    assert (totals.finished, totals.errors) == (3, 1)
    numbers = {name: value for name, value, _ in totals.numbers()}
    assert numbers == {
        "1/5": "50.0",
        "2/5": "50.0",
        "3/5": "50.0",
        "4/5": "50.0",
        "5/5": "50.0",
        "average": "2.50",
        "n": "2",
    }
    assert totals.shares()[0] == ("physics", pytest.approx(2 / 3))


def test_earlier_tries_count():
    totals = running(Clock(), earlier=[chain_record(index, 5) for index in range(4)], missing=6)
    assert totals.finished == 4
    assert dict((name, value) for name, value, _ in totals.numbers())["n"] == "4"


def test_workers_and_their_episodes():
    clock = Clock()
    totals = running(clock)
    totals.take(EpisodeStarted("a", episode(0), 1))
    totals.take(EpisodeStarted("b", episode(1), 2))
    totals.take(Progress("a", "seq-0000", 42))
    assert totals.workers()[0].instruction == "open it"
    clock.now += 7
    first, second = totals.workers()
    assert (first.episode, first.steps, first.seconds()) == ("seq-0000", 42, 7.0)
    assert second.label == "seq-0001 (attempt 2)"
    totals.take(EpisodeRetried(episode(1), 2, EpisodeError("hang", "stuck")))
    totals.take(EpisodeFinished(chain_record(0, 1)))
    totals.take(WorkerLost("b", EpisodeError("crash", "gone")))
    first, second = totals.workers()
    assert (first.state, first.finished) == ("ready", 1)
    assert (second.state, second.episode) == ("lost", "")
    assert totals.retries == 1


def test_speed_and_time_left():
    clock = Clock()
    totals = running(clock)
    assert totals.eta_text() == "–"
    for index in range(5):
        clock.now += 10
        totals.take(EpisodeFinished(chain_record(index, 4)))  # 50 steps each
    assert totals.steps_per_second() == pytest.approx(5.0)
    assert totals.eta_text() == "00:50"


def test_the_task_suite_shows_success():
    totals = RunningTotals(header(4, kind="tasks"), [], 4, Clock())
    totals.take(EpisodeFinished(chain_record(0, 1)))
    assert totals.numbers()[0][:2] == ("success", "100.0")


@pytest.mark.parametrize(("seconds", "text"), [(0, "00:00"), (187.9, "03:07"), (7387, "2:03:07")])
def test_clock(seconds, text):
    assert clock_text(seconds) == text


EVENTS = (
    WorkerStarted("a", {}),
    EpisodeStarted("a", episode(0), 1),
    EpisodeRetried(episode(0), 1, EpisodeError("hang", "nothing happened for 60 s [in a step]")),
    Progress("a", "seq-0000", 12),
    EpisodeFinished(chain_record(0, 5)),
    EpisodeFinished(error_record(1)),
    StopAsked(1, dropped=False),
)


def show(screen_of, events=EVENTS, **console):
    out = io.StringIO()
    screen = screen_of(Console(file=out, width=100, highlight=False, **console))
    screen.begin("results/x", header(10), JournalContents(header(10), (), (), (7,), 0), 10)
    for event in events:
        screen.take(event)
    screen.end()
    return out.getvalue()


def test_plain_lines():
    lines = show(PlainScreen).splitlines()
    assert lines[0].startswith("calvin_smoke · expert · seed 0 · builtin assets · renderer tiny · protocol")
    assert lines[1] == "results/x: 10 episodes to run"
    assert "damaged in line 7" in lines[2]
    assert lines[3] == "note: built-in assets: not comparable with published CALVIN numbers"
    assert "seq-0000: hang in attempt 1, will be tried again: nothing happened for 60 s [in a step]" in lines
    assert "seq-0001: crash, given up: was killed by SIGSEGV" in lines
    assert "stopping: 1 running episode to finish; Ctrl-C again drops them" in lines
    assert "2/10 episodes" in lines[-1]


@pytest.mark.parametrize(("screen_of", "terminal"), [(PlainScreen, False), (LiveScreen, True)])
def test_a_remark_of_the_trial_is_said_once(screen_of, terminal):
    events = [WorkerStarted(worker, {"remark": "begins with 40"}) for worker in ("a", "b")]
    text = show(screen_of, events, force_terminal=terminal, color_system=None)
    assert text.count("note: begins with 40") == 1


def test_many_workers_do_not_fill_the_terminal():
    totals = RunningTotals(header(10), [], 10, Clock())
    for number in range(64):
        totals.take(WorkerStarted(f"ray-{number}", {}))
    lines = [line.plain for line in draw(totals, 100)]
    assert lines[-1] == "and 52 more" and len(lines) < 24
    short = [line.plain for line in draw(totals, 100, 12)]
    assert len(short) <= 12 and short[-1].startswith("and ") and "average" in "".join(short)


def busy(workers=3, judged=200):
    """A run in full swing, every worker at another place of a chain."""
    told = (
        "grasp the red block lying on the table and then lift it up",
        "push the sliding door to the left side",
        "turn on the led light",
        "go push the blue block left",
        "close it",
    )
    clock = Clock()
    totals = RunningTotals(header(1000), [], 1000, clock)
    for index in range(judged):
        totals.take(EpisodeFinished(chain_record(index, index % 6)))
    for number in range(workers):
        spec = EpisodeSpec(300 + number, f"seq-{300 + number:04d}", EpisodeStart("D"), tuple("abcde"), told, 360)
        totals.take(EpisodeStarted(f"local-{number}", spec, 1 + (number == 1)))
        totals.take(Progress(f"local-{number}", spec.episode, 123, number % 5))
    clock.now += 33
    return totals


@pytest.mark.parametrize("width", [30, 40, 60, 80, 100, 140])
def test_no_number_is_cut_or_dropped_at_any_width(width):
    totals = busy()
    lines = draw(totals, width)
    assert all(line.cell_len <= width and line.plain == line.plain.rstrip() for line in lines)
    words = " ".join(line.plain for line in lines).split()
    for name, value, interval in totals.numbers():
        assert name in words and value in words and (not interval or interval in words)
    assert words.index("average") < words.index("n") < words.index("1/5")


def test_a_worker_shows_its_instruction_and_its_place_in_the_chain():
    wide, narrow = ([line.plain for line in draw(busy(), width)][-3:] for width in (140, 60))
    told = "grasp the red block lying on the table and then lift it up"
    assert " ".join(wide[0].split()) == f"local-0 seq-0300 1/5 {told} step 123 00:33 0 done"
    assert "(attempt 2)  2/5  push the sliding door to the left side" in wide[1]
    assert all("2/5  push the slid" in line and "done" not in line for line in narrow[1:2])


def test_intervals_know_clusters():
    records = [
        dataclasses.replace(task_record(index, "open_drawer", "D", success=index < 20), cluster=f"start-{index // 10}")
        for index in range(40)
    ]
    totals = RunningTotals(header(40, kind="tasks"), records, 0, Clock())
    summary = summarize(header(40, kind="tasks"), records)
    (name, value, interval), n = totals.numbers()
    assert (name, value, n) == ("success", "50.0", ("n", "40", ""))
    assert interval == f"{100 * summary.overall.low:.1f}–{100 * summary.overall.high:.1f}"
    plain = rate(20, 40)
    assert summary.overall.high - summary.overall.low > 1.5 * (plain.high - plain.low)


def test_live_table():
    screen = LiveScreen(Console(file=io.StringIO(), width=100, force_terminal=True))
    screen.begin("results/x", header(10), JournalContents(header(10), (), (), (), 0), 0)
    for event in EVENTS:
        screen.take(event)
    text = "\n".join(line.plain for line in screen._draw(100, 40))
    for words in ("2/10", "1/5", "average", "errors 1", "retries 1", "steps/s", "physics 67 %", "again drops them"):
        assert words in text


def test_what_was_said_meanwhile_is_printed_when_the_table_goes():
    text = show(LiveScreen, force_terminal=True, color_system=None)
    shown, left = text.split("\x1b[?1049l")
    assert "what" not in left and "1/5" in shown and "\x1b[?1049h" in shown
    for words in ("given up: was killed by SIGSEGV", "will be tried again", "2/10 episodes"):
        assert left.count(words) == 1, "for good"
