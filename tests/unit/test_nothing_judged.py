"""A run of any family that was stopped, or broke, before an episode was judged has tables, and no numbers in them."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from vla_bench.bench.protocol import EpisodeError
from vla_bench.bench.records.journal import Journal, read_journal
from vla_bench.bench.records.result_set import ResultSet

SETS = Path(__file__).resolve().parents[1] / "old_sets"


@pytest.mark.parametrize("name", sorted(path.name for path in SETS.iterdir() if (path / "journal.jsonl").is_file()))
@pytest.mark.parametrize("errors", [0, 3])
def test_the_tables_of_a_run_without_a_judged_episode_are_written(name, errors, tmp_path):
    shutil.copytree(SETS / name, tmp_path / name)
    journal = tmp_path / name / "journal.jsonl"
    records = read_journal(journal).records[:errors]
    journal.write_bytes(journal.read_bytes().splitlines(keepends=True)[0])
    with Journal.open(journal, read_journal(journal).header) as begun:
        for record in records:
            error = EpisodeError("policy", "it quits")
            begun.append(dataclasses.replace(record, status="error", subtasks=(), chain_length=0, error=error))
    found = ResultSet.load(journal.parent)
    assert len(found.records) == len(records)
    found.write()

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = (journal.parent / "summary.json").read_text()
    plain = json.loads(text, parse_constant=refuse)
    assert plain["episodes"]["done"] == 0 and not plain["complete"]
    assert all(row["rate"] is row["partial"] is row["ever"] is None for row in plain.get("rows", {}).values())
    assert "nan" not in (journal.parent / "summary.md").read_text()
