"""What scripts and CI services read: JSON, one flat CSV table, JUnit, GitHub's step summary, exit codes."""

import io
import json
import xml.etree.ElementTree as ElementTree

import pandas
import pytest
from result_sets import write_chains

from vla_bench.bench.cli.main import main
from vla_bench.bench.errors import ConfigError
from vla_bench.bench.machine import doctor
from vla_bench.bench.records.comparison import compare
from vla_bench.bench.records.for_ci import append_step_summary, junit
from vla_bench.bench.records.formats import comma_separated
from vla_bench.bench.records.result_set import ResultSet
from vla_bench.bench.records.tables import Cell, Table

BASE = [0, 1, 2, 5, 0, 1, 2, 5] * 6
NEW = [1, 2, 5, 5, 1, 2, 5, 5] * 6


@pytest.fixture
def folders(tmp_path):
    return str(write_chains(tmp_path / "base", BASE, policy="base")), str(
        write_chains(tmp_path / "new", NEW, policy="new")
    )


def said(capsys, *words, code=0):
    assert main(words) == code
    return capsys.readouterr().out


def test_a_comparison_as_json_has_numbers(folders, capsys):
    (found,) = json.loads(said(capsys, "compare", *folders, "--format", "json"))
    exact = compare(*map(ResultSet.load, folders))
    assert (found["first"], found["second"], found["n"], found["better"]) == ("base", "new", 48, "new")
    assert found["average"]["difference"]["value"] == 1.25 and found["average"]["first"] == 2.0
    assert found["average"]["p"] == exact.average.p < 1e-6
    assert [each["p"] for each in found["positions"]] == [each.pairs.p for each in exact.positions]
    assert {name: each["corrected_p"] for name, each in found["tasks"].items()} == {
        each.task: each.corrected_p for each in exact.tasks
    }


def test_a_comparison_as_csv_is_one_table(folders, capsys):
    table = pandas.read_csv(io.StringIO(said(capsys, "compare", *folders, "--format", "csv")))
    exact = compare(*map(ResultSet.load, folders))
    assert list(table["measure"]) == ["average"] + ["position"] * 5 + ["task"] * len(exact.tasks)
    assert table["p"].dtype == float and table["p"][0] == exact.average.p
    assert table["difference"][0] == 1.25
    assert list(table["value_first"][1:6]) == [0.75, 0.5, 0.25, 0.25, 0.25]


def test_tables_of_two_splits_are_one_with_remarks(tmp_path, folders, capsys):
    other = str(write_chains(tmp_path / "other", [3] * 8, policy="other", facts={"assets": "builtin"}))
    words = ("table", *folders, other, "--anyway", "--no-published", "--format", "csv")
    table = pandas.read_csv(io.StringIO(said(capsys, *words)))
    assert list(table["method"]) == ["base", "new", "other"] and list(table["n"]) == [48, 48, 8]
    assert list(table["average chain length"]) == [2.0, 3.25, 3.0] and table["1/5 low"].dtype.kind in "fi"
    assert "assets" in table["remarks"][2] and "assets" not in str(table["remarks"][1])


def test_several_tables_are_one_and_what_has_no_number_is_empty():
    cells = (Cell("ours (a)", name="ours", remarks=("few episodes",)), Cell("1.50", ("−0.10", "+2.0")))
    first = Table("one", ("method", "average"), (cells,))
    second = Table("two", ("method", "%"), ((Cell("theirs"), Cell("–")),))
    found = pandas.read_csv(io.StringIO(comma_separated(first, second)))
    assert found.to_dict("list")["table"] == ["one", "two"] and list(found["method"]) == ["ours", "theirs"]
    assert found["average"][0] == 1.5 and found["average low"][0] == -0.1 and found["average high"][0] == 2.0
    assert found["%"].isna().all() and found["remarks"][0] == "few episodes"


def test_power_and_a_description_are_tables_too(folders, capsys):
    power = pandas.read_csv(io.StringIO(said(capsys, "power", "--average", "3", "--format", "csv")))
    assert len(power) == 1 and power["episodes"][0] > 1000 and power["difference"][0] == 0.1
    table = pandas.read_csv(io.StringIO(said(capsys, "describe", folders[0], "--format", "csv")))
    assert list(table["measure"][:6]) == ["average"] + ["position"] * 5
    assert table["value"][0] == 2.0 and list(table["value"][1:6]) == [0.75, 0.5, 0.25, 0.25, 0.25]


def test_a_leaderboard_is_one_table_best_first(tmp_path, folders, capsys):
    write_chains(tmp_path / "other", [3] * 8, policy="other", facts={"assets": "builtin"})
    text = said(capsys, "leaderboard", str(tmp_path), "--format", "csv")
    table = pandas.read_csv(io.StringIO(text))
    assert list(table["table"]) == [1, 1, 2] and list(table["name"]) == ["new", "base", "other"]
    assert list(table["value"]) == [3.25, 2.0, 3.0]
    assert table["difference_to_best"][1] == -1.25 and table["p"].dtype == float
    rows = json.loads(said(capsys, "leaderboard", str(tmp_path), "--format", "json"))
    assert [row["name"] for row in rows] == ["new", "base", "other"]
    assert rows[0].get("p") is None and rows[1]["p"] < 1e-6


def test_a_description_and_a_plan_as_json(folders, capsys):
    found = json.loads(said(capsys, "describe", folders[0], "--format", "json"))
    assert found["average_chain_length"]["value"] == 2.0 and found["policy"] == "base"
    plan = json.loads(said(capsys, "power", "--average", "3.2", "--difference", "0.1", "--format", "json"))
    assert plan["difference"] == 0.1 and isinstance(plan["episodes"], int)
    shown = json.loads(said(capsys, "power", "--average", "3.2", "--episodes", "200", "--format", "json"))
    assert shown["episodes"] == 200 and 0.3 < shown["difference"] < 1.5


@pytest.mark.parametrize(
    ("least", "code"), [("average=2.0", 0), ("average=3.2", 3), ("single=0.9", 0), ("single=0.99", 3)]
)
def test_fail_under_asks_the_lower_end_of_the_interval(folders, capsys, least, code):
    results = ResultSet.load(folders[1])  # 3.25 on average, all first subtasks
    assert results.average_chain_length.low < 3.2 < results.average_chain_length.value
    assert 0.9 < results.single_task_success.low < 0.99
    said(capsys, "compare", *folders, "--fail-under", least, code=code)


@pytest.mark.parametrize("least", ["average", "averge=2", "average=two", "single=80", "average=nan"])
def test_fail_under_that_cannot_be_meant(folders, capsys, least):
    assert main(["compare", *folders, "--fail-under", least]) == 1
    assert f"--fail-under {least}: " in capsys.readouterr().err


def test_junit_has_a_case_for_each_episode(tmp_path):
    results = ResultSet.load(write_chains(tmp_path / "a", [5, 2, 0], errors=[2], policy="\x1b[1mmine"))
    (suite,) = ElementTree.fromstring(junit(results))
    assert {name: suite.get(name) for name in ("tests", "failures", "errors")} == {
        "tests": "3",
        "failures": "1",
        "errors": "1",
    }
    kinds = [[child.tag for child in case] for case in suite]
    assert kinds == [[], ["failure"], ["error"]]
    assert suite[1][0].get("message").startswith("2 of 5 solved; failed at ")


def test_the_step_summary_is_added_to(tmp_path):
    page = tmp_path / "page.md"
    for text in ("# One\n", "# Two"):
        append_step_summary(text, {"GITHUB_STEP_SUMMARY": str(page)})
    assert page.read_text() == "# One\n\n# Two\n\n"
    with pytest.raises(ConfigError, match="GITHUB_STEP_SUMMARY is not set"):
        append_step_summary("x", {})


@pytest.mark.parametrize(
    ("name", "there", "absent"),
    [
        ("calvin_abc_d", "CALVIN, official assets", "built-in"),
        ("calvin_smoke", "CALVIN, built-in assets", "official"),
        ("simpler_bridge", "Vulkan", "CALVIN"),
    ],
)
def test_the_doctor_speaks_of_one_benchmark(monkeypatch, capsys, name, there, absent):
    from vla_bench.bench.cli.doctor import _benchmark

    checks = doctor._checks(_benchmark(name))
    names = [check.what for check in checks]
    assert there in names and not any(absent in each for each in names) and all(check.needed for check in checks)
    good = doctor.Finding(there, True, "fine", True)
    for finding, code, last in ((good, 0, "can be"), (doctor.Finding(there, False, "type: x", True), 1, "cannot be")):
        monkeypatch.setattr(doctor, "findings", lambda *_, finding=finding: iter([finding]))
        assert said(capsys, "doctor", name, code=code).splitlines()[-1].startswith(f"{name} {last} run here")
        plain = json.loads(said(capsys, "doctor", name, "--format", "json", code=code))
        assert plain["ready"] is (code == 0) and plain["findings"][0]["what"] == there


def test_the_doctor_says_what_takes_long(monkeypatch, capsys):
    import time

    from vla_bench.bench.cli import doctor as command
    from vla_bench.bench.families.family import Check

    slow = Check("engine", lambda: time.sleep(0.3) or "fine", slow="it is compiled")
    monkeypatch.setattr(command, "PATIENCE_SECONDS", 0.02)
    monkeypatch.setattr(doctor, "_checks", lambda _: [slow])
    assert main(["doctor"]) == 0
    assert "..  engine: still looking (it is compiled)" in capsys.readouterr().err


def test_every_policy_is_listed_and_a_group_has_help_of_its_own(capsys):
    from vla_bench.bench.cli.run import main as run

    assert run(["--list"]) == 0
    assert "\n  vla " in capsys.readouterr().out
    assert run(["--help", "policy"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("policy=<preset>") and "\n  vla " in text and "run.<field>" not in text
    assert run(["--help", "polcy"]) == 1
    assert run(["policy=stub", "--junit"]) == 1
    assert "--junit=<value>" in capsys.readouterr().err
