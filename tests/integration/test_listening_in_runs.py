"""Whole evaluations of policies that are listened to give the records of those that are not, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

import vla_bench
from vla_bench import bench
from vla_bench.bench.setup.presets import load_config
from vla_bench.policies.listening import listening

torch = pytest.importorskip("torch")


class Own:
    """A user's torch policy: what it does depends on every bit of what its network computes."""

    action = "relative"
    execute = 2
    places: tuple[str, ...] = ()

    def __init__(self):
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 4))
        self.asked = 0

    def reset(self, instruction):
        self.start = [len(instruction), 0.0]

    def decide(self):
        self.asked += 1
        with torch.no_grad():
            return self.net(torch.tensor([[*self.start, np.sin(self.asked)]], dtype=torch.float32))[0].numpy()

    def act(self, observation):
        return np.tile(self.decide().astype(float), (2, 1))


class OwnHeard(Own):
    """The same, listened to at each decision."""

    def act(self, observation):
        with listening(self, ["net.0", "net.2"]) as listener:
            said = super().act(observation)
        assert listener.take(1)["net.0"].shape == (1, 8)
        return said


def outcomes(results):
    assert results.records and all(record.status == "done" for record in results.records)
    return [record.outcome() for record in results.records]


def test_a_users_policy_is_the_same_when_listened_to(tmp_path):
    found = [
        outcomes(vla_bench.evaluate(policy, benchmark="fake", sequences=4, progress=False, results=tmp_path / name))
        for name, policy in (("plain", Own), ("heard", OwnHeard))
    ]
    assert found[0] == found[1]
    assert len({record["subtasks"][-1]["digest"] for record in found[0]}) > 1


HEARD = """
from vla_bench.policies.listening import listening
from vla_bench.policies.vla.policy import VlaPolicy


class Heard(VlaPolicy):
    def act(self, slots, observations):
        with listening(self, ["head", "layers"]) as listener:
            said = super().act(slots, observations)
        assert listener.take(len(slots))["head"].shape[0] == len(slots)
        return said
"""


def test_a_vla_is_the_same_when_listened_to(tmp_path):
    pytest.importorskip("transformers")
    (tmp_path / "heard.py").write_text(HEARD)
    words = ["benchmark=calvin_smoke", "benchmark.sequences=2", "benchmark.step_limit=6", "policy=vla_tiny"]
    words += ["policy.model.chunk=3", "policy.model.head=lstm", "run.backend=local", "run.workers=1"]
    found = []
    for name, more in (("plain", []), ("heard", [f"policy._target_={tmp_path / 'heard.py'}:Heard"])):
        results = bench.evaluate(load_config([*words, *more, f"run.results={tmp_path / name}"]))
        found.append(outcomes(results))
    assert found[0] == found[1]
    assert len({record["subtasks"][-1]["digest"] for record in found[0]}) == 2
