"""A policy that lives in the calling process, served to the workers from there.

An evaluation in the middle of a training: the weights of this moment, no file. The caller's own thread decides, while
it waits for what the workers have to tell, so whatever belongs to a thread (gradients switched off, the current
device) is as the caller left it, and ``breakpoint()`` stops. Nothing supervises it: a policy that hangs hangs the call.
"""

from __future__ import annotations

import mmap
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from vla_bench.bench.dispatch.inline_pool import InlinePool
from vla_bench.bench.dispatch.job import Job
from vla_bench.bench.dispatch.page import Place
from vla_bench.bench.dispatch.pool import Pool, PoolEvent
from vla_bench.bench.policy_server.per_slot import PolicyPerSlot
from vla_bench.bench.policy_server.server import Server
from vla_bench.bench.protocol import EpisodeSpec
from vla_bench.envs.simulation import EnvironmentSpec
from vla_bench.policies.base import Policy, PolicySpec
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.identity.content import Content, content_to_plain, parts_of, read_content
from vla_bench.policies.identity.state import copied, state_digest
from vla_bench.policies.one_slot import OneSlotPolicy
from vla_bench.policies.registry import checked_spec
from vla_bench.policies.specification import Specification

TARGET = "live"
"""What an instance's class is called after in a run's identity: ``live:my_module.MyPolicy``."""
GLANCE_SECONDS = 0.02
"""How long the workers' events may wait for decisions that are asked for."""


@dataclass(frozen=True, slots=True)
class LiveInstance:
    """A policy object of the caller's: plain, or a full :class:`vla_bench.policies.base.Policy`."""

    instance: Any

    @property
    def target(self) -> str:
        """What stands for it where a policy is named."""
        kind = type(self.instance)
        return f"{TARGET}:{kind.__module__}.{kind.__qualname__}"

    def specification(self, environment: EnvironmentSpec, left_out: Path | None = None) -> Specification:
        """What it needs, and digests of its class and of its state at this moment.

        What cannot be compared makes it another policy than any before, since nobody could tell.
        PolicyError: it is no policy, or not one for this environment.
        """
        spec = self._faced(environment).spec
        spec = checked_spec(spec, environment)
        if spec.privileged:
            raise PolicyError(
                f"policy {spec.name!r} is shown the simulator's state, which only the worker's process has: give "
                "evaluate() its class or its name"
            )
        return Specification(spec, self._content(spec, left_out))

    def serve(self, environment: EnvironmentSpec, content: Content) -> LiveServer:
        """A server for it; from then on it has an address. Close it."""
        return LiveServer(self._several(environment), content)

    def _content(self, spec: PolicySpec, left_out: Path | None) -> Content:
        kind = type(self.instance)
        ours = kind.__module__.partition(".")[0] == __name__.partition(".")[0]
        content = read_content(parts_of(kind, {}, ours=ours, stated=spec.files, left_out=left_out))
        digest, uncompared = state_digest(self.instance)
        files = {**content.files, f"state of {kind.__qualname__}": digest}
        if uncompared:
            files[f"uncompared state of {kind.__qualname__}"] = uuid.uuid4().hex * 2
        said = [f"{each} of the instance cannot be compared, so it counts as a new policy" for each in uncompared]
        return replace(content, files=files, uncompared=(*content.uncompared, *said))

    def _is_full(self) -> bool:
        return isinstance(getattr(self.instance, "spec", None), PolicySpec)

    def _faced(self, environment: EnvironmentSpec) -> Policy:
        return self.instance if self._is_full() else OneSlotPolicy(self.instance, environment)

    def _several(self, environment: EnvironmentSpec) -> Policy:
        """For any number of workers: copies of a plain one, so that the caller's own is as it was afterwards."""
        if self._is_full():
            return self.instance

        def make() -> OneSlotPolicy:
            try:
                return OneSlotPolicy(copied(self.instance), environment)
            except PolicyError:
                raise
            except Exception as error:
                name = type(self.instance).__name__
                raise PolicyError(
                    f"each worker needs a copy of the instance, but {name} cannot be copied ({type(error).__name__}: "
                    f"{error}). Give {name} a method __deepcopy__ that shares what cannot be, or implement "
                    "vla_bench.policies.base.Policy, which is shared by all workers"
                ) from error

        return PolicyPerSlot(make(), make)


class LiveServer:
    """A policy server in this process, whose turns the caller's thread takes."""

    def __init__(self, policy: Policy, content: Content) -> None:
        self.policy = policy
        self.content = content
        self._folder = Path(tempfile.mkdtemp(prefix="vla-bench-live-", dir="/tmp"))  # a socket's path must be short
        self.address = str(self._folder / "socket")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self.address)
        listener.listen(1024)
        plain: Mapping[str, Any] = content_to_plain(content)
        self._server = Server(listener, mmap.mmap(-1, 8), policy, None, None, plain, replaceable=False)

    def serve(self, seconds: float) -> None:
        """Answers what is asked within so many seconds."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._server.turn(left)

    def close(self) -> None:
        """Lets all workers go; the policy stays as it is."""
        self._server.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class LivePool:
    """A :class:`vla_bench.bench.dispatch.pool.Pool` whose workers ask a policy of this thread."""

    def __init__(self, pool: Pool, server: LiveServer) -> None:
        self._pool = pool
        self._server = server

    @property
    def alive(self) -> int:
        """Of the pool beneath."""
        return self._pool.alive

    def start(self, job: Job) -> None:
        """Tells the workers where decisions are made."""
        self._pool.start(replace(job, inference="server", served_at=self._server.address))

    def assign(self, worker: str, episode: EpisodeSpec, attempt: int) -> None:
        """Passes it on."""
        self._pool.assign(worker, episode, attempt)

    def wait(self, timeout: float) -> list[PoolEvent]:
        """Decides for the workers until one of them has something to tell."""
        until = time.monotonic() + timeout
        while not (events := self._pool.wait(0.0)):
            left = until - time.monotonic()
            if left <= 0:
                return []
            self._server.serve(min(left, GLANCE_SECONDS))
        return events

    def places(self) -> Mapping[str, Place]:
        """Of the pool beneath."""
        return self._pool.places()

    def discard(self, worker: str) -> None:
        """Passes it on."""
        self._pool.discard(worker)

    def close(self) -> None:
        """Ends the workers, then the server."""
        try:
            self._pool.close()
        finally:
            self._server.close()


class _Kept:
    """The policy for a worker in this thread, which asks it without a socket and leaves it open."""

    def __init__(self, server: LiveServer) -> None:
        self._server = server
        self.content = server.content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server.policy, name)

    def close(self) -> None:
        """Ends the server alone."""
        self._server.close()


def serving(pool: Pool, server: LiveServer) -> Pool:
    """The pool, its workers served by ``server``; one that runs in this thread asks the policy itself."""
    if isinstance(pool, InlinePool):
        pool.policy = cast(Policy, _Kept(server))
        return pool
    return LivePool(pool, server)
