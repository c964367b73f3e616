"""Thousands of inputs that nobody should give: each is taken, or refused in a sentence; never a traceback.

Drawn from a fixed seed, so that what fails once fails again.
"""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from sample_records import chain_record, header

from bench.config import Config, config_from_plain, config_to_plain
from bench.errors import ConfigError, ResultSetError, UserError
from bench.evaluations import environment_of, plan
from bench.inference import Actions
from bench.presets import load_config
from bench.provenance import tries_of
from bench.records.journal import Journal
from bench.records.result_set import JOURNAL, PROVENANCE, ResultSet
from bench.runner import prepare
from envs.fake import environment_spec
from policies.errors import PolicyError
from policies.one_slot import OneSlotPolicy

WILD = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        7,
        2**80,
        0.5,
        -0.5,
        float("nan"),
        float("inf"),
        1e300,
        "",
        " ",
        "x",
        "null",
    ),
    *("../../etc", "/", "a/b", ".", "..", "a\0b", "a\nb", "ü" * 300, "$(touch x)", "; ls", "%s{0}", "auto"),
    *((), ["A"], ["A", "A"], [[]], {}, {"a": 1}, {"cues": 3}, {"": None}, ["A", 1], {"x": {"y": []}}),
)


def wild(rng):
    value = rng.choice(WILD)
    return json.loads(json.dumps(value)) if isinstance(value, dict | list) else value


def test_configurations():
    """A group's fields with anything in them: a configuration that survives being written down, or a word."""
    rng, plain = random.Random(0), config_to_plain(Config())
    taken = 0
    for number in range(1500):
        changed = json.loads(json.dumps(plain))
        for _ in range(rng.randint(1, 3)):
            group = rng.choice(list(changed))
            name = rng.choice([*changed[group], "unheard_of"])
            changed[group][name] = wild(rng)
        try:
            config = config_from_plain(changed)
        except ConfigError as error:
            assert str(error) and "\n" not in str(error).replace("a\nb", "")
            continue
        taken += 1
        name = config.run.name
        assert name is None or ("/" not in name and name not in ("", ".", "..") and "\0" not in name)
        if number % 5:
            continue
        try:
            ready = prepare(config)
        except UserError:
            continue
        assert ready.folder.name not in ("", ".", "..")
    assert 100 < taken < 1400, "both kinds were tried"


def test_words_on_the_command_line():
    rng = random.Random(1)
    keys = (
        "run.name",
        "run.workers",
        "benchmark.sequences",
        "policy.x",
        "benchmark",
        "run",
        "x.y",
        "",
        "~run",
    )
    texts = (
        "",
        "=",
        "[",
        "{a",
        "'",
        '"',
        "${run.name}",
        "${oc.env:HOME}",
        "a,b",
        "\\",
        "1e999",
        "!!",
        "é",
        "\t",
    )
    for _ in range(60):
        word = f"{rng.choice(keys)}{rng.choice(('=', ' ', '=='))}{rng.choice(texts)}{rng.choice(texts)}"
        try:
            load_config(["benchmark=fake", word])
        except UserError as error:
            assert str(error)


def answers(rng):
    shape = rng.choice(((2, 4), tuple(rng.choice((0, 1, 2, 4, 7)) for _ in range(rng.randrange(4)))))
    dtype = rng.choice(("f4", "f8", "f2", "i4", "u1", "?", "c8", "O", "U3", "M8[s]"))
    array = np.zeros(shape, dtype)
    if dtype in ("f4", "f8") and array.size and rng.random() < 0.6:
        array.flat[rng.randrange(array.size)] = rng.choice((np.nan, np.inf, -np.inf, 1e30, -5, 0.3))
    return rng.choice(
        (array, array, array, array.tolist(), None, "left", 3, {"action": array}, [array, [array]])
    )


def test_what_policies_return():
    """Whatever comes back is executed within bounds, or refused by name."""
    rng, environment = random.Random(2), environment_spec({})

    class Wild:
        chunk = execute = 2

        def reset(self, instruction): ...

        def act(self, observation):
            return self.answer

    plain = Wild()
    policy = OneSlotPolicy(plain, environment)
    actions, executed = Actions(policy.spec), 0
    for _ in range(3000):
        plain.answer = answers(rng)
        try:
            done = actions.executed(policy.act((0,), ({},))[0], rng.randint(1, 5))
        except PolicyError as error:
            assert "'Wild'" in str(error)
            continue
        executed += 1
        assert done.ndim == 2 and done.shape[1] == 4 and 1 <= len(done) <= 2
        assert np.isfinite(done).all() and np.abs(done).max() <= 1
    assert executed > 20


def test_result_folders(tmp_path):
    """Whatever lies beside a sound journal, its records are read and its tables made."""
    rng = random.Random(3)
    with Journal.open(tmp_path / JOURNAL, header(3)) as journal:
        journal.append(chain_record(0, 2))
    good = {"started": "2026-01-01T00:00:00+00:00", "first_worker": None, "ended": None, "command": "x"}
    for number in range(150):
        each = {name: wild(rng) if rng.random() < 0.4 else value for name, value in good.items()}
        content = json.dumps({"tries": rng.choice(([each], [good, each], wild(rng), [wild(rng)]))})
        if rng.random() < 0.2:
            content = content[: rng.randrange(len(content))]
        (tmp_path / PROVENANCE).write_text(content)
        result_set = ResultSet.load(tmp_path)
        assert result_set.summary.done == 1
        if number % 20 == 0:
            result_set.write()


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"{}\n", b"[]\n", b"\xff\n", b'{"header":1,"checksum":"0"}\n']
)
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


def test_a_plan_of_the_toy_with_wild_options():
    rng = random.Random(4)
    config = config_from_plain({"benchmark": {"family": "fake", "assets": "builtin", "sequences": 2}})
    from policies.registry import describe_policy

    class Stub:
        target, arguments = "stub", {}

    policy = describe_policy(Stub(), environment_of(config.benchmark))
    cue = {"do": "raise", "when": "step", "episode": 1}
    for _ in range(300):
        options = {rng.choice(("cues", "counter", "step_seconds", "other")): wild(rng)}
        if rng.random() < 0.5:
            options = {"cues": [{**cue, rng.choice((*cue, "times", "at")): wild(rng)}]}
        plain = {"benchmark": {"family": "fake", "sequences": 2, "options": options}}
        try:
            plan(config_from_plain(plain).benchmark, policy)
        except UserError as error:
            assert str(error)
