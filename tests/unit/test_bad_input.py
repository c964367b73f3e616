"""Thousands of inputs that nobody should give: each is taken, or refused in a sentence; never a traceback.

Hypothesis draws them, the same ones every time, and shrinks what fails: 3,210 in all, as the sum of
``--hypothesis-show-statistics`` shows.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sample_records import chain_record, error_record, header

from vla_bench.bench.episode.actions import Actions
from vla_bench.bench.errors import ConfigError, ResultSetError, UserError
from vla_bench.bench.protocol import to_plain
from vla_bench.bench.records.journal import Journal, _line, read_journal
from vla_bench.bench.records.provenance import tries_of
from vla_bench.bench.records.result_set import DERIVED, JOURNAL, PROVENANCE, ResultSet
from vla_bench.bench.setup.config import Config, config_from_plain, config_to_plain
from vla_bench.bench.setup.plan import environment_of, plan
from vla_bench.bench.setup.preparation import prepare
from vla_bench.bench.setup.presets import load_config
from vla_bench.envs.fake import environment_spec
from vla_bench.policies.choice import PolicyChoice
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.one_slot import OneSlotPolicy
from vla_bench.policies.registry import describe_policy


def cases(count):
    """So many of them, the same ones every time, however slow the machine."""
    return settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module", autouse=True)
def hurry():
    """What a power cut would leave is not looked at here, so nothing has to wait for the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
TREACHEROUS = st.sampled_from(
    (
        *("../../etc", "/", "a/b", ".", "..", "a\0b", "a\nb", "ü" * 300, "$(touch x)", "; ls", "%s{0}"),
        *("auto", "", " ", "null", "A", "D", "ABC", "calvin", "fake", "stub", "local", "seq-0001"),
        *(0, 1, 7, 2**80, 1e300, ["A"], ["A", "A"], [[]], {}, {"cues": 3}, {"": None}, {"x": {"y": []}}),
    )
)
WILD = (
    TREACHEROUS
    | PLAIN
    | st.lists(PLAIN, max_size=3)
    | st.dictionaries(st.text(max_size=5), PLAIN | st.lists(PLAIN, max_size=2), max_size=2)
)

CONFIGURATION = config_to_plain(Config())
FIELDS = [(group, name) for group, fields in CONFIGURATION.items() for name in (*fields, "unheard_of")]


@cases(600)
@given(st.dictionaries(st.sampled_from(FIELDS), WILD, min_size=1, max_size=3))
def test_configurations(changes):
    """A group's fields with anything in them: a configuration that survives being written down, or a word."""
    plain = json.loads(json.dumps(CONFIGURATION))
    for (group, name), value in changes.items():
        plain[group][name] = value
    try:
        config = config_from_plain(plain)
    except ConfigError as error:
        assert str(error)
        return
    again = config_from_plain(config_to_plain(config))
    assert repr(again) == repr(config)  # NaN is not equal to itself
    name = config.run.name
    assert name is None or ("/" not in name and name not in ("", ".", "..") and "\0" not in name)
    try:
        ready = prepare(config)
    except UserError as error:
        assert str(error)
        return
    assert ready.folder.name not in ("", ".", "..") and ready.folder.parent == Path(config.run.results)


KEYS = ("run.name", "run.workers", "benchmark.sequences", "policy.x", "benchmark", "run", "x.y", "", "~run")
TEXTS = ("", "=", "[", "{a", "'", '"', "${run.name}", "${oc.env:HOME}", "a,b", "\\", "1e999", "!!", "é", "\t")


@cases(60)
@given(st.sampled_from(KEYS), st.sampled_from(("=", " ", "==")), st.lists(st.sampled_from(TEXTS), max_size=2))
def test_words_on_the_command_line(key, sign, texts):
    try:
        load_config(["benchmark=fake", f"{key}{sign}{''.join(texts)}"])
    except UserError as error:
        assert str(error)


NUMBERS = st.sampled_from((0.0, 0.3, -0.3, 1.0, -1.0, 5.0, -1e30, np.nan, np.inf, -np.inf))
CHUNKS = arrays.arrays(st.sampled_from(("f4", "f8")), st.tuples(st.integers(1, 3), st.just(4)), elements=NUMBERS)
ODD_ARRAYS = arrays.arrays(
    st.sampled_from(("f4", "f8", "f2", "i4", "u1", "?", "c8", "U3", "M8[s]")),
    arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=7),
)
ANSWERS = (
    CHUNKS
    | ODD_ARRAYS
    | CHUNKS.map(lambda chunk: chunk.tolist())
    | CHUNKS.map(lambda chunk: {"action": chunk})
    | CHUNKS.map(lambda chunk: chunk.astype(object))
    | st.sampled_from((None, "left", 3, [[0.0], [0.0, 1.0]]))
)


class Wild:
    chunk = execute = 2
    answer = None

    def reset(self, instruction): ...

    def act(self, observation):
        return self.answer


@cases(1000)
@given(ANSWERS, st.integers(1, 5))
def test_what_policies_return(answer, remaining):
    """Whatever comes back is executed within bounds, or refused by name."""
    plain = Wild()
    policy = OneSlotPolicy(plain, environment_spec({}))
    plain.answer = answer
    try:
        done = Actions(policy.spec).executed(policy.act((0,), ({},))[0], remaining)
    except PolicyError as error:
        assert "'Wild'" in str(error)
        return
    assert done.ndim == 2 and done.shape[1] == 4 and 1 <= len(done) <= min(2, remaining)
    assert np.isfinite(done).all() and np.abs(done).max() <= 1


ARGUMENTS = st.dictionaries(
    st.sampled_from(("action", "chunk", "cameras", "scale", "lapse")), WILD | st.integers(-1, 9), max_size=2
)


@cases(200)
@given(st.sampled_from(("stub", "random", "expert")), ARGUMENTS)
def test_arguments_of_policies(name, arguments):
    plain = {"benchmark": {"family": "fake"}, "policy": {"_target_": name, **arguments}}
    try:
        config = config_from_plain(plain)
        spec = describe_policy(
            PolicyChoice(config.policy.target, config.policy.arguments), environment_of(config.benchmark)
        )
    except UserError as error:
        assert str(error)
        return
    assert 1 <= spec.execute <= spec.chunk <= 10_000


RECORDS = [chain_record(index, index % 6) for index in range(5)] + [error_record(5)]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A result set with six records and everything made from them, and the bytes of its files."""
    folder = tmp_path_factory.mktemp("sound")
    with Journal.open(folder / JOURNAL, header(10)) as journal:
        for record in RECORDS:
            journal.append(record)
    ResultSet.load(folder).write()
    return folder, {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


@cases(700)
@given(
    st.floats(0, 1, exclude_max=True),
    st.sampled_from(("change", "cut", "insert", "tear")),
    st.binary(min_size=1, max_size=40),
)
def test_damaged_journals_cost_the_damaged_lines_only(sound, where, how, some):
    """Whatever bytes are changed, cut or put in: no exception but ours, and no whole record is lost."""
    folder, files = sound
    content = bytearray(files[JOURNAL])
    starts = [0] + [place + 1 for place, byte in enumerate(content) if byte == 10]
    place = int(where * len(content))
    match how:
        case "change":
            content[place] = some[0]
        case "cut":
            del content[place : place + len(some)]
        case "insert":
            content[place:place] = some
        case _:
            del content[place:]
    path = folder / "damaged.jsonl"
    path.write_bytes(content)
    line = sum(start <= place for start in starts) - 1
    try:
        found = read_journal(path).records
    except ResultSetError:
        assert line == 0, "only the header may make a journal unreadable"
        return
    assert all(record in RECORDS for record in found), "a record was made up"
    before = {record.index for record in RECORDS[: max(line - 1, 0)]}
    assert before <= {record.index for record in found}, "a line before the damage was lost"


def places(plain, way=()):
    """Every key of nested plain data, as a path."""
    for key, value in plain.items():
        yield (*way, key)
        if isinstance(value, dict):
            yield from places(value, (*way, key))


@cases(200)
@given(st.data())
def test_journals_of_another_schema(sound, data):
    """Right checksums around a header or a record that lacks a key, or has something else there."""
    folder = sound[0]
    lines = [{"header": dict(header(10))}, {"time": 1.0, "record": to_plain(RECORDS[0])}]
    lines = json.loads(json.dumps(lines))
    which = data.draw(st.integers(0, 1))
    *way, last = data.draw(st.sampled_from(list(places(lines[which]))))
    home = lines[which]
    for key in way:
        home = home[key]
    if data.draw(st.booleans()):
        del home[last]
    else:
        home[last] = data.draw(WILD)
    path = folder / "other.jsonl"
    try:
        path.write_bytes(b"".join(_line(line) for line in lines))
    except ValueError:  # what no journal can hold: NaN, half a surrogate pair
        return
    try:
        contents = read_journal(path)
    except ResultSetError as error:
        assert which == 0 and "\n" not in str(error)
        return
    assert len(contents.records) + len(contents.damaged) == 1
    assert contents.damaged or which == 0 or contents.records[0].index < 10


TRY = {"started": "2026-01-01T00:00:00+00:00", "first_worker": None, "ended": None, "command": "x"}


@cases(150)
@given(
    st.sampled_from((*DERIVED, PROVENANCE, "config.yaml")),
    st.binary(max_size=60) | st.floats(0, 1) | st.dictionaries(st.sampled_from([*TRY]), WILD),
)
def test_result_folders(sound, name, damage):
    """Whatever lies beside a sound journal, its records are read, and its tables come out the same."""
    folder, files = sound
    if isinstance(damage, float):  # truncated
        content = files.get(name, b'{"tries": [{}]}')
        content = content[: int(damage * len(content))]
    elif isinstance(damage, dict):
        content = json.dumps({"tries": [{**TRY, **damage}]}).encode()
    else:
        content = damage
    (folder / name).write_bytes(content)
    try:
        result_set = ResultSet.load(folder)
        assert result_set.records == tuple(RECORDS) and result_set.summary.done == 5
        if name in files and name != JOURNAL:
            result_set.write()
            assert (folder / name).read_bytes() == files[name]
    finally:
        (folder / name).unlink(missing_ok=True)


@pytest.mark.parametrize("content", [b"", b"\n", b"{}\n", b"[]\n", b"\xff\n", b'{"header":1,"checksum":"0"}\n'])
def test_foreign_files_in_the_journals_place(tmp_path, content):
    (tmp_path / JOURNAL).write_bytes(content)
    with pytest.raises(ResultSetError):
        ResultSet.load(tmp_path)
    (tmp_path / JOURNAL).unlink()
    (tmp_path / JOURNAL).mkdir()
    with pytest.raises(ResultSetError, match="cannot be read"):
        ResultSet.load(tmp_path)


def test_half_a_provenance_is_no_provenance(tmp_path):
    (tmp_path / "p").write_text('{"tries": [3, {"started": "yesterday"}]}')
    assert tries_of(tmp_path / "p") == []


CUE = {"do": "raise", "when": "step", "episode": 1}
OPTIONS = st.dictionaries(st.sampled_from(("cues", "counter", "step_seconds", "other")), WILD, max_size=2) | (
    st.dictionaries(st.sampled_from((*CUE, "times", "at", "amount")), WILD, max_size=2).map(
        lambda changes: {"cues": [{**CUE, **changes}]}
    )
)


@cases(300)
@given(OPTIONS)
def test_a_plan_of_the_toy_with_wild_options(options):
    plain = {"benchmark": {"family": "fake", "assets": "builtin", "sequences": 2}}
    policy = describe_policy(PolicyChoice("stub"), environment_of(config_from_plain(plain).benchmark))
    plain["benchmark"]["options"] = options
    try:
        plan(config_from_plain(plain).benchmark, policy)
    except UserError as error:
        assert str(error)
