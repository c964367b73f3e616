"""What is in a hash, a digest and a seed, and what is not."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import pytest

from vla_bench.bench.protocol import (
    EpisodeError,
    EpisodeRecord,
    EpisodeSpec,
    EvaluationProtocol,
    SubtaskRecord,
    Timings,
    canonical_json,
    record_from_plain,
    spec_from_plain,
    to_plain,
)
from vla_bench.bench.score import pooled
from vla_bench.envs.simulation import EpisodeStart

SPEC = EpisodeSpec(3, "seq-0003", EpisodeStart("D", {"robot_obs": (0.1, -2.0)}), ("lift", "push"), ("up", "on"), 360)
SUBTASK = SubtaskRecord(0, "lift", "up", True, 12, 3, "abc")
RECORD = EpisodeRecord(3, "seq-0003", "D", "done", 1, (SUBTASK,))


def test_a_protocol_of_ours_has_always_the_same_hash():
    """Worked out anew, and as it was when result sets were first compared by it."""
    protocol = EvaluationProtocol("mine", {"b": (1, 2.5), "a": {"x": None}}, (SPEC,), pooled(["seq-0003"]))
    episode = (
        '{"episode":"seq-0003","index":3,"instructions":["up","on"],"judged":"chain","start":'
        '{"scene":"D","state":{"robot_obs":[0.1,-2.0]},"task":""},"step_limit":360,"subtasks":["lift","push"]}'
    )
    score = canonical_json(to_plain(protocol.score))
    text = f'{{"episodes":[{episode}],"facts":{{"a":{{"x":null}},"b":[1,2.5]}},"name":"mine","score":{score}}}'
    assert protocol.hash == hashlib.sha256(text.encode()).hexdigest()[:12]
    assert len(protocol.hash) == 12


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"facts": {"renderer": "fast"}},
        {"episodes": (dataclasses.replace(SPEC, index=4),)},
        {"episodes": (dataclasses.replace(SPEC, start=EpisodeStart("A")),)},
        {"episodes": (dataclasses.replace(SPEC, start=dataclasses.replace(SPEC.start, task="lift")),)},
        {"episodes": (dataclasses.replace(SPEC, subtasks=("push", "lift")),)},
        {"episodes": (dataclasses.replace(SPEC, instructions=("up", "in")),)},
        {"episodes": (dataclasses.replace(SPEC, step_limit=361),)},
        {"episodes": (dataclasses.replace(SPEC, judged="last"),)},
        {"score": pooled(["seq-0003"]).__class__(name="another", episodes=("seq-0003",))},
    ],
)
def test_whatever_may_change_a_number_changes_the_hash(change):
    protocol = EvaluationProtocol("mine", {"renderer": "tiny"}, (SPEC,), pooled(["seq-0003"]))
    assert dataclasses.replace(protocol, **change).hash != protocol.hash


def test_clusters_change_no_hash_and_no_digest():
    protocol = EvaluationProtocol("mine", {}, (SPEC,), pooled(["seq-0003"]))
    clustered = dataclasses.replace(SPEC, cluster="arm")
    assert dataclasses.replace(protocol, episodes=(clustered,)).hash == protocol.hash
    assert clustered.digest == SPEC.digest == dataclasses.replace(SPEC, index=9).digest
    assert SPEC.digest != dataclasses.replace(SPEC, episode="seq-0004").digest
    plain = {name: value for name, value in to_plain(SPEC).items() if name not in ("index", "cluster")}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    assert SPEC.digest == hashlib.sha256(text.encode()).hexdigest()[:8]


def test_a_score_without_an_episode_or_with_another_is_refused():
    with pytest.raises(ValueError, match=r"mine: the score and the protocol differ in \['seq-0003', 'seq-0004'\]"):
        EvaluationProtocol("mine", {}, (SPEC,), pooled(["seq-0004"]))
    with pytest.raises(ValueError, match=r"differ in \['a', 'b', 'c'\]$"):
        EvaluationProtocol("mine", {}, (SPEC,), pooled(["seq-0003", "d", "c", "b", "a"]))


def test_seeds_are_those_of_the_first_release():
    """63 bits; a run finished by another version has to go on with the same ones."""
    text = hashlib.sha256(b"7/seq-0003/1").digest()
    assert SPEC.seed(7, 1) == int.from_bytes(text[:8], "little") // 2
    assert len({SPEC.seed(run, position) for run in range(8) for position in range(5)}) == 40
    assert all(0 <= SPEC.seed(run, 0) < 2**63 for run in range(50))
    assert any(SPEC.seed(run, 0) >= 2**62 for run in range(50))


def test_timings_add_up_part_by_part():
    assert Timings() == Timings(0.0, 0.0, 0.0, 0.0, 0.0)
    assert Timings(1, 2, 3, 4, 5) + Timings(10, 20, 30, 40, 50) == Timings(11, 22, 33, 44, 55)


def test_defaults_of_a_record_claim_nothing():
    assert (SUBTASK.ever, dict(SUBTASK.flags)) == (False, {})
    assert (RECORD.error, RECORD.worker, RECORD.attempt, RECORD.timings) == (None, "", 1, Timings())
    assert EpisodeError("crash", "gone").detail == ""


def test_an_outcome_has_nothing_that_depends_on_where_and_when():
    elsewhere = dataclasses.replace(RECORD, worker="b", attempt=3, timings=Timings(1.0), latency={"decision": {"7": 1}})
    assert elsewhere.outcome() == RECORD.outcome()
    for changed in ({"chain_length": 0}, {"status": "error"}, {"scene": "A"}, {"cluster": "x"}, {"subtasks": ()}):
        assert dataclasses.replace(RECORD, **changed).outcome() != RECORD.outcome()


def test_plain_data_and_back():
    failed = dataclasses.replace(RECORD, status="error", error=EpisodeError("hang", "stuck", "tail"), attempt=2)
    for record in (RECORD, failed):
        assert record_from_plain(json.loads(json.dumps(to_plain(record)))) == record
    for spec in (SPEC, dataclasses.replace(SPEC, cluster="arm", judged="last")):
        assert spec_from_plain(json.loads(json.dumps(to_plain(spec)))) == spec
    old = to_plain(SPEC)
    del old["cluster"]
    assert spec_from_plain(old) == SPEC
    assert to_plain(EpisodeSpec) is EpisodeSpec


def test_json_that_is_no_json_is_refused():
    with pytest.raises(ValueError):
        canonical_json({"nan": float("nan")})
    assert canonical_json({"b": 1, "a": [0.1]}) == '{"a":[0.1],"b":1}'
