"""A policy that is served elsewhere in SimplerEnv, against the same policy in process."""

from __future__ import annotations

import pytest

pytest.importorskip("websockets")

from remote_servers import Waver, served
from simpler_places import need_modern

from vla_bench.bench.episode.rollout import run_episode
from vla_bench.bench.families.simpler import _episodes, _trials
from vla_bench.bench.setup.config import benchmark_from_plain
from vla_bench.envs.observation import Sensors
from vla_bench.envs.simpler.robots import WIDOWX
from vla_bench.envs.simpler.trial import SimplerSimulation
from vla_bench.envs.simulation import environment_spec
from vla_bench.policies.remote import RemotePolicy

BRIDGE = environment_spec("simpler", {"set": "bridge"})
TASK, STEPS, CHUNK = "widowx_carrot_on_plate", 8, 4


def test_records_are_those_of_the_same_policy_in_process():
    need_modern()
    from vla_bench.envs.simpler.modern import ModernBackend

    options = {
        "family": "simpler",
        "set": "bridge",
        "backend": "maniskill3",
        "trials": 2,
        "tasks": [TASK],
        "step_limit": STEPS,
    }
    benchmark = benchmark_from_plain({"name": "simpler", **options})
    episodes = _episodes(_trials(benchmark), benchmark)
    simulation = SimplerSimulation(ModernBackend(), Sensors.of(WIDOWX.camera), WIDOWX.actions[0])

    def records(policy):
        found = [run_episode(simulation, policy, episode, seed=0).outcome() for episode in episodes]
        for record in found:
            for subtask in record["subtasks"]:
                del subtask["decisions"]  # vla-eval's answers hold one action each
        return found

    try:
        expected = records(Waver(BRIDGE, CHUNK, "float64"))
        assert expected[0] != expected[1]
        for protocol in ("openpi", "vla_eval"):
            with served(Waver(BRIDGE, CHUNK, "float64"), BRIDGE, f"{protocol}_raw_bridge") as address:
                remote = RemotePolicy(BRIDGE, protocol, address, mapping=f"{protocol}_raw_bridge")
                assert records(remote) == expected
                remote.close()
    finally:
        simulation.close()
