"""Where a worker's decisions are made.

A worker talks to a :class:`vla_bench.policies.base.Policy`. :func:`connect` says which: the policy itself, in
the same process, or one that stands for a server on the same machine (:mod:`vla_bench.bench.policy_server`), whose
``act`` sends the observations and waits for the chunks. Nothing else in the engine has to know.
"""

from __future__ import annotations

import os

from vla_bench.bench.dispatch.job import Job
from vla_bench.bench.dispatch.worker_log import LOGS
from vla_bench.envs.simulation import environment_spec
from vla_bench.policies.base import Policy
from vla_bench.policies.registry import make_policy


def connect(job: Job) -> Policy:
    """The policy a worker asks. PolicyError: it cannot be built, or cannot be served."""
    simulation = job.simulation
    if job.inference == "child":
        return make_policy(job.policy, environment_spec(simulation.family, simulation.options))
    from vla_bench.bench.policy_server.caller import Caller
    from vla_bench.bench.policy_server.client import ServedPolicy
    from vla_bench.bench.policy_server.node import HUNG_SECONDS, ServerOrder

    order = ServerOrder(
        run=job.run_key,
        policy={"target": job.policy.target, "arguments": dict(job.policy.arguments)},
        family=simulation.family,
        options=dict(simulation.options),
        servers=job.run.servers,
        python=job.policy_python,
        hung_seconds=job.run.decision_deadline or HUNG_SECONDS,
        start_seconds=job.run.start_deadline,
        results=job.results,
        logs=os.path.join(job.folder, LOGS) if job.folder else "",
        asked_at=job.asked_at,
    )
    return ServedPolicy(order, Caller(job.served_at) if job.served_at else None)
