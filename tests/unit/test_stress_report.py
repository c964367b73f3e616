"""Stressed result sets against their unchanged twins."""

import xml.etree.ElementTree as tree
from pathlib import Path
from types import SimpleNamespace

import pytest

from vla_bench.bench.errors import ResultSetError
from vla_bench.bench.protocol import EpisodeRecord, SubtaskRecord
from vla_bench.bench.records.paired import holm
from vla_bench.bench.stress import comparing, page, tables


def records(lengths):
    made = []
    for index, length in enumerate(lengths):
        subtasks = tuple(
            SubtaskRecord(k, f"task{k}", "do it", k < length, 5, 5, "d") for k in range(min(length + 1, 5))
        )
        made.append(EpisodeRecord(index, f"seq-{index:04d}", "D", "done", length, subtasks))
    return made


def result_set(lengths, stress=None, policy="mine", folder="x"):
    facts = {"kind": "chains", "renderer": "none", **({"stress": stress} if stress else {})}
    header = {
        "protocol": {"name": "toy", "hash": str(stress), "facts": facts},
        "identity": {"policy": policy, "arguments": {}, "seed": 0, "content": {}},
        "longest": 5,
        "episodes": len(lengths),
    }
    summary = SimpleNamespace(kind="chains", benchmark="toy", policy=policy, notes=(), done=len(lengths))
    return SimpleNamespace(header=header, records=records(lengths), summary=summary, folder=Path(folder))


BEFORE = [5, 4, 3, 2, 5, 4, 3, 5, 4, 5, 3, 4]


@pytest.fixture
def levels(monkeypatch):
    monkeypatch.setattr("vla_bench.bench.records.comparison.differences", lambda *_: ())  # reads files
    worse = result_set([max(0, n - 3) for n in BEFORE], {"lost": 0.5, "seed": 0})
    same = result_set(BEFORE, {"image_noise": 10.0, "seed": 0})
    return comparing.levels_of([worse, result_set(BEFORE), same], "here")


def test_each_level_is_paired_with_the_unchanged_twin(levels):
    image, body = levels
    assert (image.name, body.name) == ("image: noise 10 of 255", "body: lost 0.5")
    assert image.comparison.average.difference.value == 0
    assert body.comparison.average.difference.value == pytest.approx(
        sum(max(0, n - 3) - n for n in BEFORE) / len(BEFORE)
    )
    assert body.breaks
    assert not image.breaks
    assert [image.corrected_p, body.corrected_p] == list(holm([image.comparison.average.p, body.comparison.average.p]))


def test_broken_episodes_are_those_that_went_worse_and_the_worst_is_first(levels):
    image, body = levels
    assert not image.broken
    assert len(body.broken) == len(BEFORE)
    first = body.broken[0]
    assert first.instructions == ("do it", "do it")
    assert (first.episode, first.solved, first.under_stress, first.subtask) == ("seq-0000", 5, 2, "task2")


def test_tables_name_levels_and_say_where_it_breaks(levels):
    text = tables.to_markdown({"mine": levels})
    assert "| body: lost 0.5 | 12 |" in text
    assert "mine breaks under body: lost 0.5" in text
    assert "seq-0000 (5 → 2)" in text
    both = tables.side_by_side({"a": levels, "b": levels[:1]})
    assert [cell.text for cell in both.rows[1]][-2:] == ["–", "–"]


def test_the_picture_has_a_mark_for_each_policy_and_level(levels):
    drawn = tree.fromstring(page.picture({"a": levels, "b": levels}))
    marks = [each for each in drawn.iter("{http://www.w3.org/2000/svg}g") if "mark" in each.get("class")]
    assert len(marks) == 4
    kinds = [each.get("class") for g in marks for each in g.iter("{http://www.w3.org/2000/svg}circle")]
    assert kinds.count("own hollow") == 2, "what is within chance is hollow"


def test_a_verdict_names_the_worst_and_counts_the_others(levels):
    body = levels[1]
    assert tables.verdicts({"mine": [body] * 3})[0].count("lost 0.5") == 3
    (said,) = tables.verdicts({"mine": [body] * 7})
    assert said.count("lost 0.5") == 4
    assert said.endswith("; and 3 more of the 7 changes.")


def test_without_a_twin_or_with_two_policies_there_is_no_table():
    stressed = result_set(BEFORE, {"lost": 0.5, "seed": 0})
    with pytest.raises(ResultSetError, match="stress=none"):
        comparing.levels_of([stressed], "here")
    with pytest.raises(ResultSetError, match="ablation=stress"):
        comparing.levels_of([result_set(BEFORE)], "here")
    with pytest.raises(ResultSetError, match="several policies"):
        comparing.levels_of([stressed, result_set(BEFORE, {"lost": 0.1}, "other"), result_set(BEFORE)], "here")


def test_a_checkpoint_is_what_is_in_its_files_wherever_they_lie(monkeypatch):
    monkeypatch.setattr("vla_bench.bench.records.comparison.differences", lambda *_: ())  # reads files

    def of(path, sum_, stress=None):
        made = result_set(BEFORE, stress)
        made.header["identity"]["arguments"] = {"checkpoint": path, "chunk": 5}
        made.header["identity"]["content"] = {"policy.checkpoint=last/model.safetensors": sum_}
        return made

    stressed = of("/there/last", "a1", {"lost": 0.5, "seed": 0})
    (level,) = comparing.levels_of([of("results/last", "a1"), stressed], "here")
    assert level.name == "body: lost 0.5"
    with pytest.raises(ResultSetError, match="stress=none"):
        comparing.levels_of([of("/there/last", "b2"), stressed], "here")
