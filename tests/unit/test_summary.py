import json
import random

import pandas
import pytest
from rich.console import Console
from sample_records import chain_record, error_record, header, task_record

from vla_bench.bench.records.journal import Journal
from vla_bench.bench.records.result_set import ResultSet
from vla_bench.bench.records.screen_tables import to_screen
from vla_bench.bench.records.summary import summarize, summary_to_plain
from vla_bench.bench.records.tables import to_markdown

LENGTHS = [5, 5, 4, 3, 5, 0, 1, 5, 5, 2]
RECORDS = [chain_record(index, length) for index, length in enumerate(LENGTHS)]


def folder(path, records, planned=10):
    with Journal.open(path / "journal.jsonl", header(planned)) as journal:
        for record in records:
            journal.append(record)
    result_set = ResultSet.load(path)
    result_set.write()
    return result_set


def test_numbers_of_a_chain_run():
    summary = summarize(header(10), RECORDS)
    assert summary.complete
    assert [each.successes for each in summary.chain.rates] == [9, 8, 7, 6, 5]
    assert summary.single_task.value == 0.9
    assert summary.chain.average.value == 3.5
    tasks = {each.task: (each.rate.successes, each.rate.n) for each in summary.tasks}
    assert tasks == {
        "open_drawer": (9, 10),
        "lift_red_block_table": (8, 9),
        "turn_on_led": (7, 8),
        "push_blue_block_left": (6, 7),
        "close_drawer": (5, 6),
    }
    assert summary.timing.steps == 10 * sum(min(length + 1, 5) for length in LENGTHS)


def test_order_of_records_does_not_matter():
    shuffled = random.Random(1).sample(RECORDS, len(RECORDS))
    assert summarize(header(10), shuffled, wall=1, startup=0) == summarize(header(10), RECORDS, wall=1, startup=0)


def test_errors_stand_apart_with_bounds_both_ways():
    summary = summarize(header(10), [*RECORDS[:8], error_record(8), error_record(9)])
    assert (summary.done, summary.errors, summary.missing) == (8, 2, 0)
    first, *_, average = summary.chain_bounds
    assert summary.chain.rates[0].successes == 7
    assert (first.low, first.high) == (0.7, 0.9)
    assert (average.low, average.high) == (28 / 10, 38 / 10)
    text = to_markdown(summary)
    assert "2 errors" in text
    assert "1/5 70.0 to 90.0" in text
    assert "average 2.80 to 3.80" in text
    assert "seq-0008: crash: was killed by SIGSEGV" in text


def test_an_unfinished_run_says_so():
    summary = summarize(header(10), RECORDS[:4])
    assert not summary.complete
    assert "unfinished: 6 of 10" in to_markdown(summary)
    assert summary_to_plain(summary)["episodes"] == {"planned": 10, "done": 4, "errors": 0, "missing": 6}


def test_nothing_finished_yet_is_not_zero():
    plain = summary_to_plain(summarize(header(10), []))
    assert plain["average_chain_length"]["value"] is None
    assert plain["chain"]["1/5"]["rate"] is None
    text = to_markdown(summarize(header(10), []))
    assert "no episode was judged" in text and "|" not in text


def test_every_number_in_markdown_has_an_interval():
    text = to_markdown(summarize(header(10), RECORDS))
    assert "| 10 | 90.0 [59.6, 98.2] | 80.0 [49.0, 94.3] |" in text
    assert "| close_drawer | 5 | 6 | 83.3 [43.6, 97.0] |" in text
    assert "not comparable with published CALVIN numbers" in text
    assert "builtin assets · renderer tiny · protocol 0123456789ab" in text
    assert "Single" not in text.splitlines()[0]


@pytest.mark.parametrize("width", [80, 120])
def test_screen_fits_and_cuts_no_number(width):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(to_screen(summarize(header(10), RECORDS)))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= width
    for word in ("90.0", "59.6–98.2", "3.50", "push_blue_block_left", "builtin assets", "not comparable"):
        assert word in text
    assert "…" not in text


@pytest.mark.parametrize("records", [[], [error_record(0), error_record(1)]], ids=["none", "errors only"])
def test_tables_without_a_judged_episode(records):
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    summary = summarize(header(2), records)
    console.print(to_screen(summary))
    text = console.export_text()
    assert f"0 of 2 episodes judged · {len(records)} errors" in text
    assert "no episode was judged, so there is no number" in text
    for word in ("%", "–", "1/5", "Where the time went"):
        assert word not in text, "a table of zeros says nothing"


def test_a_perfect_score_fits_80_columns():
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(to_screen(summarize(header(1000), [chain_record(index, 5) for index in range(1000)])))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    assert "5.00" in text and text.count("99.6–100") == 10


def test_task_suite_has_a_column_per_scene():
    records = [
        task_record(index, task, scene, success=(index % 4 != 0))
        for index, (task, scene) in enumerate((t, s) for s in "AB" for t in ("open_drawer", "turn_on_led") * 3)
    ]
    about = header(12, kind="tasks", tasks=("open_drawer", "turn_on_led"), scenes=("A", "B"), starts="varied")
    summary = summarize(about, records)
    assert (summary.overall.successes, summary.overall.n) == (9, 12)
    assert summary.chain is None
    text = to_markdown(summary)
    assert "| task | scene A | scene B | n | % |" in text
    assert "| open_drawer | 1/3 | 2/3 | 6 | 50.0 [18.8, 81.2] |" in text
    assert "| all tasks | 4/6 | 5/6 | 12 |" in text
    plain = summary_to_plain(summary)
    assert plain["scenes"]["B"]["open_drawer"]["successes"] == 2
    assert plain["overall"]["n"] == 12


def test_tables_are_the_same_bytes_in_any_order_and_after_any_number_of_tries(tmp_path):
    one = folder(tmp_path / "one", RECORDS)
    retried = [error_record(3), *random.Random(2).sample(RECORDS, 10)]
    retried = [
        chain_record(r.index, r.chain_length, worker=f"ray-{r.index}", attempt=2) if r.status == "done" else r
        for r in retried
    ]
    other = folder(tmp_path / "other", retried)
    for name in ("episodes.parquet", "episodes.csv", "subtasks.parquet", "subtasks.csv"):
        assert (one.folder / name).read_bytes() == (other.folder / name).read_bytes()
    summaries = [json.loads((each.folder / "summary.json").read_text()) for each in (one, other)]
    for each in summaries:
        del each["timing"]
    assert summaries[0] == summaries[1]
    assert (one.folder / "timings.csv").read_bytes() != (other.folder / "timings.csv").read_bytes()


def test_tables_load_with_one_call(tmp_path):
    result_set = folder(tmp_path / "run", [*RECORDS[:9], error_record(9)])
    for name in ("episodes", "subtasks", "timings"):
        parquet = pandas.read_parquet(result_set.folder / f"{name}.parquet")
        csv = pandas.read_csv(result_set.folder / f"{name}.csv")
        assert list(parquet.columns) == list(csv.columns)
        pandas.testing.assert_frame_equal(parquet, getattr(result_set, name))
        assert len(parquet) == len(csv)
    episodes, subtasks = result_set.episodes, result_set.subtasks
    assert episodes["chain_length"].mean() == pytest.approx(sum(LENGTHS[:9]) / 9)
    assert pandas.isna(episodes["chain_length"][9])
    assert episodes["error_kind"][9] == "crash"
    first = subtasks[subtasks["position"] == 0]
    assert first["success"].mean() == result_set.summary.single_task.value
    assert subtasks["success"].dtype == bool
    assert pandas.read_csv(result_set.folder / "subtasks.csv")["success"].dtype == bool


def test_a_result_set_can_be_read_while_it_is_written(tmp_path):
    with Journal.open(tmp_path / "journal.jsonl", header(10)) as journal:
        journal.append(RECORDS[0])
        assert ResultSet.load(tmp_path).summary.done == 1
