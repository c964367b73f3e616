"""A whole episode of a policy that is listened to gives the record of one that is not, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from vla_bench.bench.episode.rollout import run_episode
from vla_bench.bench.protocol import EpisodeSpec
from vla_bench.envs.simulation import EpisodeStart, SimulationSpec, environment_spec, make_simulation
from vla_bench.policies.listening import listening
from vla_bench.policies.one_slot import OneSlotPolicy

torch = pytest.importorskip("torch")


class Own:
    """A user's torch policy: where it goes depends on every bit of what its network computes."""

    action = "relative"
    execute = 2

    def __init__(self):
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 4))
        self.asked = 0

    def reset(self, instruction):
        self.words = float(len(instruction))

    def act(self, observation):
        self.asked += 1
        with torch.no_grad():
            said = self.net(torch.tensor([[self.words, float(np.sin(self.asked))]]))[0]
        return np.tile(said.numpy().astype(float), (2, 1))


def played(policy):
    spec = EpisodeSpec(4, "seq-0004", EpisodeStart("box", {"episode": (4.0,)}), ("raise",), ("go up",), 12)
    simulation = make_simulation(SimulationSpec("fake", {}, action="relative"))
    try:
        return run_episode(simulation, policy, spec, seed=3).outcome()
    finally:
        simulation.close()


def test_a_users_policy_is_the_same_when_listened_to():
    plain = played(OneSlotPolicy(Own(), environment_spec("fake", {})))
    policy = OneSlotPolicy(Own(), environment_spec("fake", {}))
    with listening(policy, ["net.0", "net.2"]) as listener:
        heard = played(policy)
        calls = listener.take(policy._plain.asked)
    assert plain == heard and plain["subtasks"][0]["steps"] == 12
    assert calls["net.0"].shape == (6, 8) and calls["net.2"].shape == (6, 4)
    assert not any(module._forward_hooks for module in policy._plain.net.modules())
