"""The score is data: a tree in the protocol, in its hash and in the journal, and nothing else makes a number."""

from __future__ import annotations

import dataclasses
import json

import pytest
from sample_records import header, task_record

from vla_bench.bench.errors import ResultSetError
from vla_bench.bench.protocol import EpisodeSpec, EvaluationProtocol, to_plain
from vla_bench.bench.records.journal import Journal
from vla_bench.bench.records.result_set import JOURNAL, ResultSet
from vla_bench.bench.records.scoring import part_rates, rows, weights
from vla_bench.bench.records.summary import summarize
from vla_bench.bench.score import Score, chains, pooled, score_from_plain
from vla_bench.envs.simulation import EpisodeStart

RECORDS = [
    task_record(index, "open_drawer", scene, success=success)
    for index, (scene, success) in enumerate([("A", True), ("A", True), ("A", False), ("B", False), ("C", True)])
]
NAMES = [record.episode for record in RECORDS]
TREE = Score(
    "all",
    "alike",
    (
        Score("A", episodes=tuple(NAMES[:3])),
        Score("B", episodes=(NAMES[3],)),
        Score("C", episodes=(NAMES[4],), counts=False),
    ),
)


def stated(score: Score, records=RECORDS, **changes):
    about = header(len(records), kind="tasks", tasks=["open_drawer"], scenes=["A", "B", "C"])
    return {**about, "protocol": {**about["protocol"], "score": to_plain(score)}, **changes}


def test_parts_count_alike_and_what_does_not_count_is_shown_but_in_no_mean():
    found = rows(TREE, RECORDS)
    assert [(row.name, row.success.value, row.counted) for row in found] == [
        ("A", pytest.approx(2 / 3), True),
        ("B", 0.0, True),
        ("C", 1.0, False),
        ("all", pytest.approx(1 / 3), True),
    ]
    assert summarize(stated(TREE), RECORDS).overall == found[-1].success


def test_pooled_parts_count_by_their_episodes():
    tree = dataclasses.replace(TREE, how="pooled")
    found = summarize(stated(tree), RECORDS)
    assert (found.overall.successes, found.overall.n) == (2, 4), "C does not count"
    nested = Score("top", "alike", (tree, Score("other", episodes=("x",))))
    assert rows(nested, RECORDS)[-1].success.value == 0.5


def test_weights_make_the_mean():
    made = [weight * record.chain_length for weight, record in zip(weights(TREE, RECORDS), RECORDS, strict=True)]
    assert sum(made) / len(made) == pytest.approx(1 / 3)


def test_a_part_without_a_row_stands_beside_its_whole():
    tree = dataclasses.replace(TREE, parts=tuple(dataclasses.replace(part, row=False) for part in TREE.parts))
    assert [row.name for row in rows(tree, RECORDS)] == ["all"]
    found = part_rates(tree, RECORDS)
    assert [(each.whole, each.name, each.rate.n, each.counted) for each in found] == [
        ("all", "A", 3, True),
        ("all", "B", 1, True),
        ("all", "C", 1, False),
    ]


def test_a_chain_has_the_average_chain_length():
    about = stated(chains(NAMES), longest=5)
    assert summarize(about, RECORDS).chain.average.value == pytest.approx(0.6)


def test_a_score_survives_being_written_down():
    for score in (TREE, chains(NAMES), pooled(NAMES)):
        assert score_from_plain(json.loads(json.dumps(to_plain(score)))) == score


@pytest.mark.parametrize(
    "plain", [{}, {"name": "x"}, [], {**to_plain(TREE), "how": "best"}, {**to_plain(TREE), "counts": 1}]
)
def test_what_is_no_score_is_refused(plain):
    with pytest.raises(ValueError):
        score_from_plain(plain)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"parts": (), "episodes": ()}, "either parts or episodes"),
        ({"how": "alike", "episodes": ("a",)}, "only parts can count alike"),
        ({"how": "mean", "episodes": ("a",)}, "are averaged pooled, alike, chain"),
        ({"how": "alike", "parts": (chains(["a"]),)}, "no parts of another number"),
        ({"parts": (pooled(["b", "a"]), pooled(["a", "c"]))}, "the episode a is in it twice"),
    ],
)
def test_what_cannot_be_averaged_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Score("x", **fields)


def test_fewer_episodes_leave_a_smaller_tree():
    small = TREE.restricted(NAMES[3:4])
    assert small == Score("all", "alike", (Score("B", episodes=(NAMES[3],)),))
    assert TREE.restricted(["nothing"]) is None
    other = TREE.restricted([NAMES[3], NAMES[2], NAMES[0]])
    assert list(other.names()) == [NAMES[3], NAMES[2], NAMES[0]] and [part.name for part in other.parts] == ["B", "A"]
    assert TREE.counted() == frozenset(NAMES[:4])
    assert dataclasses.replace(TREE, counts=False).counted() == TREE.counted(), "of the parts, not of the whole"


def protocol(score: Score) -> EvaluationProtocol:
    episodes = tuple(
        EpisodeSpec(index, name, EpisodeStart("A"), ("open_drawer",), ("do it",), 9) for index, name in enumerate(NAMES)
    )
    return EvaluationProtocol("p", {}, episodes, score)


def test_the_score_is_in_the_hash_and_has_every_episode():
    other = dataclasses.replace(TREE, parts=(*TREE.parts[:2], dataclasses.replace(TREE.parts[2], counts=True)))
    assert len({protocol(score).hash for score in (TREE, other, pooled(NAMES))}) == 3
    with pytest.raises(ValueError, match="differ in"):
        protocol(pooled(NAMES[:-1]))


def write(folder, score):
    with Journal.open(folder / JOURNAL, stated(score)) as journal:
        for record in RECORDS:
            journal.append(record)
    return folder


def test_a_record_in_no_part_is_refused_by_a_sentence(tmp_path):
    assert ResultSet.load(write(tmp_path / "whole", TREE)).summary.done == 5
    with pytest.raises(ResultSetError, match=rf"episode {NAMES[4]} is in no part of the score"):
        ResultSet.load(write(tmp_path / "less", TREE.restricted(NAMES[:4])))


def test_a_header_with_a_broken_score_is_refused(tmp_path):
    about = stated(TREE)
    about["protocol"]["score"] = {"name": "all"}
    Journal.open(tmp_path / JOURNAL, about).close()
    with pytest.raises(ResultSetError, match="states no usable score"):
        ResultSet.load(tmp_path)
