"""Workers as Ray actors, on this machine or all over a cluster.

Ray places the workers and carries episodes and records, one call per episode. Each actor holds a
supervisor, whose child process owns the simulation; when the actor dies, its child does too.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vla_bench.bench.dispatch.child_process import Failure
from vla_bench.bench.dispatch.job import Job, job_from_plain, job_to_plain
from vla_bench.bench.dispatch.page import Place
from vla_bench.bench.dispatch.pool import Answered, Gone, Homeless, PoolEvent, Ready
from vla_bench.bench.dispatch.ray_session import import_quietly, join, start_here, sweep
from vla_bench.bench.dispatch.supervisor import Supervisor
from vla_bench.bench.errors import ConfigError, RunFailed
from vla_bench.bench.protocol import EpisodeError, EpisodeRecord, EpisodeSpec
from vla_bench.bench.stopping import handlers_kept

DEATHS = 3
"""Deaths of an actor in a row after which its worker is given up."""
PLACEMENT_SECONDS = 600.0
"""How long no worker at all may have a place in the cluster, its own start aside: at the beginning, or
when the last node is lost. Single ones wait for as long as others work."""
HEAD_SECONDS = 5.0
"""How often the head of a cluster is knocked at, and the node of a Ray started here is looked for."""
HEAD_KNOCKS = 3
"""Knocks in vain after which the cluster is taken for lost. Ray itself would end this process after a minute,
without a table and without a sentence."""
WORD_SECONDS = 30.0
"""How often is said that no node has what a worker needs."""
CLOSE_SECONDS = 10.0
"""What idle workers get to close their simulations."""


class RayWorker:
    """The actor: a supervisor that answers to Ray. Threaded, so that ``place`` can be asked any time."""

    def __init__(self, job: dict[str, Any], worker: str) -> None:
        self._supervisor = Supervisor(job_from_plain(job), worker)
        self._turn = threading.Lock()

    def start(self) -> dict[str, Any] | Failure:
        import ray

        with self._turn:
            told = self._supervisor.start()
        if isinstance(told, Failure):
            return told
        return {**told, "node": ray.get_runtime_context().get_node_id()}

    def run(self, episode: EpisodeSpec, attempt: int) -> tuple[EpisodeRecord | Failure, bool]:
        """The result, and whether the child is ready for another episode."""
        with self._turn:
            return self._supervisor.run(episode, attempt), self._supervisor.ready

    def place(self) -> tuple[int, int]:
        position, steps = self._supervisor.place()
        return position, steps

    def close(self) -> None:
        self._supervisor.stop()  # a call that holds the turn then ends soon
        with self._turn:
            self._supervisor.close()


@dataclass(slots=True)
class _Actor:
    """The driver's view of one worker."""

    handle: Any
    up: bool = False
    """Whether it has been heard from, so that it has a place."""
    running: bool = False
    deaths: int = 0
    asked: Any = None
    """The unanswered call of ``place``."""


class RayPool:
    """A :class:`vla_bench.bench.dispatch.pool.Pool` of actors with one CPU each, and ``gpu_share`` of a GPU.

    ``address``: the cluster to join; None starts Ray on this machine and stops it again. A Ray that
    this process is connected to already is used as it is.
    """

    def __init__(self, workers: int, address: str | None, gpu_share: float = 0.0) -> None:
        self._names = [f"ray-{number}" for number in range(workers)]
        self._gpu_share = gpu_share
        self._address = address
        self._actors: dict[str, _Actor] = {}
        self._calls: dict[Any, tuple[str, Literal["start", "run"]]] = {}
        self._session: Path | None = None
        self._connected_here = False
        self._homeless_since = time.monotonic()
        self._head: tuple[str, int] | None = None
        self._next_look = 0.0
        self._next_word = 0.0
        self._unheard = 0

    @property
    def alive(self) -> int:
        """Workers that are not given up."""
        return len(self._actors)

    def start(self, job: Job) -> None:
        """Connects to Ray and asks it to place the actors. ConfigError: there is no such cluster."""
        self._job = job
        import_quietly()
        self._connect()
        self._find_head()
        self._homeless_since = time.monotonic()
        self._next_word = time.monotonic() + WORD_SECONDS / 10
        if self._session is not None and (reason := self._lack()) is not None:
            raise ConfigError(f"{reason}. Leave run.gpu_share out, or join a cluster that has one with run.address")
        for name in self._names:
            self._actors[name] = _Actor(None)
            self._place(name)

    def assign(self, worker: str, episode: EpisodeSpec, attempt: int) -> None:
        """Calls the actor's ``run``."""
        actor = self._actors[worker]
        actor.running = True
        self._calls[actor.handle.run.remote(episode, attempt)] = (worker, "run")

    def wait(self, timeout: float) -> list[PoolEvent]:
        """Takes the finished calls; an actor that died is replaced, and costs its episode an attempt.

        RunFailed: the cluster's head is gone, or the only node of a Ray started here, and with it whoever
        could replace anything.
        """
        import ray

        if time.monotonic() >= self._next_look:
            self._knock_at_head()
            self._look_for_node()
            self._next_look = time.monotonic() + HEAD_SECONDS
        if not self._calls:
            time.sleep(timeout)
            return []
        done, rest = ray.wait(list(self._calls), num_returns=1, timeout=timeout)
        if done and rest:  # whatever else is there by now
            done += ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        events: list[PoolEvent] = []
        for call in done:
            worker, kind = self._calls.pop(call)
            try:
                answer = ray.get(call)
            except ray.exceptions.RayError as error:  # not all deaths are a RayActorError, e.g. for memory
                events += self._died(worker, error)
                continue
            events += self._started(worker, answer) if kind == "start" else self._answered(worker, *answer)
        if any(actor.up for actor in self._actors.values()):
            self._homeless_since = time.monotonic()
        elif time.monotonic() > self._homeless_since + PLACEMENT_SECONDS + self._job.run.start_deadline:
            events += self._never_placed()
        elif time.monotonic() >= self._next_word:
            self._next_word = time.monotonic() + WORD_SECONDS
            if (reason := self._lack()) is not None:
                events.append(Homeless(f"{reason}; a cluster that grows may still give it"))
        return events

    def places(self) -> Mapping[str, Place]:
        """Collects the answers that have come in and asks anew, without waiting."""
        import ray

        heard: dict[str, Place] = {}
        for name, actor in self._actors.items():
            if actor.asked is not None and ray.wait([actor.asked], timeout=0)[0]:
                with contextlib.suppress(ray.exceptions.RayError):  # its other call will say so
                    heard[name] = Place(*ray.get(actor.asked))
                actor.asked = None
            if actor.asked is None and actor.running:
                actor.asked = actor.handle.place.remote()
        return heard

    def discard(self, worker: str) -> None:
        """Kills the actor and places another."""
        import ray

        if worker in self._actors:
            for call in [call for call, (name, _) in self._calls.items() if name == worker]:
                del self._calls[call]
            ray.kill(self._actors[worker].handle)
            self._place(worker)

    def close(self) -> None:
        """Closes the supervisors, kills the actors, and stops a Ray that was started here."""
        if not self._connected_here and not self._actors:
            return
        import ray

        actors, self._actors = self._actors, {}
        if self._unheard >= HEAD_KNOCKS:
            actors = {}  # nobody is there to end them: their nodes have lost their head, and end themselves
        closing = [actor.handle.close.remote() for actor in actors.values() if actor.up]
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=CLOSE_SECONDS)
        for actor in actors.values():
            ray.kill(actor.handle)
        if self._connected_here:
            with handlers_kept():  # native code sets SIGTERM to its default
                ray.shutdown()
        if self._session is not None:
            shutil.rmtree(self._session, ignore_errors=True)
            sweep(self._session.parent)

    def _connect(self) -> None:
        # A worker without a GPU of its own must not be made blind: its child may render or infer on one.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        if ray.is_initialized():
            return
        if self._address:
            join(self._address)
        else:
            self._session = start_here(len(self._names))
        self._connected_here = True

    def _find_head(self) -> None:
        import ray

        host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
        if port.isdigit() and not ray.util.client.ray.is_connected():  # a Ray client reaches another port only
            self._head = (host.strip("[]"), int(port))

    def _knock_at_head(self) -> None:
        if self._head is None:
            return
        try:
            socket.create_connection(self._head, timeout=HEAD_SECONDS).close()
            self._unheard = 0
        except OSError as error:
            self._unheard += 1
            if self._unheard >= HEAD_KNOCKS:
                raise RunFailed(
                    f"Ray's head at {self._head[0]}:{self._head[1]} is gone ({error}). What is finished is "
                    "safe; once a cluster is there, the same command runs the rest"
                ) from None

    def _look_for_node(self) -> None:
        import ray

        # A lost node mostly ends its driver, too, but not one that had just come up.
        if self._session is not None and not any(node["Alive"] for node in ray.nodes()):
            raise RunFailed(
                "the Ray started on this machine has lost its only node (raylet), as when memory runs out. "
                "What is finished is safe; the same command runs the rest, with run.backend=local without Ray"
            )

    def _place(self, name: str) -> None:
        import ray

        # Over the nodes evenly, since they share out more than cores: memory, disk, a GPU to render on.
        # An actor that reserves no GPU sees them all; one that does, its own alone, and so does its child.
        needs: dict[str, Any] = {"num_cpus": 1, "num_gpus": self._gpu_share or None}
        actor_class = ray.remote(**needs, max_concurrency=4, scheduling_strategy="SPREAD")(RayWorker)
        actor = self._actors[name]
        actor.handle = actor_class.remote(job_to_plain(self._job), name)
        actor.up, actor.running, actor.asked = False, False, None
        self._calls[actor.handle.start.remote()] = (name, "start")

    def _started(self, worker: str, answer: dict[str, Any] | Failure) -> list[PoolEvent]:
        if isinstance(answer, Failure):
            del self._actors[worker]
            return [Gone(worker, answer.error, answer.lasting)]
        self._actors[worker].up = True
        return [Ready(worker, answer)]

    def _answered(self, worker: str, result: EpisodeRecord | Failure, ready: bool) -> list[PoolEvent]:
        actor = self._actors[worker]
        actor.running, actor.deaths = False, 0
        if ready:
            return [Answered(worker, result), Ready(worker, None)]
        self._calls[actor.handle.start.remote()] = (worker, "start")
        return [Answered(worker, result)]

    def _died(self, worker: str, error: Exception) -> list[PoolEvent]:
        actor = self._actors[worker]
        reason = EpisodeError("crash", "the worker's Ray actor died", str(error))
        was_running, actor.deaths = actor.running, actor.deaths + 1
        if actor.deaths >= DEATHS:
            del self._actors[worker]
            return [Gone(worker, reason)]
        self._place(worker)
        return [Answered(worker, Failure(reason))] if was_running else []

    def _wanted(self) -> dict[str, float]:
        return {"CPU": 1.0} | ({"GPU": self._gpu_share} if self._gpu_share else {})

    def _lack(self) -> str | None:
        """What no node of the cluster has, used or free, that a worker needs; None when one has it all."""
        import ray

        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        wanted = self._wanted()
        if any(all(node.get(kind, 0) >= amount for kind, amount in wanted.items()) for node in nodes):
            return None
        needs = " and ".join(f"{amount:g} {kind}" for kind, amount in wanted.items())
        best = {kind: max((node.get(kind, 0) for node in nodes), default=0) for kind in wanted}
        offer = " and ".join(f"{amount:g} {kind}" for kind, amount in best.items())
        return f"each worker needs {needs}, and no node has that (at most {offer}, on {len(nodes)} nodes)"

    def _never_placed(self) -> list[PoolEvent]:
        import ray

        wanted = self._wanted()
        there, free = ray.cluster_resources(), ray.available_resources()
        needs = " and ".join(
            f"{amount:g} {kind}, {free.get(kind, 0):g} of its {there.get(kind, 0):g} are free"
            for kind, amount in wanted.items()
        )
        error = EpisodeError("crash", f"the Ray cluster gave no worker a place; each needs {needs}")
        names = list(self._actors)
        self._actors.clear()
        self._calls.clear()
        return [Gone(name, error, lasting=True) for name in names]
