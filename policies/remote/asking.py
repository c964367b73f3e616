"""How servers are asked: which connection, how long, and when again."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_bench.envs.action_spec import ActionSpec
from vla_bench.envs.simulation import EnvironmentSpec
from vla_bench.policies.base import SubtaskContext
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.registry import action_named
from vla_bench.policies.remote.answer import Interpreter, rows_of
from vla_bench.policies.remote.connections.base import Connection
from vla_bench.policies.remote.errors import MessageFault, RemoteFault, ServerFault
from vla_bench.policies.remote.fitting import presets_for
from vla_bench.policies.remote.mapping import WireMapping
from vla_bench.policies.remote.probe import probe_of
from vla_bench.policies.remote.request import Moment, Requests
from vla_bench.policies.remote.servers import Servers
from vla_bench.policies.remote.statement import compare, said

FIRST_SECONDS = 540.0
"""For a first answer: a server may compile its model then. Below the 600 s after which a worker is taken for hung."""
TRIES, PAUSE = 8, 0.05
"""Of one question whose connection breaks, and seconds before the second try, doubled each time. Whatever ends the
connection at each of them is not chance."""
LEAST_SECONDS, MARGIN, MOST_SECONDS = 50.0, 15.0, 1500.0
"""For a later one: at least, times the slowest so far, at most. Each below the limit of the worker's deadlines."""


@dataclass(slots=True)
class Line:
    """One connection at a time, and what its server has been told."""

    number: int
    connection: Connection | None = None
    context: SubtaskContext | None = None
    """Of the running subtask."""
    told: bool = True
    """Whether the server has been told of the running episode."""
    model_seconds: float | None = None
    """Of the last answer, by the server's own clock."""


class Asking:
    """Asks the servers of one model, and asks again where another try may go well."""

    def __init__(
        self,
        servers: Servers,
        mapping: WireMapping,
        requests: Requests,
        environment: EnvironmentSpec,
        action: ActionSpec,
        timeout: float,
    ) -> None:
        """``timeout``: seconds to wait for an answer; 0: learned from how long answers take."""
        self._servers, self._mapping, self._requests = servers, mapping, requests
        self._environment, self._action = environment, action
        self._timeout = timeout
        self._slowest = 0.0
        self.statement: Mapping[str, Any] = {}
        """What the server said of itself at the first connection."""
        self.answer_digest = ""
        """Of the answer to the fixed question; empty when it was not asked."""

    def begin(self, line: Line, seconds: float) -> None:
        """Connects for the first time, and hears what the server says of itself.

        PolicyError: that contradicts the mapping. RemoteFault: nobody was there in that time.
        """
        line.connection = self._connection(line.number, seconds)
        self.statement = line.connection.statement

    def _connection(self, number: int, seconds: float) -> Connection:
        until = time.monotonic() + seconds
        connection = self._servers.connect(seconds, number)
        before, now = (said(each, self._mapping.protocol) for each in (self.statement, connection.statement))
        if self.statement and before != now:
            connection.close()
            raise PolicyError(f"the server has become another: it said {before!r} before, and says {now!r} now")
        found = compare(connection.statement, self._mapping, self._action)
        if found.contradictions:
            connection.close()
            words = f"the server contradicts the mapping {self._mapping.name}: {'; '.join(found.contradictions)}"
            if all("policy.execute=" in each for each in found.contradictions):
                raise PolicyError(words)
            raise PolicyError(f"{words}. Type policy.mapping={self._instead(connection.statement)}")
        if self.answer_digest:
            self._check_answer(connection, until)
        return connection

    def _instead(self, statement: Mapping[str, Any]) -> str:
        """What to type as mapping for a server that says this of itself."""
        environment = self._environment
        known = presets_for(self._mapping.protocol, environment)
        actions = [action_named(environment, each.answer.convention) for each in known]
        fitting = [
            each.name
            for each, action in zip(known, actions, strict=True)
            if not [said for said in compare(statement, each, action).contradictions if "policy.execute=" not in said]
        ]
        if fitting:
            return f"{' or '.join(fitting)}, which the server does not contradict, or the path of your own file"
        return f"<the path of a YAML file>; none of {', '.join(each.name for each in known)} fits"

    def _check_answer(self, connection: Connection, until: float) -> None:
        """RemoteFault: a server that was connected anew answers the fixed question otherwise than at the start, and
        twice alike, so that it does not draw at random: it serves another model, and an episode must not have two."""
        try:
            first = self._answer_to_probe(connection, until)
            if first == self.answer_digest or first != self._answer_to_probe(connection, until):
                return
        except BaseException:
            connection.close()
            raise
        connection.close()
        raise RemoteFault(
            "the server answers the same observation otherwise than before the connection was lost: it is another "
            "model now"
        )

    def reply(self, line: Line, request: Mapping[str, Any]) -> Any:
        """Asks; a server without a memory of the episode is asked again when the connection breaks."""
        first = not self._slowest
        seconds = self._timeout or (
            FIRST_SECONDS if first else min(max(MARGIN * self._slowest, LEAST_SECONDS), MOST_SECONDS)
        )
        until = time.monotonic() + seconds
        for number in range(TRIES):
            try:
                return self._try(line, request, until)
            except RemoteFault as fault:
                stateless = self._mapping.protocol != "vla_eval"
                if not stateless or not self._may_try_again(line, fault, number, until):
                    raise
                self._connect_again(line, fault, until)
                line.told = False
        raise AssertionError("unreachable")

    def _may_try_again(self, line: Line, fault: RemoteFault, number: int, until: float) -> bool:
        """Whether it was the connection's fault, of which there is time and hope to have another."""
        lost = line.connection is None or not line.connection.open
        chance = lost and not isinstance(fault, ServerFault | MessageFault)
        pause = PAUSE * 2**number
        if not chance or number + 1 == TRIES or until - time.monotonic() <= pause + 0.5:
            return False
        time.sleep(pause if number else 0.0)
        return True

    def _connect_again(self, line: Line, fault: RemoteFault, until: float) -> None:
        try:
            line.connection = self._connection(line.number, max(0.5, until - time.monotonic()))
        except RemoteFault as second:
            raise RemoteFault(f"{fault}; {second}") from None

    def _try(self, line: Line, request: Mapping[str, Any], until: float) -> Any:
        connection = line.connection
        if connection is None or not connection.open:
            if connection is not None and not connection.stateless and line.told:
                raise RemoteFault("the connection was lost in the middle of an episode, which the server has forgotten")
            connection = line.connection = self._connection(line.number, max(0.5, until - time.monotonic()))
        if not line.told and line.context is not None:
            connection.start_episode(line.context)
            line.told = True
        began = time.monotonic()
        reply = connection.ask(request, max(0.1, until - began))
        self._slowest = max(self._slowest, time.monotonic() - began)
        line.model_seconds = connection.model_seconds(reply)
        return reply

    def probe(self, line: Line) -> None:
        """One fixed observation: shows at once whether requests and answers fit, and whether it is the same model."""
        until = time.monotonic() + (self._timeout or FIRST_SECONDS)
        for number in range(TRIES):
            assert line.connection is not None
            try:
                self.answer_digest = self._answer_to_probe(line.connection, until)
                return
            except MessageFault as fault:
                name = self._mapping.name
                raise PolicyError(f"the server's answer does not fit the mapping {name}: {fault}") from None
            except ServerFault as fault:
                sent = ", ".join(map(str, self._mapping.request))
                raise ServerFault(
                    f"{fault} (by the mapping {self._mapping.name} it was sent {sent})", fault.detail
                ) from None
            except RemoteFault as fault:
                if not self._may_try_again(line, fault, number, until):
                    raise
                self._connect_again(line, fault, until)

    def _answer_to_probe(self, connection: Connection, until: float) -> str:
        """Digest of what is answered to it."""
        observation, instruction = probe_of(self._environment, self._mapping)
        context = SubtaskContext("probe", 0, 0)
        request = self._requests(observation, Moment(instruction, context))
        connection.start_episode(context)
        began = time.monotonic()
        reply = connection.ask(request, max(0.1, until - began))
        self._slowest = max(self._slowest, time.monotonic() - began)
        (rows,) = rows_of(reply, self._mapping.answer, batched=self._mapping.batch)
        Interpreter(self._mapping.answer, self._action).chunk(rows)
        return hashlib.sha256(np.ascontiguousarray(rows).tobytes()).hexdigest()[:12]
