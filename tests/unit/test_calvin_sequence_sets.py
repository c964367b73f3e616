"""Which sequences a run has: official, from a file, or drawn anew; each its own protocol, and said so."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import pytest

from vla_bench.bench.errors import ConfigError
from vla_bench.bench.families import calvin_sequences
from vla_bench.bench.setup.plan import environment_of, plan
from vla_bench.bench.setup.presets import load_config
from vla_bench.envs.calvin import sequence_generator
from vla_bench.envs.calvin.sequence_generator import generated_sequences, impossible, initial_conditions
from vla_bench.envs.calvin.sequences import Sequence, official_sequences
from vla_bench.policies.choice import PolicyChoice
from vla_bench.policies.registry import describe_policy

OFFICIAL = official_sequences()


def planned(*words):
    benchmark = load_config(["benchmark=calvin_smoke", "policy=stub", *words]).benchmark
    environment = environment_of(benchmark)
    return plan(benchmark, describe_policy(PolicyChoice("stub"), environment), environment)


def plain(sequences):
    return [[dataclasses.asdict(each.condition), list(each.subtasks)] for each in sequences]


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "mine.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return f"benchmark.sequence_file={path}"

    return write


@pytest.mark.parametrize(("count", "digest"), [(100, "febcda87c6ed52e3"), (250, "8cc1054dd9961eda")])
def test_generated_are_what_the_original_returns(count, digest):
    """Digests of json.dumps of what get_sequences of calvin fa03f01 returned."""
    text = json.dumps(plain(generated_sequences(count)))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == digest


def test_a_hundred_generated_are_not_the_first_hundred():
    generated = generated_sequences(100)
    assert len(set(generated) & set(OFFICIAL[:100])) == 5
    assert set(generated) <= set(OFFICIAL)
    assert generated_sequences(1000) == OFFICIAL


def test_drawing_gives_what_is_stored():
    index, condition = 41, initial_conditions()[41]
    stored = sequence_generator._stored()[condition]
    assert len(stored) == 5
    drawn = sequence_generator._drawn(condition, 6, index)
    assert drawn[:5] == stored
    assert not impossible(Sequence(condition, drawn[5]))
    other = sequence_generator._drawn(condition, 2, 192 + index)
    assert other[0] not in stored and not impossible(Sequence(condition, other[0]))


def test_more_than_are_stored_go_on_where_those_end(monkeypatch):
    """Of 1001 the 41st state has one more, which alone is drawn; the others have what they had."""
    asked = []

    def draw(condition, count, seed):
        asked.append((condition, count, seed))
        return [*sequence_generator._stored()[condition], ("open_drawer",)]

    monkeypatch.setattr(sequence_generator, "_drawn", draw)
    found = generated_sequences(1001)
    assert asked == [(initial_conditions()[40], 6, 40)]
    assert sorted(map(str, set(found) - set(OFFICIAL))) == [str(Sequence(initial_conditions()[40], ("open_drawer",)))]
    assert len(found) == 1001
    assert len(set(found[:1000]) & set(OFFICIAL)) > 900
    assert found[:100] != OFFICIAL[:100]


def test_drawn_ones_are_kept(monkeypatch, tmp_path):
    calls = []

    def draw(count, seed, told):
        calls.append((count, seed))
        return OFFICIAL[:count]

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(calvin_sequences, "generated_sequences", draw)
    first = calvin_sequences._generated(4, 3)
    assert calvin_sequences._generated(4, 3) == first
    assert calls == [(4, 3)]
    (kept,) = tmp_path.rglob("4-3.json")
    kept.write_text(kept.read_text()[:40])
    assert calvin_sequences._generated(4, 3) == first
    assert len(calls) == 2


def test_published_lists_are_the_official_protocol(file):
    whole = file(plain(OFFICIAL))
    assert planned(whole).protocol == planned().protocol
    assert planned(whole).notes == planned().notes
    assert "sequence_set" not in planned().protocol.facts


def test_each_set_has_its_own_hash_and_says_what_it_is(file):
    mine = planned(file(plain(OFFICIAL[5:9])), "benchmark.sequences=4")
    generated = planned("benchmark.sequence_set=generated", "benchmark.sequences=4")
    first = planned("benchmark.sequences=4")
    assert len({each.protocol.hash for each in (mine, generated, first)}) == 3
    assert [each.subtasks for each in mine.protocol.episodes] == [each.subtasks for each in OFFICIAL[5:9]]
    assert generated.protocol.facts["sequence_set"] == "get_sequences(4)"
    assert "sequences: get_sequences(4), not the first 4 of the official 1000" in generated.notes
    assert any(note.startswith("sequences: the 4 of mine.json (") for note in mine.notes)


def test_a_short_file_is_run_whole_and_chains_may_have_another_length(file):
    made = planned(file(plain([Sequence(OFFICIAL[0].condition, OFFICIAL[0].subtasks[:2])])), "benchmark.sequences=1000")
    assert [each.subtasks for each in made.protocol.episodes] == [("rotate_blue_block_right", "move_slider_right")]


def test_a_chain_that_the_rules_do_not_allow_is_told_of(file):
    odd = Sequence(OFFICIAL[0].condition, ("open_drawer", *OFFICIAL[0].subtasks[1:]))
    (note,) = [note for note in planned(file(plain([odd])), "benchmark.sequences=1").notes if "sequences:" in note]
    assert "1 cannot be solved by CALVIN's rules, e.g. open_drawer in the one at place 0" in note


GOOD = plain(OFFICIAL[:2])


def _with(**changes):
    return [[{**GOOD[0][0], **changes}, GOOD[0][1]]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no JSON"),
        ("version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ({}, "a JSON list of sequences is wanted"),
        ([], "a JSON list of sequences is wanted"),
        ([["open_drawer"]], r"entry 0 must be \[\{initial state\}, \[tasks\]\]"),
        ([GOOD[0], [GOOD[1][0], []]], "entry 1 must be"),
        ([[GOOD[0][0], ["opn_drawer"]]], r"entry 0: CALVIN has no task 'opn_drawer'. Did you mean 'open_drawer'"),
        ([[GOOD[0][0], "open_drawer"]], "the tasks must be a list of names"),
        ([GOOD[0], [GOOD[1][0], GOOD[1][1][:3]]], "sequences of 3 and 5 tasks"),
        (_with(led=2), "led is 2; it can be 0, 1"),
        (_with(red_block="drawer"), "red_block is 'drawer'; it can be 'table'"),
        (_with(blue_block="slider_left"), "each side of the slider has place for one"),
        (_with(grasped=1), "grasped is 1"),
        (_with(colour=1), "the initial state has no 'colour'"),
        ([[{"led": 1}, GOOD[0][1]]], "the initial state lacks 'lightbulb'"),
    ],
)
def test_what_is_no_list_of_sequences_is_refused_in_a_sentence(file, content, message):
    with pytest.raises(ConfigError, match=message):
        planned(file(content), "benchmark.sequences=1")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["benchmark.sequences=1001"], "there are 1000 sequences.*sequence_set=generated"),
        (["benchmark.sequence_seed=1"], "type benchmark.sequence_set=generated too"),
        (["benchmark.sequence_set=generated", "benchmark.sequence_seed=99999999"], "at most 22369620"),
        (["benchmark.sequence_set=generated", "benchmark.sequence_seed=-1"], "at least 0"),
        (["benchmark.sequence_set=generated", "benchmark.sequences=30000"], "at most 20000"),
        (["benchmark.sequence_set=generate"], "Did you mean 'generated'"),
        (["benchmark.sequence_file=nowhere.json"], "nowhere.json: there is no such file"),
        (["benchmark.sequence_file=.", "benchmark.sequence_set=generated"], "drop benchmark.sequence_set"),
        (["benchmark=calvin_tasks", "benchmark.sequence_set=generated"], "is for chains"),
    ],
)
def test_what_does_not_go_together_is_said(words, message):
    with pytest.raises(ConfigError, match=message):
        planned(*words)


def test_a_file_with_fewer_than_asked_for(file):
    with pytest.raises(ConfigError, match=r"benchmark.sequences=3: .*mine.json has 2 sequences"):
        planned(file(GOOD), "benchmark.sequences=3")
