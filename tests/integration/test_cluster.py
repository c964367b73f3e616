"""A Ray cluster of several nodes, all on this machine: one is lost in mid-run, another joins."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vla_bench.bench.dispatch import (
    EpisodeFinished,
    EpisodeRetried,
    Event,
    Job,
    PolicyChoice,
    WorkerLost,
    WorkerStarted,
    make_pool,
    run_episodes,
)
from vla_bench.bench.errors import RunFailed
from vla_bench.bench.policy_server.node import Node, ServerOrder
from vla_bench.bench.protocol import EpisodeRecord, EpisodeSpec
from vla_bench.bench.setup.run_config import RunConfig
from vla_bench.envs.simulation import EpisodeStart, SimulationSpec

EPISODES = [
    EpisodeSpec(
        i,
        f"seq-{i:04d}",
        EpisodeStart("box", {"episode": (float(i),)}),
        ("reach_red",),
        ("go",),
        step_limit=40,
    )
    for i in range(40)
]


def job(step_seconds: float) -> Job:
    return Job(SimulationSpec("fake", {"step_seconds": step_seconds}), PolicyChoice("random"), RunConfig(seed=3))


@pytest.fixture
def cluster() -> Iterator[Any]:
    import ray
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    yield made
    ray.shutdown()
    made.shutdown()


def test_a_ray_that_does_not_start_is_a_sentence(monkeypatch: pytest.MonkeyPatch):
    import ray

    def too_busy(**_: Any) -> None:
        raise Exception("The current node timed out during startup.\nDetails follow.")

    monkeypatch.setattr(ray, "init", too_busy)
    with pytest.raises(RunFailed, match=r"Ray did not start .*timed out during startup.*run\.backend=local"):
        run_episodes(job(0.0), EPISODES[:1], make_pool("ray", 1), on_event=lambda event: None)


def test_a_head_that_is_gone_ends_the_run_in_a_sentence(monkeypatch: pytest.MonkeyPatch):
    """Ray itself would end the process a minute later, without a word of ours and without tables."""
    from vla_bench.bench.dispatch.ray_pool import RayPool

    monkeypatch.setattr("vla_bench.bench.dispatch.ray_pool.HEAD_SECONDS", 0.01)
    pool = RayPool(1, None)
    with socket.socket() as head:
        head.bind(("127.0.0.1", 0))
        head.listen()
        pool._head = head.getsockname()
        for _ in range(4):
            assert pool.wait(0.02) == []
    with pytest.raises(RunFailed, match=r"Ray's head at 127\.0\.0\.1:\d+ is gone.*the same command runs the rest"):
        for _ in range(4):
            pool.wait(0.02)
    pool.close()


def test_a_lost_only_node_ends_the_run_in_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Nothing can be placed any more; of a cluster, another node could still join."""
    import ray

    from vla_bench.bench.dispatch.ray_pool import RayPool

    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": False}])
    pool = RayPool(1, None)
    assert pool.wait(0.0) == []
    pool = RayPool(1, None)
    pool._session = tmp_path / "session"
    with pytest.raises(RunFailed, match=r"lost its only node \(raylet\).*the same command runs the rest"):
        pool.wait(0.0)


class Seen(Exception):
    """What a test waits for has happened."""


def test_workers_that_reserve_gpus_are_where_gpus_are_each_with_a_server_beside_it(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
):
    """Two that need a whole GPU each, on a cluster with cores everywhere and two GPUs on one of its nodes."""
    node = cluster.add_node(num_cpus=2, num_gpus=2)
    run, given = uuid.uuid4().hex, set()

    def has_server(device: str) -> bool:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", device)
        order = ServerOrder(run, {}, "fake", {}, 1, "", hung_seconds=1.0, start_seconds=1.0)
        return (Node(order)._folder / "0.socket").exists()

    def follow(event: Event) -> None:
        if isinstance(event, WorkerStarted):
            assert event.info["node"] == node.node_id
            environment = Path(f"/proc/{event.info['pid']}/environ").read_text().split("\0")
            given.update(line for line in environment if line.startswith("CUDA_VISIBLE_DEVICES="))
            if len(given) == 2:
                assert all(map(has_server, "01"))
                raise Seen

    pool = make_pool("ray", 2, gpu_share=1.0)
    with pytest.raises(Seen):
        run_episodes(replace(job(0.1), inference="server", run_key=run), EPISODES, pool, on_event=follow)
    assert given == {"CUDA_VISIBLE_DEVICES=0", "CUDA_VISIBLE_DEVICES=1"}


def test_a_lost_node_costs_its_episode_an_attempt_and_a_new_one_is_used(cluster: Any):
    """Three workers on two nodes of one core: the third waits for a place until the third node joins."""
    events: list[Event] = []
    nodes: dict[str, str] = {}

    def follow(event: Event) -> None:
        events.append(event)
        if isinstance(event, WorkerStarted):
            nodes[event.worker] = event.info["node"]
        finished = sum(isinstance(each, EpisodeFinished) for each in events)
        if isinstance(event, EpisodeFinished) and finished == 4:
            assert len(nodes) == 2 and len(set(nodes.values())) == 2, "one worker on each node, one waits"
            cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)
            cluster.add_node(num_cpus=1)

    assert run_episodes(job(0.03), EPISODES, make_pool("ray", 3), on_event=follow)
    started = [event for event in events if isinstance(event, WorkerStarted)]
    assert len({event.info["node"] for event in started}) == 3
    retried = [event for event in events if isinstance(event, EpisodeRetried)]
    assert len(retried) == 1 and "Ray actor died" in retried[0].error.message
    assert not [event for event in events if isinstance(event, WorkerLost)]
    undisturbed: list[EpisodeRecord] = []

    def keep(event: Event) -> None:
        if isinstance(event, EpisodeFinished):
            undisturbed.append(event.record)

    run_episodes(job(0.0), EPISODES, make_pool("local", 1), on_event=keep)
    records = [event.record for event in events if isinstance(event, EpisodeFinished)]
    assert sorted((each.index, str(each.outcome())) for each in records) == sorted(
        (each.index, str(each.outcome())) for each in undisturbed
    )
