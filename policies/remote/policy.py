"""A policy that is served elsewhere: ``policy=remote policy.protocol=openpi policy.address=host:port``."""

from __future__ import annotations

import dataclasses
import os
import sys
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
from vla_bench.policies.remote.addresses import parse_addresses
from vla_bench.policies.remote.answer import Interpreter, rows_of
from vla_bench.policies.remote.asking import Asking, Line
from vla_bench.policies.remote.connections.base import Dial
from vla_bench.policies.remote.connections.tls import check_proxy
from vla_bench.policies.remote.errors import RemoteFault
from vla_bench.policies.remote.request import Moment, Requests, merged
from vla_bench.policies.remote.servers import WAITS, Servers
from vla_bench.policies.remote.settled import nameless, settled
from vla_bench.policies.remote.statement import compare, said


@dataclass(slots=True)
class _Slot:
    line: Line
    interpreter: Interpreter
    instruction: str = ""
    restarts: bool = False
    """Whether the next observation is the first of a further subtask."""
    rows: np.ndarray | None = None
    """The last answer."""
    plan: np.ndarray | None = None
    """What is left of a chunk that runs on over the change of the instruction."""
    followed: np.ndarray | None = None
    past: dict[int, deque[np.ndarray]] = field(default_factory=dict)
    """What placeholders with a history have sent."""


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
        token = os.environ.get(token_env, "")
        self._servers = Servers(
            parse_addresses(address, protocol, self._mapping.dialect),
            protocol,
            lambda where, seconds: Dial(
                where, self._mapping.dialect, seconds, token, ca_file, proxy, self._mapping.benchmark
            ),
        )
        self._asking = Asking(
            self._servers, self._mapping, self._requests, environment, self._spec.action, float(timeout)
        )
        self._slots: dict[int, _Slot] = {}
        self._threads: ThreadPoolExecutor | None = None
        line = self._slot(0).line
        try:
            self._asking.begin(line, float(wait))
            if word := said(self.statement, protocol):
                self._spec = dataclasses.replace(self._spec, files={**self._spec.files, "server": word})
            if probe:
                self._asking.probe(line)
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

    @property
    def statement(self) -> Mapping[str, Any]:
        """What the server said of itself when this policy was made."""
        return self._asking.statement

    @property
    def answer_digest(self) -> str:
        """Of the answer to the fixed question; empty when it was not asked."""
        return self._asking.answer_digest

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
        one.instruction, one.line.context = instruction, context
        one.restarts = context.position > 0
        if context.position == 0:
            one.line.told = False

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
        connection = self._slot(slot).line.connection
        if connection is not None and connection.open:
            connection.end_episode(outcome)

    def model_seconds(self, slot: int) -> float | None:
        """By the server's own clock, where it says."""
        return self._slot(slot).line.model_seconds

    def close(self) -> None:
        """Closes all connections."""
        for slot in self._slots.values():
            if slot.line.connection is not None:
                slot.line.connection.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        self._servers.close()

    def _slot(self, number: int) -> _Slot:
        if number not in self._slots:
            self._slots[number] = _Slot(Line(number), Interpreter(self._mapping.answer, self._spec.action))
        return self._slots[number]

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
        reply = self._asking.reply(first.line, merged(requests))
        several = rows_of(reply, self._mapping.answer, len(asked), batched=True)
        chunks = []
        for (slot, _), rows in zip(asked, several, strict=True):
            slot.rows, slot.line.model_seconds = rows, first.line.model_seconds
            slot.restarts = False
            self._follow(slot)
            chunks.append(slot.interpreter.chunk(rows))
        return chunks

    def _asked(self, slot: _Slot, observation: Observation) -> np.ndarray:
        request = self._request(slot, observation)
        reply = self._asking.reply(slot.line, request)
        slot.restarts = False
        (rows,) = rows_of(reply, self._mapping.answer, batched=self._mapping.batch)
        return rows

    def _request(self, slot: _Slot, observation: Observation) -> dict[str, Any]:
        assert slot.line.context is not None
        request = self._requests(observation, Moment(slot.instruction, slot.line.context, slot.followed, slot.past))
        if slot.restarts and self._mapping.protocol == "vla_eval":
            request["episode_restart"] = True
        return request
