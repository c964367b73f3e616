"""A policy that is served elsewhere: ``policy=remote policy.protocol=openpi policy.address=host:port``."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vla_bench.envs.observation import Observation
from vla_bench.envs.simulation import EnvironmentSpec
from vla_bench.policies.base import EpisodeOutcome, PolicySpec, SubtaskContext
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.registry import action_named
from vla_bench.policies.remote.addresses import parse_addresses
from vla_bench.policies.remote.answer import Interpreter, rows_of
from vla_bench.policies.remote.connections.base import Connection, Dial
from vla_bench.policies.remote.connections.tls import check_proxy
from vla_bench.policies.remote.errors import MessageFault, RemoteFault, ServerFault
from vla_bench.policies.remote.fitting import presets_for
from vla_bench.policies.remote.probe import probe_of
from vla_bench.policies.remote.request import Moment, Requests, merged
from vla_bench.policies.remote.servers import WAITS, Servers
from vla_bench.policies.remote.settled import nameless, settled
from vla_bench.policies.remote.statement import compare, said

FIRST_SECONDS = 540.0
"""For a first answer: a server may compile its model then. Below the 600 s after which a worker is taken for hung."""
TRIES, PAUSE = 8, 0.05
"""Of one question whose connection breaks, and seconds before the second try, doubled each time. Whatever ends the
connection at each of them is not chance."""
LEAST_SECONDS, MARGIN, MOST_SECONDS = 50.0, 15.0, 1500.0
"""For a later one: at least, times the slowest so far, at most. Each below the limit of the worker's deadlines."""


@dataclass(slots=True)
class _Slot:
    number: int
    interpreter: Interpreter
    connection: Connection | None = None
    instruction: str = ""
    context: SubtaskContext | None = None
    told: bool = True
    """Whether the server has been told of the running episode."""
    restarts: bool = False
    """Whether the next observation is the first of a further subtask."""
    rows: np.ndarray | None = None
    """The last answer."""
    plan: np.ndarray | None = None
    """What is left of a chunk that runs on over the change of the instruction."""
    followed: np.ndarray | None = None
    past: dict[int, deque[np.ndarray]] = field(default_factory=dict)
    """What placeholders with a history have sent."""
    model_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Identified:
    """What is known of the servers before anything is run."""

    files: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class RemotePolicy:
    """Sends what a mapping says to a server, and makes of its answers what the environment understands."""

    def __init__(
        self,
        environment: EnvironmentSpec,
        protocol: str,
        address: str | Sequence[str],
        mapping: str | Mapping[str, Any] = "",
        model: str = "",
        execute: int = 0,
        extra: Mapping[str, Any] | None = None,
        wait: float = 240.0,
        timeout: float = 0.0,
        probe: bool = True,
        token_env: str = "VLA_BENCH_TOKEN",
        ca_file: str = "",
        proxy: str = "",
    ) -> None:
        """Connects, compares what the server says of itself with the mapping, and asks it one fixed question.

        Args:
            environment: given by the benchmark.
            protocol: one of ``openpi``, ``vla_eval``, ``groot``, ``rest``.
            address: ``host:port`` of the server, or of several that serve the same model.
            mapping: a preset, a YAML file, or the fields themselves; by default the protocol's preset for the family.
            model: ``name@version`` where the server does not say what it serves: your word, and marked so.
            execute: actions of each chunk to execute; 0: the mapping's number.
            extra: fields put into the request, over the mapping's, e.g. ``unnorm_key``.
            wait: seconds to wait for a server that is loading or restarting.
            timeout: seconds to wait for an answer; 0: learned from how long answers take.
            probe: whether the server is asked about one fixed observation at each start.
            token_env: the environment variable that holds a token, where one is wanted.
            ca_file: PEM certificates to trust, for a server whose own nobody has signed.
            proxy: ``http://host:port`` to go through, or ``environment`` for what https_proxy and its like say; none
                otherwise.

        Raises:
            PolicyError: the server contradicts the mapping, refuses us, or answers the question in another shape.
            RemoteFault: it cannot be reached, or fails.
        """
        self._mapping, self._spec = settled(environment, protocol, address, mapping, model, execute, extra)
        self._requests = Requests(self._mapping, environment)
        self._environment = environment
        self._wait, self._timeout = float(wait), float(timeout)
        self._slowest = 0.0
        token = os.environ.get(token_env, "")
        self._servers = Servers(
            parse_addresses(address, protocol, self._mapping.dialect),
            protocol,
            lambda where, seconds: Dial(
                where, self._mapping.dialect, seconds, token, ca_file, proxy, self._mapping.benchmark
            ),
        )
        self.statement: Mapping[str, Any] = {}
        """What the server said of itself when this policy was made."""
        self._slots: dict[int, _Slot] = {}
        self._threads: ThreadPoolExecutor | None = None
        self.answer_digest = ""
        """Of the answer to the fixed question; empty when it was not asked."""
        slot = self._slot(0)
        try:
            slot.connection = self._connection(slot.number, self._wait)
            self.statement = slot.connection.statement
            if word := said(self.statement, protocol):
                self._spec = dataclasses.replace(self._spec, files={**self._spec.files, "server": word})
            if probe:
                self._probe(slot)
        except BaseException:
            self.close()
            raise

    @classmethod
    def describe(
        cls,
        environment: EnvironmentSpec,
        protocol: str,
        address: str | Sequence[str],
        mapping: str | Mapping[str, Any] = "",
        model: str = "",
        execute: int = 0,
        extra: Mapping[str, Any] | None = None,
        wait: float = 240.0,
        timeout: float = 0.0,
        probe: bool = True,
        token_env: str = "VLA_BENCH_TOKEN",
        ca_file: str = "",
        proxy: str = "",
    ) -> PolicySpec:
        """What the mapping says; asks no server."""
        if wait < 0 or timeout < 0:
            raise PolicyError(f"policy.wait={wait} and policy.timeout={timeout}: seconds from 0 are wanted")
        check_proxy(proxy)
        if ca_file and not Path(ca_file).is_file():
            raise PolicyError(f"policy.ca_file={ca_file}: there is no such file")
        return settled(environment, protocol, address, mapping, model, execute, extra)[1]

    @classmethod
    def identify(cls, environment: EnvironmentSpec, **arguments: Any) -> Identified:
        """Asks the server what it is. Errors as the constructor; PolicyError: nobody says which model it is."""
        telling = WAITS.set(lambda words: print(words, file=sys.stderr, flush=True))
        try:
            policy = cls(environment, **{**arguments, "probe": False})
        except RemoteFault as fault:
            raise PolicyError(f"{fault}. Is the server running? policy.wait= says how long to wait for it") from None
        finally:
            WAITS.reset(telling)
        try:
            found = compare(policy.statement, policy._mapping, policy.spec.action)
            word = said(policy.statement, policy._mapping.protocol)
            model = str(arguments.get("model", ""))
            if not word and not model:
                raise nameless(policy._mapping.protocol)
            return Identified({"server": word} if word else {}, found.unknown)
        finally:
            policy.close()

    @property
    def spec(self) -> PolicySpec:
        """Fixed for the life of the policy."""
        return self._spec

    def started(self) -> Mapping[str, str]:
        """What a worker says of it when it has started: the digest of the answer to the fixed question."""
        return {"answer_to_probe": self.answer_digest} if self.answer_digest else {}

    def reset(self, slot: int, instruction: str, context: SubtaskContext) -> None:
        """Starts a subtask; the server is told of a new episode with its first observation."""
        one = self._slot(slot)
        continues = self._mapping.continues and context.position > 0 and one.rows is not None
        rows, executed = one.rows, context.executed
        one.followed = rows[executed - 1] if continues and executed and rows is not None else one.followed
        if continues and rows is not None:
            one.plan = rows[executed : self._spec.execute] if executed < self._spec.execute else None
        else:
            one.plan = one.followed = one.rows = None
            one.past.clear()
            one.interpreter.reset()
        one.instruction, one.context = instruction, context
        one.restarts = context.position > 0
        if context.position == 0:
            one.told = False

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> list[np.ndarray]:
        """A chunk (k, A) for each slot: one request for all where the server takes that, else all at once, each on a
        connection of its own."""
        asked = [(self._slot(slot), seen) for slot, seen in zip(slots, observations, strict=True)]
        if len(asked) == 1:
            return [self._decide(*asked[0])]
        if self._mapping.batch:
            return self._decide_together(asked)
        if self._threads is None or self._threads._max_workers < len(asked):
            self._threads = ThreadPoolExecutor(max(16, len(asked)), thread_name_prefix="remote")
        return list(self._threads.map(self._or_fault, asked))

    def _or_fault(self, asked: tuple[_Slot, Observation]) -> Any:
        """What goes wrong for one slot is nobody else's error."""
        try:
            return self._decide(*asked)
        except Exception as error:
            return error

    def finished(self, slot: int, outcome: EpisodeOutcome) -> None:
        """Tells the server that the episode has ended, where the protocol has a word for it."""
        connection = self._slot(slot).connection
        if connection is not None and connection.open:
            connection.end_episode(outcome)

    def model_seconds(self, slot: int) -> float | None:
        """By the server's own clock, where it says."""
        return self._slot(slot).model_seconds

    def close(self) -> None:
        """Closes all connections."""
        for slot in self._slots.values():
            if slot.connection is not None:
                slot.connection.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        self._servers.close()

    def _slot(self, number: int) -> _Slot:
        if number not in self._slots:
            self._slots[number] = _Slot(number, Interpreter(self._mapping.answer, self._spec.action))
        return self._slots[number]

    def _connection(self, number: int, seconds: float) -> Connection:
        until = time.monotonic() + seconds
        connection = self._servers.connect(seconds, number)
        before, now = (said(each, self._mapping.protocol) for each in (self.statement, connection.statement))
        if self.statement and before != now:
            connection.close()
            raise PolicyError(f"the server has become another: it said {before!r} before, and says {now!r} now")
        found = compare(connection.statement, self._mapping, self._spec.action)
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

    def _decide(self, slot: _Slot, observation: Observation) -> np.ndarray:
        if slot.plan is not None and len(slot.plan):
            rows, slot.plan = slot.plan, None
            slot.rows = rows
        else:
            slot.rows = rows = self._asked(slot, observation)
        self._follow(slot)
        return slot.interpreter.chunk(rows)

    def _follow(self, slot: _Slot) -> None:
        if self._requests.follows and slot.rows is not None:
            slot.followed = slot.rows[min(len(slot.rows), self._spec.execute) - 1]

    def _decide_together(self, asked: list[tuple[_Slot, Observation]]) -> list[np.ndarray]:
        """One request for all that wait, on the first one's connection."""
        first = asked[0][0]
        requests = [self._request(slot, seen) for slot, seen in asked]
        reply = self._reply(first, merged(requests))
        several = rows_of(reply, self._mapping.answer, len(asked), batched=True)
        chunks = []
        for (slot, _), rows in zip(asked, several, strict=True):
            slot.rows, slot.model_seconds = rows, first.model_seconds
            slot.restarts = False
            self._follow(slot)
            chunks.append(slot.interpreter.chunk(rows))
        return chunks

    def _asked(self, slot: _Slot, observation: Observation) -> np.ndarray:
        request = self._request(slot, observation)
        reply = self._reply(slot, request)
        slot.restarts = False
        (rows,) = rows_of(reply, self._mapping.answer, batched=self._mapping.batch)
        return rows

    def _request(self, slot: _Slot, observation: Observation) -> dict[str, Any]:
        assert slot.context is not None
        request = self._requests(observation, Moment(slot.instruction, slot.context, slot.followed, slot.past))
        if slot.restarts and self._mapping.protocol == "vla_eval":
            request["episode_restart"] = True
        return request

    def _reply(self, slot: _Slot, request: Mapping[str, Any]) -> Any:
        """Asks; a server without a memory of the episode is asked again when the connection breaks."""
        first = not self._slowest
        seconds = self._timeout or (
            FIRST_SECONDS if first else min(max(MARGIN * self._slowest, LEAST_SECONDS), MOST_SECONDS)
        )
        until = time.monotonic() + seconds
        for number in range(TRIES):
            try:
                return self._try(slot, request, until)
            except RemoteFault as fault:
                stateless = self._mapping.protocol != "vla_eval"
                if not stateless or not self._may_try_again(slot, fault, number, until):
                    raise
                self._connect_again(slot, fault, until)
                slot.told = False
        raise AssertionError("unreachable")

    def _may_try_again(self, slot: _Slot, fault: RemoteFault, number: int, until: float) -> bool:
        """Whether it was the connection's fault, of which there is time and hope to have another."""
        lost = slot.connection is None or not slot.connection.open
        chance = lost and not isinstance(fault, ServerFault | MessageFault)
        pause = PAUSE * 2**number
        if not chance or number + 1 == TRIES or until - time.monotonic() <= pause + 0.5:
            return False
        time.sleep(pause if number else 0.0)
        return True

    def _connect_again(self, slot: _Slot, fault: RemoteFault, until: float) -> None:
        try:
            slot.connection = self._connection(slot.number, max(0.5, until - time.monotonic()))
        except RemoteFault as second:
            raise RemoteFault(f"{fault}; {second}") from None

    def _try(self, slot: _Slot, request: Mapping[str, Any], until: float) -> Any:
        connection = slot.connection
        if connection is None or not connection.open:
            if connection is not None and not connection.stateless and slot.told:
                raise RemoteFault("the connection was lost in the middle of an episode, which the server has forgotten")
            connection = slot.connection = self._connection(slot.number, max(0.5, until - time.monotonic()))
        if not slot.told and slot.context is not None:
            connection.start_episode(slot.context)
            slot.told = True
        began = time.monotonic()
        reply = connection.ask(request, max(0.1, until - began))
        self._slowest = max(self._slowest, time.monotonic() - began)
        slot.model_seconds = connection.model_seconds(reply)
        return reply

    def _probe(self, slot: _Slot) -> None:
        """One fixed observation: shows at once whether requests and answers fit, and whether it is the same model."""
        until = time.monotonic() + (self._timeout or FIRST_SECONDS)
        for number in range(TRIES):
            assert slot.connection is not None
            try:
                self.answer_digest = self._answer_to_probe(slot.connection, until)
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
                if not self._may_try_again(slot, fault, number, until):
                    raise
                self._connect_again(slot, fault, until)

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
        Interpreter(self._mapping.answer, self._spec.action).chunk(rows)
        return hashlib.sha256(np.ascontiguousarray(rows).tobytes()).hexdigest()[:12]
