"""Two states of a policy never stand in one average without a word."""

from __future__ import annotations

import re

import pytest

from vla_bench.bench.errors import ProtocolMismatch, ResultSetError
from vla_bench.bench.records.result_set import ResultSet
from vla_bench.bench.runner import evaluate
from vla_bench.bench.setup.config import config_from_plain

POLICY = """import numpy as np
from edited_part import push
class Edited:
    def __init__(self, weights):
        self.weights = np.load(weights)
    def reset(self, instruction): ...
    def act(self, observation):
        return np.array([0.0, 0.0, push, self.weights[0]])
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    import numpy as np

    (tmp_path / "edited_policy.py").write_text(POLICY)
    (tmp_path / "edited_part.py").write_text("push = 1.0\n")
    np.save(tmp_path / "w.npy", np.ones(1))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config(only: str = "", **run: object):
    run |= {"backend": "local", "workers": 1, "only": (only,) if only else (), "name": "x"}
    policy = {"_target_": "edited_policy.Edited", "weights": "w.npy"}
    return config_from_plain({"benchmark": {"family": "fake", "sequences": 3}, "policy": policy, "run": run})


def test_an_edit_between_tries_is_refused_and_marked_when_it_is_let_pass(place):
    evaluate(config("0..0"))
    (place / "edited_part.py").write_text("push = 0.5\n")
    with pytest.raises(ResultSetError, match=r"edited_part\.py [0-9a-f]{4}… there, [0-9a-f]{4}… now.*same_policy=true"):
        evaluate(config("1..1"))
    done = evaluate(config("1..1", same_policy=True))
    assert len(done.records) == 2
    marked = [note for note in done.summary.notes if "more than one state of the policy" in note]
    assert len(marked) == 1 and "edited_part.py" in marked[0]
    assert marked[0] in (done.folder / "summary.md").read_text()
    content = (place / "w.npy").read_bytes()
    (place / "w.npy").write_bytes(content[:-8] + b"\0" * 8)
    with pytest.raises(ResultSetError, match=r"policy\.weights=w\.npy"):
        evaluate(config())
    (place / "w.npy").write_bytes(content)
    assert evaluate(config()).summary.complete  # the second state goes on without a word more
    (place / "edited_part.py").write_text("push = 0.25\n")
    done = evaluate(config(same_policy=True))  # nothing is run, so nothing of the third state is in it
    assert "→" not in str(done.header["edited"]) and len(done.header["edited"]) == 1


def test_a_worker_that_sees_other_code_is_refused(place, monkeypatch):
    from vla_bench.bench.setup import preparation

    asked = preparation.ask_policy

    def edited_meanwhile(*words, **more):
        answer = asked(*words, **more)
        (place / "edited_part.py").write_text("push = 0.1\n")
        return answer

    monkeypatch.setattr(preparation, "ask_policy", edited_meanwhile)
    monkeypatch.setattr(preparation, "can_keep", lambda: False)  # as with workers of a cluster, who build their own
    with pytest.raises(
        ProtocolMismatch, match=r"local-0 .* another state of the policy.*edited_part\.py .* on local-0"
    ):
        evaluate(config("0..0"))
    assert not ResultSet.load(place / "results" / "x").records
    (place / "edited_part.py").write_text("push = 1.0\n")
    done = evaluate(config("0..0", same_policy=True))
    assert any(re.search(r"edited_part\.py .* on ", note) for note in done.summary.notes)


def test_a_policy_that_draws_is_marked_in_the_tables(place):
    (place / "edited_policy.py").write_text(
        POLICY.replace("[0.0, 0.0, push", "[np.random.default_rng().normal(), 0.0, push")
    )
    done = evaluate(config("0..0"))
    assert any(note.startswith("not repeatable") for note in done.summary.notes)
