"""Runs episodes on workers: each supervises a child process that owns one simulation.

:func:`run_episodes` drives a queue of episodes and a pool of workers, on this machine or on a Ray
cluster. Episodes travel to the workers and records come back; control steps never leave the child.
"""

from vla_bench.bench.dispatch.backends import make_pool
from vla_bench.bench.dispatch.events import (
    EpisodeFinished,
    EpisodeRetried,
    EpisodeStarted,
    Event,
    Progress,
    StopAsked,
    Waiting,
    WorkerLost,
    WorkerStarted,
)
from vla_bench.bench.dispatch.job import Job
from vla_bench.bench.dispatch.pool import Pool
from vla_bench.bench.dispatch.run import run_episodes
from vla_bench.policies.choice import PolicyChoice

__all__ = [
    "EpisodeFinished",
    "EpisodeRetried",
    "EpisodeStarted",
    "Event",
    "Job",
    "PolicyChoice",
    "Pool",
    "Progress",
    "StopAsked",
    "Waiting",
    "WorkerLost",
    "WorkerStarted",
    "make_pool",
    "run_episodes",
]
