"""CALVIN on the engine: the same records on one worker or several, in any order, after a crash."""

from __future__ import annotations

import dataclasses
import json
import os
import signal

from vla_bench.bench.dispatch import (
    EpisodeFinished,
    EpisodeRetried,
    EpisodeStarted,
    Event,
    Job,
    PolicyChoice,
    WorkerStarted,
    make_pool,
    run_episodes,
)
from vla_bench.bench.protocol import EpisodeRecord, EpisodeSpec
from vla_bench.bench.setup.preparation import prepare
from vla_bench.bench.setup.presets import load_config
from vla_bench.bench.setup.run_config import RunConfig

OVERRIDES = ["benchmark=calvin_smoke", "benchmark.sequences=6", "policy=random"]


def outcomes(records: list[EpisodeRecord]) -> list[str]:
    return [json.dumps(record.outcome(), sort_keys=True) for record in sorted(records, key=lambda r: r.index)]


def test_records_do_not_depend_on_how_they_were_computed():
    """The random walk pushes blocks about, so digests differ wherever physics does."""
    plan = prepare(load_config(OVERRIDES)).plan
    job = Job(plan.simulation, PolicyChoice("random"), RunConfig(seed=1))
    episodes = [dataclasses.replace(episode, step_limit=60) for episode in plan.protocol.episodes]
    assert len(episodes) == 6

    def run(order: list[EpisodeSpec], workers: int, *, kill: bool = False, recycle_mb: int = 0) -> list[str]:
        records: list[EpisodeRecord] = []
        pids: list[int] = []
        retried = 0

        def listen(event: Event) -> None:
            nonlocal retried
            match event:
                case WorkerStarted(_, info):
                    pids.append(info["pid"])
                case EpisodeStarted(_, EpisodeSpec(index=2), 1) if kill:
                    os.kill(pids[-1], signal.SIGKILL)
                case EpisodeRetried():
                    retried += 1
                case EpisodeFinished(record):
                    records.append(record)

        mine = dataclasses.replace(job, run=RunConfig(seed=1, recycle_mb=recycle_mb))
        assert run_episodes(mine, order, make_pool("local", workers), on_event=listen)
        assert {record.status for record in records} == {"done"}
        assert bool(retried) == kill
        assert not recycle_mb or len(set(pids)) == len(order), "each left more than a megabyte behind"
        return outcomes(records)

    reference = run(episodes, 1)
    assert len({json.loads(outcome)["subtasks"][0]["digest"] for outcome in reference}) == 6
    assert run(episodes[::-1], 2) == reference
    assert run(episodes[3:] + episodes[:3], 1, kill=True) == reference
    assert run(episodes[:2], 1, recycle_mb=1) == reference[:2]
