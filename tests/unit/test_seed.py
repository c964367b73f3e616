"""The run's seed reaches the policy, whichever process asks it."""

from __future__ import annotations

import socket
import tempfile

import pytest

from vla_bench.bench.dispatch.child import serve
from vla_bench.bench.dispatch.job import Job, job_to_plain
from vla_bench.bench.dispatch.page import Page
from vla_bench.bench.episode.rollout import run_episode
from vla_bench.bench.protocol import EpisodeSpec, record_from_plain, to_plain
from vla_bench.bench.runner import evaluate
from vla_bench.bench.setup.presets import load_config
from vla_bench.bench.setup.run_config import RunConfig
from vla_bench.bench.wire import receive, send
from vla_bench.envs.simulation import EpisodeStart, SimulationSpec, environment_spec, make_simulation
from vla_bench.policies.choice import PolicyChoice
from vla_bench.policies.registry import make_policy

RANDOM = PolicyChoice("random")


def digests(spec: SimulationSpec, episode: EpisodeSpec, seed: int) -> list[str]:
    """Of the states in which a random walk of that seed leaves the episode's subtasks."""
    policy = make_policy(RANDOM, environment_spec(spec.family, spec.options))
    return [each.digest for each in run_episode(make_simulation(spec), policy, episode, seed=seed).subtasks]


def test_a_child_asks_with_the_seed_of_its_job():
    spec = SimulationSpec("fake")
    episode = EpisodeSpec(0, "seq-0000", EpisodeStart("box"), ("reach_red",), ("go",), step_limit=5)
    assert digests(spec, episode, 7) != digests(spec, episode, 0)
    ours, theirs = socket.socketpair()
    with ours, theirs, tempfile.TemporaryFile() as file:
        file.truncate(4096)
        send(ours, {"job": job_to_plain(Job(spec, RANDOM, RunConfig(seed=7), trial=episode))})
        send(ours, {"episode": to_plain(episode)})
        ours.shutdown(socket.SHUT_WR)
        serve(theirs, Page(file.fileno()))
        assert "ready" in (receive(ours) or {})
        record = record_from_plain((receive(ours) or {})["record"])
    assert [each.digest for each in record.subtasks] == digests(spec, episode, 7)


@pytest.mark.parametrize("seed", [0, 7])
def test_a_run_asks_with_its_own_seed(tmp_path, seed):
    words = ("benchmark=fake", "benchmark.sequences=2", "benchmark.step_limit=5", "policy=random")
    run = ("run.backend=inline", f"run.results={tmp_path}", f"run.seed={seed}")
    results = evaluate(load_config([*words, *run]))
    episodes = {record.episode: [each.digest for each in record.subtasks] for record in results.records}
    from vla_bench.bench.setup.plan import environment_of, plan

    benchmark = load_config(words).benchmark
    environment = environment_of(benchmark)
    planned = plan(benchmark, make_policy(RANDOM, environment).spec, environment)
    wanted = {each.episode: digests(planned.simulation, each, seed) for each in planned.protocol.episodes}
    assert episodes == wanted
