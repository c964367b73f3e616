"""An episode, with the trace of its states and the vectors of its policy where the run wants them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

from vla_bench.bench.dispatch.job import Job
from vla_bench.bench.episode.rollout import Meter, Recorder, run_episode
from vla_bench.bench.protocol import EpisodeRecord, EpisodeSpec
from vla_bench.envs.simulation import Simulation, TracedSimulation
from vla_bench.policies.base import Policy


def run_traced(
    simulation: Simulation,
    policy: Policy,
    episode: EpisodeSpec,
    job: Job,
    *,
    meter: Meter,
    recorder: Recorder | None = None,
) -> EpisodeRecord:
    """As :func:`vla_bench.bench.episode.rollout.run_episode`. Trace and vectors are on the disk before the record is
    told of, so that an episode that counts has them; a worker that cannot reach the run's folder writes none."""
    if not (job.run.listened and os.path.isdir(job.folder)):
        return _run(simulation, policy, episode, job, meter, recorder)
    from vla_bench.bench.vectors.heard import hearing

    with hearing(policy, episode, job, recorder) as heard:
        record = _run(simulation, policy, episode, job, meter, heard)
        heard.finish(record)
    return record


def _run(
    simulation: Simulation,
    policy: Policy,
    episode: EpisodeSpec,
    job: Job,
    meter: Meter,
    recorder: Recorder | None,
) -> EpisodeRecord:
    seed = job.run.seed
    wanted = job.run.trace == "states" and os.path.isdir(job.folder)
    if not (wanted and hasattr(simulation, "step_state")):  # isinstance() does not see what a wrapper passes on
        return run_episode(simulation, policy, episode, seed=seed, meter=meter, recorder=recorder)
    from vla_bench.bench.episode.step_trace import StepTrace
    from vla_bench.bench.records.step_states import STATES, write_states

    traced = cast(TracedSimulation, simulation)
    trace = StepTrace(traced)
    record = run_episode(trace, policy, episode, seed=seed, meter=meter, recorder=recorder)
    write_states(Path(job.folder) / STATES, trace, traced, episode, job.simulation.action)
    return record
