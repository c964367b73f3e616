"""A policy that is somewhere else, as a worker sees it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import select
import socket
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from vla_bench.bench.episode.actions import PolicyServerError, PolicyServerLost
from vla_bench.bench.policy_server.exchange import Outbox, receive_answer
from vla_bench.bench.policy_server.node import Node, ServerOrder
from vla_bench.bench.wire import send
from vla_bench.envs.observation import Observation
from vla_bench.policies.base import EpisodeOutcome, PolicySpec, SubtaskContext, spec_from_plain
from vla_bench.policies.errors import PolicyError, TransientFault
from vla_bench.policies.identity.content import Content, content_from_plain

LOOK_SECONDS = 1.0
"""How often a worker that waits for a server's policy to be built looks whether the server is stuck."""


class Home(Protocol):
    """Where servers are: :class:`vla_bench.bench.policy_server.node.Node`, or the process that called."""

    def connect(self) -> tuple[socket.socket, int]:
        """A connection to a server, and its number."""
        ...

    def leave(self, number: int) -> None:
        """The connection to that server is closed."""
        ...

    def log_tail(self, number: int) -> str:
        """The end of what it has printed."""
        ...

    def look_after(self, number: int) -> None:
        """Called again and again while it has not greeted."""
        ...


class ServedPolicy:
    """A :class:`vla_bench.policies.base.Policy` with one slot, decided by this machine's policy server.

    Waits for the server's policy to be built. When the server dies, the running call fails with
    PolicyServerLost, and the next ``reset`` finds or starts another. PolicyError: what the policy says
    of a mistake that the user can mend.
    """

    def __init__(self, order: ServerOrder, home: Home | None = None) -> None:
        self.order = order
        self.server_pid = 0
        """Of the server that it was connected to last."""
        self._node = home or Node(order)
        self._connection: socket.socket | None = None
        self._number = 0
        self._ended = False
        self.content: Content | None = None
        """Digests of what the served policy is made of."""
        self._spec = self._connect()

    @property
    def spec(self) -> PolicySpec:
        """The served policy's."""
        return self._spec

    def reset(self, slot: int, instruction: str, context: SubtaskContext) -> None:
        """Starts a subtask. The server knows this worker by its connection; ``slot`` is not told."""
        if self._connection is None:
            self._connect()
        told = {"episode": context.episode, "position": context.position, "seed": context.seed}
        told |= {"executed": context.executed, "task": context.task}
        self._ask({"do": "reset", "instruction": instruction, "context": told})

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> list[np.ndarray]:
        """The chunk (k, A) for the one slot."""
        if self._connection is None:
            raise PolicyServerLost("the policy server died before")
        try:
            self._outbox.put(observations[0])
        except OSError as error:
            raise self._died() from error
        decision = self._ask({"do": "act"})
        self._ended = decision.ended
        return [decision.chunk]

    def finished(self, slot: int, outcome: EpisodeOutcome) -> None:
        """Passes it on; a server that has died meanwhile needs not know."""
        if self._connection is not None:
            with contextlib.suppress(OSError):
                send(self._connection, {"do": "finished", "outcome": dataclasses.asdict(outcome)})

    def started(self) -> dict[str, str]:
        """What the served policy says of itself."""
        return self._says

    def ended(self, slot: int) -> bool:
        """What the policy said with its last decision."""
        return self._ended

    def close(self) -> None:
        """Leaves the server, which ends when it has no other worker."""
        if self._connection is not None:
            with contextlib.suppress(OSError):
                send(self._connection, {"do": "leave"})
            self._disconnect()

    def _connect(self) -> PolicySpec:
        try:
            return self._introduce()
        except PolicyServerLost:  # it may have ended just then, since its last worker had left
            return self._introduce()

    def _introduce(self) -> PolicySpec:
        self._connection, self._number = self._node.connect()
        self._outbox = Outbox(self._connection)
        try:
            self._send({"do": "hello", "worker": os.getpid(), "supervisor": os.getppid()})
            while not self._heard(LOOK_SECONDS):
                self._node.look_after(self._number)
            hello = self._receive()
        except BaseException:
            self.close()
            raise
        self.server_pid = hello["pid"]
        self.content = content_from_plain(hello["content"])
        self._says: dict[str, str] = hello["says"]
        return spec_from_plain(hello["spec"])

    def _disconnect(self) -> None:
        assert self._connection is not None
        self._connection.close()
        self._connection = None
        with contextlib.suppress(OSError):
            self._node.leave(self._number)

    def _ask(self, message: dict[str, Any]) -> Any:
        self._send(message)
        return self._receive()

    def _heard(self, seconds: float) -> bool:
        assert self._connection is not None
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def _send(self, message: dict[str, Any]) -> None:
        assert self._connection is not None
        try:
            send(self._connection, message)
        except OSError as error:
            raise self._died() from error

    def _receive(self) -> Any:
        assert self._connection is not None
        try:
            answer = receive_answer(self._connection)
        except OSError as error:
            raise self._died() from error
        if answer is None:
            raise self._died()
        if isinstance(answer, dict) and "error" in answer:
            if answer["lasting"]:
                raise PolicyError(answer["error"])
            if answer.get("transient"):
                raise TransientFault(answer["error"], answer["detail"])
            raise PolicyServerError(answer["error"], answer["detail"], answer["at"])
        return answer

    def _died(self) -> PolicyServerLost:
        self._disconnect()
        log = self._node.log_tail(self._number)
        return PolicyServerLost("the policy server died", log)
