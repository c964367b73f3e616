"""The digest of a living policy, its copies, and the words of evaluate()."""

import threading

import numpy as np
import pytest

from vla_bench.bench.errors import ConfigError
from vla_bench.bench.setup.config import config_to_plain
from vla_bench.bench.setup.keywords import config_from_keywords
from vla_bench.bench.setup.presets import load_config
from vla_bench.policies.identity.sources import code_digest
from vla_bench.policies.identity.state import copied, state_digest


class Held:
    def __init__(self, **held):
        self.__dict__.update(held)


EQUAL = [
    lambda: {"a": [1, 2.5, "x", None, (True,)], 3: {1, 2}},
    lambda: np.arange(6.0).reshape(2, 3),
    lambda: Held(weights=np.ones(3), inner=Held(n=1)),
    lambda: np.random.default_rng(3),
    lambda: Held(names={"b", "a"}, call=Held.__init__),
]


@pytest.mark.parametrize("make", EQUAL)
def test_equal_states_have_equal_digests(make):
    assert state_digest(make()) == state_digest(make())
    assert state_digest(make())[1] == ()


def test_every_change_of_a_state_changes_the_digest():
    states = [
        Held(w=np.zeros(3)),
        Held(w=np.zeros(3, np.float32)),
        Held(w=np.zeros((3, 1))),
        Held(w=np.array([0.0, 0, 1e-300])),
        Held(v=np.zeros(3)),
        Held(w=[0.0, 0.0, 0.0]),
        Held(w=(0.0, 0.0, 0.0)),
        Held(w=[0, 0, 0]),
        Held(w=["0", "0", "0"]),
        Held(w={"a": 1}),
        Held(w={"a": True}),
        Held(w=Held(a=1)),
    ]
    assert len({state_digest(each)[0] for each in states}) == len(states)


def test_a_state_that_holds_itself_ends_and_what_cannot_be_read_is_named():
    loop = Held(lock=threading.Lock())
    loop.me = loop
    digest, uncompared = state_digest(loop)
    assert len(digest) == 64 and uncompared == ("lock (lock)",)


def test_weights_count_and_are_shared_by_copies():
    torch = pytest.importorskip("torch")
    policy = Held(network=torch.nn.Linear(2, 2), history=[])
    before = state_digest(policy)[0]
    twin = copied(policy)
    assert twin.network is not policy.network and twin.network.weight is policy.network.weight
    twin.history.append(1)
    assert policy.history == [] and state_digest(policy)[0] == before
    with torch.no_grad():
        policy.network.weight[0, 0] += 1
    assert state_digest(policy)[0] != before


def test_keywords_mean_what_the_command_line_means(tmp_path):
    typed = load_config(
        ["benchmark=calvin_smoke", "policy=stub", "benchmark.sequences=20", "run.workers=2", f"run.results={tmp_path}"]
    )
    given = {"sequences": np.int64(20), "workers": 2, "results": tmp_path}
    assert config_to_plain(config_from_keywords("stub", "calvin_smoke", {}, given)) == config_to_plain(typed)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"sequnces": 3}, "evaluate() has no field 'sequnces'. Did you mean 'sequences'?"),
        ({"workers": 0}, "run.workers"),
        ({"workers": "two"}, "run.workers=two: a whole number is wanted"),
        ({"sequences": True}, "benchmark.sequences=True: a whole number is wanted"),
        ({"backend": "rya"}, "Did you mean 'ray'?"),
        ({"rollouts": 3}, "benchmark.rollouts is for tasks"),
    ],
)
def test_a_wrong_keyword_is_told_with_the_right_one(fields, said):
    with pytest.raises(ConfigError) as error:
        config_from_keywords("stub", "calvin_smoke", {}, fields)
    assert said in str(error.value)


def test_the_code_that_a_class_without_a_file_refers_to_counts():
    def digest(body, around="1.0"):
        names = {"__name__": "__main__"}
        exec(f"LIMIT = {around}\ndef helper(x):\n    return {body}\n", names)
        exec("class Made:\n    def act(self, seen):\n        return [helper(y) for y in seen] + [LIMIT]\n", names)
        return code_digest(names["Made"])

    assert digest("x") == digest("x  # a remark")
    assert len({digest("x"), digest("x + 1"), digest("x", "2.0")}) == 3
