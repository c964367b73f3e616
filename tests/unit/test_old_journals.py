"""Result sets of before 0.2.0, whose journals state no score, load with the tables they always had.

The journals under ``tests/old_sets`` were written by version 0.1.0 (SimplerEnv's from made-up outcomes), and
``expected.json`` is what that version made of them.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from vla_bench.bench.families import simpler_score
from vla_bench.bench.records.overview import leaderboard, side_by_side
from vla_bench.bench.records.result_set import ResultSet
from vla_bench.bench.records.several_runs import SeveralRuns
from vla_bench.bench.records.summary import summary_to_plain
from vla_bench.bench.records.tables import counts_line, key_line, tables
from vla_bench.envs.simpler import grids

FOLDER = Path(__file__).resolve().parents[1] / "old_sets"
EXPECTED = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
SUITE = "calvin_tasks_expert"
"""Whose intervals have learnt of clusters since; its rates are what they were."""
NAMES = sorted(path.parent.name for path in FOLDER.glob("*/journal.jsonl") if path.parent.name != SUITE)
WITH_FAMILY = [name for name in NAMES if name != "no_family"]


def load(name: str) -> ResultSet:
    return ResultSet.load(FOLDER / name)


SINCE = ("name", "remarks")
"""Entries that cells have got since."""


def plain(made):
    found = json.loads(json.dumps([dataclasses.asdict(table) for table in made]))
    for cell in (cell for table in found for row in table["rows"] for cell in row):
        for name in SINCE:
            del cell[name]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_its_tables_and_its_summary_are_what_they_were(name):
    found, expected = load(name).summary, EXPECTED[name]
    assert (key_line(found), counts_line(found)) == (expected["key"], expected["counts"])
    assert plain(tables(found)) == expected["tables"]
    made = json.loads(json.dumps(summary_to_plain(found)))
    known = expected["summary"]["timing"]  # which may have got further entries since
    made["timing"] = {name: made["timing"][name] for name in known}
    del made["interval"], expected["summary"]["interval"]  # a sentence
    assert made == expected["summary"]


@pytest.mark.parametrize("name", WITH_FAMILY)
def test_it_stands_beside_published_numbers_as_it_did(name):
    assert plain(side_by_side({name: load(name)})) == EXPECTED[name]["table"]


def test_the_task_suite_has_the_rates_it_had():
    found, expected = load(SUITE).summary, EXPECTED[SUITE]["summary"]
    assert (found.overall.successes, found.overall.n) == (expected["overall"]["successes"], expected["overall"]["n"])
    rates = {each.task: (each.rate.successes, each.rate.n) for each in found.tasks}
    assert rates == {task: (each["successes"], each["n"]) for task, each in expected["tasks"].items()}


def test_several_of_them_stand_in_one_table_as_they_did():
    chains = {name: load(name) for name in ("calvin_chains_expert", "calvin_chains_stub")}
    assert plain(side_by_side(chains)) == EXPECTED["chains"]["table"]
    both = SeveralRuns([load(name) for name in ("simpler_bridge", "simpler_bridge_seed1")])
    assert plain(side_by_side({"both": both})) == EXPECTED["several"]["table"]
    ranked = [table for table in EXPECTED["leaderboard"]["table"] if SUITE not in str(table)]
    assert plain(leaderboard({name: load(name) for name in WITH_FAMILY})) == ranked


def test_a_journal_that_names_no_family_has_a_table():
    (table,) = side_by_side({"mine": load("no_family")})
    assert table.rows[0][0].text.startswith("mine")


def test_a_task_that_the_reader_no_longer_has_still_counts(monkeypatch):
    before = load("simpler_visual_matching").summary.overall
    for module in (grids, simpler_score):
        monkeypatch.setattr(module, "TASKS", {}, raising=False)
    monkeypatch.setattr(grids, "SETS", {})
    assert load("simpler_visual_matching").summary.overall == before
