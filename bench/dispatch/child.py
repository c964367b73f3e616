"""The process that owns one simulation: ``python -m vla_bench.bench.dispatch.child SOCKET PAGE LIFELINE``.

The three numbers are inherited file descriptors: a Unix socket for messages, the shared page, and a
pipe that nobody writes to, whose other end the supervisor holds. The process builds what the first message
says, then runs one episode per message until the socket closes.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import importlib
import os
import platform
import signal
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vla_bench.bench.dispatch.job import Job, RecordEpisode, job_from_plain
from vla_bench.bench.dispatch.page import Page
from vla_bench.bench.dispatch.placement import connect
from vla_bench.bench.dispatch.tracing import run_traced
from vla_bench.bench.episode.actions import PolicyServerError
from vla_bench.bench.episode.preflight import AT_BREAKPOINT, TryOut, try_out
from vla_bench.bench.episode.rollout import Phase
from vla_bench.bench.packages import versions
from vla_bench.bench.protocol import EpisodeRecord, EpisodeSpec, spec_from_plain, to_plain
from vla_bench.bench.video.trace import TRACES, Trace, wants_trace
from vla_bench.bench.wire import STACK_SIGNAL, receive, send
from vla_bench.envs.errors import UserError
from vla_bench.envs.simulation import Simulation, environment_spec
from vla_bench.envs.stress.wrapped import make_simulation
from vla_bench.lifeline import is_cut, tie
from vla_bench.policies.base import Policy
from vla_bench.policies.errors import PolicyError, PolicyQuit, TransientFault
from vla_bench.policies.identity import opened
from vla_bench.policies.identity.content import content_to_plain, read_content
from vla_bench.policies.kept import Asked
from vla_bench.policies.specification import policy_parts


def main() -> None:
    """Runs the process."""
    descriptors = [int(number) for number in sys.argv[1:4]]
    sys.argv[:] = sys.argv[:1]  # a policy that reads the command line finds nothing of ours
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    _begin(descriptors)


def go_on(asked: Asked, descriptors: Sequence[int]) -> None:
    """The same in a process that has built the policy already."""
    _begin(descriptors, asked)


def _begin(descriptors: Sequence[int], asked: Asked | None = None) -> None:
    socket_fd, page_fd, lifeline_fd = descriptors
    tie(lifeline_fd, os.getpid())
    if is_cut(lifeline_fd):  # before the kernel was asked to watch it
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to answer
    faulthandler.enable()
    faulthandler.register(STACK_SIGNAL)
    serve(socket.socket(fileno=socket_fd), Page(page_fd), asked)


def serve(connection: socket.socket, page: Page, asked: Asked | None = None) -> None:
    """Builds what the job says and runs episodes until the supervisor closes the socket."""
    message = receive(connection)
    if message is None:
        return
    job = job_from_plain(message["job"])
    try:
        simulation, policy, info = build_worker(job, asked=asked)
    except Exception as error:
        why = explain(error)
        if isinstance(error, TransientFault):
            why["detail"] = ""  # it is printed, and is another program's traceback
        send(connection, {"start_error": why, "lasting": isinstance(error, UserError)})
        return
    try:
        page.enter(Phase.IDLE)
        send(connection, {"ready": info})
        _run_episodes(connection, page, job, simulation, policy)
    finally:
        policy.close()
        simulation.close()


class Started(NamedTuple):
    """A worker that could run an episode."""

    simulation: Simulation
    policy: Policy
    info: dict[str, Any]
    """What it says of itself."""


def build_worker(job: Job, policy: Policy | None = None, asked: Asked | None = None) -> Started:
    """Builds what the job says and tries it out; whatever goes wrong passes through.

    ``policy``: one that is there already; ``asked``: one that this process has built to ask it what it needs.
    """
    began, folder = time.perf_counter(), os.getcwd()
    before = set(sys.modules) if asked is None else set(asked.modules)
    simulation = make_simulation(job.simulation)
    if asked is not None:
        policy = asked.policy
        opened.go_on()  # what it opened so far is noted
        os.chdir(asked.folder)
    else:
        opened.watch()
        policy = connect(job) if policy is None else policy
    if job.run.listened:
        from vla_bench.policies.listening import resolve

        resolve(policy, job.run.listened)  # a place that is not there is told before an episode
    trial = TryOut() if job.trial is None else try_out(simulation, policy, job.trial, job.run.seed)
    info = _describe(simulation, policy, job, time.perf_counter() - began)
    if not trial.repeatable:
        info["repeatable"] = False
    info["content"] = _content(job, policy, before, folder)
    remarks = (trial.remark, getattr(policy, "remark", ""))
    if remark := "; ".join(each for each in remarks if isinstance(each, str) and each):
        info["remark"] = remark
    return Started(simulation, policy, info)


def _run_episodes(connection: socket.socket, page: Page, job: Job, simulation: Simulation, policy: Policy) -> None:
    idle_since = time.perf_counter()
    while (message := receive(connection)) is not None:
        episode = spec_from_plain(message["episode"])
        waiting = time.perf_counter() - idle_since
        trace = _trace(job, episode)
        try:
            if job.recording is not None:
                record = _record(simulation, policy, episode, job, page)
            else:
                record = run_traced(simulation, policy, episode, job, meter=page, recorder=trace)
            if trace is not None and wants_trace(job.run.video, record):
                trace.finish(record)
                trace.write(Path(job.folder) / TRACES)
        except Exception as error:
            in_policy = page.read().phase is Phase.DECIDE
            reply: dict[str, Any] = {
                "error": {**explain(error), "kind": "policy" if in_policy else "exception"},
                "lasting": isinstance(error, PolicyError),  # a renderer may be lost, and found elsewhere
            }
        else:
            timings = dataclasses.replace(record.timings, waiting=record.timings.waiting + waiting)
            reply = {"record": to_plain(dataclasses.replace(record, timings=timings))}
        page.enter(Phase.IDLE)
        idle_since = time.perf_counter()
        send(connection, reply)


def _trace(job: Job, episode: EpisodeSpec) -> Trace | None:
    """Takes what the episode executes, when clips are wanted and the run's folder can be reached."""
    if job.run.video == "none" or not os.path.isdir(job.folder):
        return None
    simulation = job.simulation
    return Trace(episode, simulation.family, simulation.options, simulation.action, job.python)


def _record(simulation: Simulation, policy: Policy, episode: EpisodeSpec, job: Job, page: Page) -> EpisodeRecord:
    assert job.recording is not None
    module, _, name = job.recording.function.partition(":")
    record: RecordEpisode = getattr(importlib.import_module(module), name)
    return record(simulation, policy, episode, job.recording.told, seed=job.run.seed, meter=page)


def _describe(simulation: Simulation, policy: Policy, job: Job, seconds: float) -> dict[str, Any]:
    info: dict[str, Any] = {"pid": os.getpid(), "host": platform.node(), "policy": policy.spec.name}
    info |= {"start_seconds": seconds, "python": platform.python_version(), "packages": versions(job.packages)}
    started = getattr(policy, "started", None)  # e.g. a remote policy says what its server calls itself
    if started is not None:
        info["policy_says"] = dict(started())
    describe = getattr(simulation, "describe", None)  # e.g. names its renderer
    return info if describe is None else {**info, **to_plain(describe())}


def _content(job: Job, policy: Policy, before: set[str], folder: str) -> dict[str, Any]:
    """What the policy is made of, as the process that decides sees it."""
    served = getattr(policy, "content", None) if job.inference == "server" else None
    if served is not None:
        return content_to_plain(served)
    left_out = Path(job.results) if job.results else None
    environment = environment_spec(job.simulation.family, job.simulation.options)
    parts = policy_parts(job.policy, environment, policy.spec, before, left_out, folder)
    return content_to_plain(read_content(parts))


def explain(error: Exception) -> dict[str, str]:
    """An error as ``message`` and ``detail``: the traceback, or what somebody else's server said in full."""
    known = isinstance(error, UserError | PolicyQuit | PolicyServerError | TransientFault)
    if type(error).__name__ == "BdbQuit":
        error = PolicyError(AT_BREAKPOINT)
        known = True
    where = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    if isinstance(error, TransientFault):
        return {"message": str(error) + where, "detail": error.detail}
    return {
        "message": (str(error) if known else f"{type(error).__name__}: {error}") + where,
        "detail": f"{getattr(error, 'detail', '')}\n{''.join(traceback.format_exception(error))}".lstrip(),
    }


if __name__ == "__main__":
    main()
