"""The process that holds a policy: ``python -m vla_bench.bench.policy_server.server SOCKET PULSE``.

The numbers are inherited file descriptors: a listening Unix socket and a file in which it says what it is
about and since when. What to build comes as JSON on the standard input. One thread takes requests,
decides, and answers; what comes in meanwhile waits in the sockets, and is decided for together next.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import mmap
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import IO, Any

from vla_bench.bench.policy_server.decisions import Answer, Decisions
from vla_bench.bench.policy_server.exchange import Inbox, send_decision
from vla_bench.bench.policy_server.per_slot import PolicyPerSlot
from vla_bench.bench.protocol import to_plain
from vla_bench.bench.wire import receive, send
from vla_bench.envs.errors import UserError
from vla_bench.envs.simulation import environment_spec
from vla_bench.policies.base import EpisodeOutcome, Policy, SubtaskContext
from vla_bench.policies.choice import PolicyChoice
from vla_bench.policies.errors import PolicyError, PolicyQuit, TransientFault, contained, in_words, raised_at
from vla_bench.policies.identity import opened
from vla_bench.policies.identity.content import content_to_plain, read_content
from vla_bench.policies.kept import Asked
from vla_bench.policies.one_slot import OneSlotPolicy
from vla_bench.policies.registry import make_policy
from vla_bench.policies.specification import policy_parts

LINGER_SECONDS = 10.0
"""How long a server waits for a worker when it has none: as long as a crashed one takes to be replaced."""
WAIT_SECONDS = 0.002
"""How long those that wait may be kept waiting for others, to be decided for together: about as long as a
worker takes for a control step."""
ALONE_SECONDS = 1.5 * LINGER_SECONDS
"""How long after its last worker's end a server that has not ended itself is killed."""
LISTEN_SECONDS = 1.0
"""How often a server that has nothing to do says that it is there."""


class Busy(IntEnum):
    """What a server is about."""

    BUILDING = 0
    LISTENING = 1
    DECIDING = 2


_PULSE = struct.Struct("Q")  # one number, which is never seen half written
_BITS = 2


def pulse(busy: Busy) -> bytes:
    """What a server is about, and that it is so since now."""
    return _PULSE.pack(time.monotonic_ns() << _BITS | busy)


def read_pulse(content: bytes) -> tuple[Busy, float]:
    """What a server is about, and for how many seconds it has been. ValueError: that is no pulse."""
    if len(content) != _PULSE.size:
        raise ValueError(f"a pulse has {_PULSE.size} bytes, not {len(content)}")
    (number,) = _PULSE.unpack(content)
    return Busy(number & (1 << _BITS) - 1), (time.monotonic_ns() - (number >> _BITS)) / 1e9


@dataclass(slots=True, eq=False)
class _Worker:
    connection: socket.socket
    slot: int | None = None
    """From its first word on; whoever only knocks has none."""
    inbox: Inbox = field(default_factory=Inbox)


def main() -> None:
    """Runs the process."""
    descriptors = [int(number) for number in sys.argv[1:3]]
    sys.argv[:] = sys.argv[:1]  # a policy that reads the command line finds nothing of ours
    _serve(descriptors, json.load(sys.stdin))


def go_on(asked: Asked, descriptors: Sequence[int]) -> None:
    """The same in a process that has built the policy already; the order comes from the last descriptor."""
    with open(descriptors[2], "rb") as orders:
        order = json.load(orders)
    _serve(descriptors, order, asked)


def _serve(descriptors: Sequence[int], order: dict[str, Any], asked: Asked | None = None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to answer
    faulthandler.enable()
    listener, page = socket.socket(fileno=descriptors[0]), mmap.mmap(descriptors[1], _PULSE.size)
    watcher = _start_watcher(order["worker"])
    content: dict[str, Any] = {}
    try:
        policy, content, failure = *_build(order, asked), None
    except Exception as error:
        policy, failure = None, error
        traceback.print_exc()
    server = Server(listener, page, policy, failure, watcher, content)
    try:
        server.run()
    finally:
        if policy is not None:
            policy.close()


def _start_watcher(first_worker: int) -> IO[str] | None:
    """What tells :mod:`vla_bench.bench.policy_server.watch` of the workers; None where the system cannot watch."""
    if not hasattr(os, "pidfd_open"):
        return None
    command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("watch.py")), str(ALONE_SECONDS)]
    quiet = subprocess.DEVNULL
    watcher = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, text=True, bufsize=1)
    print(first_worker, file=watcher.stdin)
    return watcher.stdin


def _build(order: dict[str, Any], asked: Asked | None) -> tuple[Policy, dict[str, Any]]:
    """The policy, and the digests of what it is made of."""
    choice, before = PolicyChoice(**order["policy"]), set(sys.modules)
    environment = environment_spec(order["family"], order["options"])
    folder = os.getcwd()
    if asked is None:
        opened.watch()
        policy = make_policy(choice, environment)
    else:
        opened.go_on()  # what it opened so far is noted
        policy, before = asked.policy, set(asked.modules)
    if policy.spec.privileged:
        raise PolicyError(
            f"policy {policy.spec.name!r} is shown the simulator's state, which no policy server gets: type "
            "run.inference=child"
        )
    left_out = Path(order["results"]) if order["results"] else None
    content = content_to_plain(read_content(policy_parts(choice, environment, policy.spec, before, left_out, folder)))
    gone = os.getcwd() if asked is None else asked.folder
    os.chdir(gone)
    if not isinstance(policy, OneSlotPolicy):
        return policy, content

    def another() -> OneSlotPolicy:
        os.chdir(folder)
        made = make_policy(choice, environment)
        assert isinstance(made, OneSlotPolicy)
        return made

    return PolicyPerSlot(policy, another), content


class Server:
    """The loop. ``policy`` None: every worker is told why (``failure``)."""

    def __init__(
        self,
        listener: socket.socket,
        page: mmap.mmap,
        policy: Policy | None,
        failure: Exception | None,
        watcher: IO[str] | None,
        content: Mapping[str, Any],
        *,
        replaceable: bool = True,
    ) -> None:
        self._content = content
        self._replaceable = replaceable
        """Whether another process can take over when the policy is broken."""
        self._waiting_since = 0.0
        self._listener, self._page = listener, page
        self._policy, self._failure = policy, failure
        self._queue = Decisions(policy) if policy is not None else None
        self._workers: dict[int, _Worker] = {}
        self._strangers: set[_Worker] = set()
        self._supervisors: dict[int, int] = {}
        self._had_supervisor = False
        self._watcher = watcher
        self._last_took_leave = False
        self._selector = selectors.DefaultSelector()
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, self._accept)

    @property
    def _decisions(self) -> Decisions:
        """What waits to be decided, where there is a policy."""
        assert self._queue is not None
        return self._queue

    def run(self) -> None:
        """Serves until nobody is left who could ask: all workers have taken their leave, or the processes
        that start them have ended, or none came for some seconds. Or until the policy is broken: the next
        worker that comes starts another server."""
        last_worker = time.monotonic()
        while True:
            self.turn(LISTEN_SECONDS)
            now = time.monotonic()
            if self._workers:
                last_worker = now
            elif (
                self._last_took_leave
                or now - last_worker > LINGER_SECONDS
                or (self._had_supervisor and not self._supervisors)
            ):
                return
            if self._broken:
                return

    def turn(self, timeout: float) -> None:
        """Takes what comes within ``timeout`` seconds, and decides when all have asked or waited long enough."""
        self._beat(Busy.LISTENING)
        waits = len(self._queue) if self._queue else 0
        for key, _ in self._selector.select(min(timeout, self._patience(waits, self._waiting_since))):
            key.data(key.fileobj)
        if self._queue is None or not len(self._queue) or self._broken:
            return
        self._waiting_since = self._waiting_since or time.monotonic()
        if self._patience(len(self._queue), self._waiting_since) == 0:
            self._decide()
            self._waiting_since = 0.0

    def close(self) -> None:
        """Closes all connections; whoever waits for an answer is told that there is nobody left."""
        for worker in [*self._workers.values(), *self._strangers]:
            self._lose(worker)
        for descriptor in self._supervisors.values():
            os.close(descriptor)
        self._selector.close()
        self._listener.close()

    @property
    def _broken(self) -> bool:
        return self._replaceable and self._queue is not None and self._queue.broken

    def _patience(self, waits: int, since: float) -> float:
        """Seconds to wait for the next request."""
        if not waits:
            return LISTEN_SECONDS
        if not self._decisions.together or waits >= len(self._workers):
            return 0.0
        return max(0.0, since + WAIT_SECONDS - time.monotonic()) if since else WAIT_SECONDS

    def _decide(self) -> None:
        self._beat(Busy.DECIDING)
        self._decisions.decide(self._answer)

    def _beat(self, busy: Busy) -> None:
        self._page[:] = pulse(busy)

    def _answer(self, slot: int, answer: Answer) -> None:
        worker = self._workers.get(slot)
        if worker is None:
            return
        try:
            if isinstance(answer, Exception):
                send(worker.connection, told(answer))
            else:
                send_decision(worker.connection, *answer)
        except OSError:
            self._lose(worker)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            connection, _ = listener.accept()
            worker = _Worker(connection)
            self._strangers.add(worker)
            self._selector.register(connection, selectors.EVENT_READ, lambda _: self._hear(worker))

    def _hear(self, worker: _Worker) -> None:
        try:
            message = receive(worker.connection)
            if message is None:
                self._lose(worker)
            else:
                self._take(worker, message)
        except (OSError, ValueError):  # a worker that is killed may leave half of what it had to say
            self._lose(worker)

    def _take(self, worker: _Worker, message: dict[str, Any]) -> None:
        match message["do"]:
            case "hello":
                self._last_took_leave = False
                self._welcome(worker)
                self._watch(message["supervisor"])
                if self._watcher is not None:
                    with contextlib.suppress(OSError):
                        print(message["worker"], file=self._watcher)
                if self._policy is None:
                    assert self._failure is not None
                    send(worker.connection, told(self._failure))
                else:
                    spec = to_plain(self._policy.spec)
                    started = getattr(self._policy, "started", None)
                    says = dict(started()) if started is not None else {}
                    hello = {"spec": spec, "pid": os.getpid(), "content": self._content, "says": says}
                    send(worker.connection, hello)
            case "memory":
                worker.inbox.arrange(worker.connection, message["places"])
            case "reset":
                self._beat(Busy.DECIDING)
                assert self._policy is not None
                try:
                    context = SubtaskContext(**message["context"])
                    assert worker.slot is not None
                    self._policy.reset(worker.slot, message["instruction"], context)
                except BaseException as raised:
                    error = contained(raised)
                    self._decisions.note(error)
                    send(worker.connection, told(error))
                else:
                    send(worker.connection, {})
            case "finished":
                finished = getattr(self._policy, "finished", None)
                if finished is not None:
                    try:
                        finished(worker.slot, EpisodeOutcome(**message["outcome"]))
                    except BaseException as raised:  # the episode is over; the next one will show what is wrong
                        self._decisions.note(contained(raised))
            case "act":
                assert worker.slot is not None
                self._decisions.ask(worker.slot, worker.inbox.take())
            case "leave":
                self._lose(worker)
                self._last_took_leave = not self._workers

    def _welcome(self, worker: _Worker) -> None:
        """Gives it the first slot that is free."""
        self._strangers.discard(worker)
        worker.slot = next(number for number in range(len(self._workers) + 1) if number not in self._workers)
        self._workers[worker.slot] = worker

    def _lose(self, worker: _Worker) -> None:
        if worker.slot is None:
            if worker not in self._strangers:
                return
            self._strangers.remove(worker)
        elif self._workers.pop(worker.slot, None) is None:
            return
        elif self._queue is not None:
            self._queue.forget(worker.slot)
        self._selector.unregister(worker.connection)
        worker.connection.close()

    def _watch(self, supervisor: int) -> None:
        """Notices the end of the process that starts and replaces a worker."""
        if supervisor in self._supervisors or not hasattr(os, "pidfd_open"):
            return
        try:
            descriptor = os.pidfd_open(supervisor)
        except ProcessLookupError:  # it ended while the policy was being built
            self._had_supervisor = True
            return
        except OSError:
            return
        self._had_supervisor = True
        self._supervisors[supervisor] = descriptor

        def ended(_: object) -> None:
            self._selector.unregister(descriptor)
            os.close(self._supervisors.pop(supervisor))

        self._selector.register(descriptor, selectors.EVENT_READ, ended)


def told(error: Exception) -> dict[str, Any]:
    """An error as a message."""
    if isinstance(error, TransientFault):
        return {"error": str(error), "lasting": False, "transient": True, "detail": error.detail}
    known = isinstance(error, UserError)
    return {
        "error": str(error) if known or isinstance(error, PolicyQuit) else in_words(error),
        "lasting": known,
        "detail": "".join(traceback.format_exception(error)),
        "at": raised_at(error),
    }


if __name__ == "__main__":
    main()
