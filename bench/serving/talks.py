"""What is said to a client of a served policy, in openpi's protocol or vla-eval's.

A client's mistake is told to it in a sentence and costs nobody else anything.
"""

from __future__ import annotations

import queue
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from websockets.exceptions import ConnectionClosed

from vla_bench.bench.protocol import to_plain
from vla_bench.bench.serving.batches import Batches, Decided, Wish
from vla_bench.bench.serving.connection import ServedConnection
from vla_bench.bench.serving.translation import Asked, Translation
from vla_bench.envs.errors import UserError
from vla_bench.policies.base import EpisodeOutcome, PolicySpec, SubtaskContext
from vla_bench.policies.remote.codecs import openpi, vla_eval
from vla_bench.policies.remote.codecs.bounds import check_msgpack
from vla_bench.policies.remote.codecs.vla_eval import PROTOCOL_VERSION, Message
from vla_bench.policies.remote.errors import MessageFault

HARNESS_VERSION = "0.8.0"
"""The release of vla-eval whose messages these are."""
_DOUBLE = struct.Struct(">d")


@dataclass(slots=True)
class Client:
    """Who is talked to."""

    connection: ServedConnection
    slot: int
    encode: Any
    decode: Any
    done: Callable[[], None] = lambda: None
    """Called when the last message has been answered, or needs no answer; by any thread."""
    busy: bool = False
    """Whether a message waits for its answer: those that are sent before that wait, and are answered in their order."""
    asked: Asked | None = None
    """The last request."""
    begun: bool = False
    plan: np.ndarray | None = None
    """vla-eval: what is left of the last chunk; its clients take one action for each observation."""
    episodes: int = 0

    def take(self, talk: Talk) -> None:
        """Takes the messages that have come, up to one whose answer has to be waited for; none after our goodbye."""
        messages = self.connection.messages
        while messages:
            if self.connection.says_goodbye:
                messages.clear()
            elif self.busy:
                return
            else:
                self.busy = True
                try:
                    talk.take(self, messages.popleft())
                except Exception:  # one client's message is nobody else's error
                    self.connection.close_soon(1011, "the message cannot be answered")
                    self.busy = False


Answer = Callable[[Client, Decided | Exception], None]


class Talk(ABC):
    """A protocol's words for a policy."""

    def __init__(self, batches: Batches, translation: Translation, spec: PolicySpec, name: str, largest: int) -> None:
        self._batches, self._translation, self._spec = batches, translation, spec
        self._name, self._largest = name, largest

    def statement(self) -> dict[str, Any]:
        """What it says of itself, to whoever connects."""
        return {
            "name": self._name,
            "vla_bench": {
                "action": to_plain(self._spec.action),
                "chunk": self._spec.chunk,
                "execute": self._spec.execute,
                "cameras": [camera.name for camera in self._spec.sensors.cameras],
                "files": dict(self._spec.files),
                "switches": dict(self._spec.switches),
                "mapping": self._translation.mapping.name,
                "request": self._translation.mapping.requested(),
            },
        }

    @abstractmethod
    def meet(self, connection: ServedConnection, slot: int) -> Client:
        """Greets it, where the protocol has the server speak first. ConnectionClosed, OSError: it has gone."""

    @abstractmethod
    def take(self, client: Client, message: bytes | bytearray | str) -> None:
        """Answers a message, now or in another thread; :meth:`_done` says when."""

    def _done(self, client: Client) -> None:
        client.busy = False
        client.done()

    def _decide(self, client: Client, asked: Asked, answer: Answer) -> None:
        """Has it decided; ``answer`` is called with the decision, in this thread or another."""
        begin = None
        if begins(client, asked):
            position = asked.about.get("position", 0)
            episode = asked.about.get("episode", f"client-{client.slot}-{client.episodes}")
            begin = (asked.instruction, SubtaskContext(episode, position, asked.about.get("seed", 0)))
            client.begun = True
        client.asked = asked

        def told(decided: Decided | Exception) -> None:
            if isinstance(decided, Exception):
                client.begun = False
                if asked.left_out:  # the policy cannot know why it misses something
                    decided = MessageFault(f"{said(decided)} (of the request, {'; '.join(asked.left_out)})")
            try:
                answer(client, decided)
            except Exception:  # one client's answer is nobody else's error
                client.connection.close_soon(1011, "the answer cannot be sent")
                self._done(client)

        now = self._batches.at_once(client.slot, asked.observation, begin)
        if now is not None:
            told(now)
        elif client.connection.answered_by_any:
            self._batches.ask(Wish(client.slot, asked.observation, begin, told))
        else:
            box: queue.SimpleQueue[Decided | Exception] = queue.SimpleQueue()
            self._batches.ask(Wish(client.slot, asked.observation, begin, box.put))
            told(box.get())


def begins(client: Client, asked: Asked) -> bool:
    """Whether a subtask begins with the request."""
    last = client.asked
    return (
        not client.begun
        or asked.restart
        or last is None
        or asked.instruction != last.instruction
        or (asked.about is not last.about and dict(asked.about) != dict(last.about))
    )


class OpenpiTalk(Talk):
    """The server speaks first, then one reply to one request; an error is text, and the connection's end."""

    def meet(self, connection: ServedConnection, slot: int) -> Client:
        """Sends the statement."""
        connection.send_binary(openpi.encode(self.statement()))
        return Client(connection, slot, ChunkEncoder(), openpi.Decoder(self._largest))

    def take(self, client: Client, message: bytes | bytearray | str) -> None:
        """Every message is a request."""
        try:
            if isinstance(message, str):
                raise MessageFault("a text message; requests are msgpack")
            value = client.decode(message)
            asked = self._translation.asked(value, client.asked if client.decode.alike else None)
        except Exception as error:
            client.asked = None
            self._answer(client, error)
            return
        self._decide(client, asked, self._answer)

    def _answer(self, client: Client, decided: Decided | Exception) -> None:
        """Sends it. An error as openpi's own server does: the words as text, then the end."""
        connection = client.connection
        try:
            if isinstance(decided, Exception):
                connection.send_text(said(decided))
                connection.close_soon(1011, "the message before says why")
            else:
                connection.send_binary(client.encode(self._translation.chunk(decided.chunk), decided.seconds * 1e3))
        except (ConnectionClosed, OSError):
            connection.close_soon(1011, "")
        self._done(client)


class ChunkEncoder:
    """openpi's reply with a chunk: between those of one shape nothing differs but the numbers."""

    def __init__(self) -> None:
        self._like: tuple[np.dtype[Any], tuple[int, ...]] | None = None
        self._before = self._between = b""

    def __call__(self, chunk: np.ndarray, milliseconds: float) -> bytes:
        """The message."""
        if self._like != (chunk.dtype, chunk.shape):
            message = openpi.encode({"actions": chunk, "server_timing": {"infer_ms": milliseconds}})
            contents: list[tuple[int, int]] = []
            check_msgpack(message, len(message), contents)
            if len(contents) != 2:  # the chunk is too small to be told from what is about it
                return message
            (start, end), (double, _) = contents
            self._before, self._between = message[:start], message[end:double]
            self._like = (chunk.dtype, chunk.shape)
        return b"".join((self._before, chunk.tobytes(), self._between, _DOUBLE.pack(milliseconds)))


class VlaEvalTalk(Talk):
    """Hello, episodes, and one action for each observation; the connection outlives an error."""

    def meet(self, connection: ServedConnection, slot: int) -> Client:
        """The client speaks first."""
        return Client(connection, slot, vla_eval.encoder(), vla_eval.decode)

    def take(self, client: Client, message: bytes | bytearray | str) -> None:
        """Answers where there is an answer."""
        try:
            if isinstance(message, str):
                raise MessageFault("a text message; requests are msgpack")
            told = client.decode(message, self._largest)
        except MessageFault as fault:
            self._send(client, Message("error", {"error": said(fault)}))
            client.connection.close_soon(1002, "no message of the protocol")
            self._done(client)
            return
        match told.type:
            case "observation":
                self._act(client, told)
                return  # done with its answer
            case "hello":
                self._send(client, Message("hello", self._hello(), told.seq))
            case "episode_start":
                client.begun, client.plan = False, None
                client.episodes += 1
            case "episode_end":
                self._finish(client, told.payload)
            case _:
                error = f"a server takes no message of type {told.type!r}"[:300]
                self._send(client, Message("error", {"error": error}, told.seq))
        self._done(client)

    def _send(self, client: Client, message: Message) -> None:
        try:
            client.connection.send_binary(client.encode(vla_eval.envelope(message)))
        except (ConnectionClosed, OSError):
            client.connection.close_soon(1011, "")

    def _act(self, client: Client, message: Message) -> None:
        def answer(client: Client, decided: Decided | Exception) -> None:
            if isinstance(decided, Exception):
                error = f"observation_failed: {type(decided).__name__}: {said(decided)}"
                self._send(client, Message("error", {"error": error}, message.seq))
            else:
                plan = self._translation.chunk(decided.chunk)[: self._spec.execute]
                client.plan = plan[1:]
                self._send(client, Message("action", {"actions": plan[0]}, message.seq))
            self._done(client)

        try:
            asked = self._translation.asked(message.payload)
        except Exception as error:
            answer(client, error)
            return
        if client.plan is not None and len(client.plan) and not begins(client, asked):
            action, client.plan = client.plan[0], client.plan[1:]
            self._send(client, Message("action", {"actions": action}, message.seq))
            self._done(client)
        else:
            self._decide(client, asked, answer)

    def _hello(self) -> dict[str, Any]:
        action = self._spec.action
        delta = action.control == "tcp_delta"
        opens = "binary_close_negative" if action.gripper_open > action.gripper_closed else "binary_close_positive"
        cameras = len(self._spec.sensors.cameras)
        return {
            "harness_version": HARNESS_VERSION,
            "protocol_version": PROTOCOL_VERSION,
            "model_server": self._name,
            "capabilities": {},
            "observation_params": {"send_wrist_image": cameras > 1, "send_state": True, "absolute_action": not delta},
            "action_spec": {
                "position": {"name": "position", "dims": 3, "format": "delta_xyz" if delta else "absolute_xyz"},
                "rotation": {"name": "rotation", "dims": action.size - 4, "format": action.rotation},
                "gripper": {"name": "gripper", "dims": 1, "format": opens},
            },
            **self.statement(),
        }

    def _finish(self, client: Client, payload: Mapping[str, Any]) -> None:
        client.begun, client.plan = False, None
        metrics = payload.get("metrics")
        metrics = metrics if isinstance(metrics, Mapping) else {}
        numbers = [metrics.get("completed_subtasks", 0), payload.get("steps", 0), payload.get("elapsed_sec", 0.0)]
        length, steps, seconds = (each if isinstance(each, int | float) else 0 for each in numbers)
        success = metrics.get("success") is True
        self._batches.finished(client.slot, EpisodeOutcome(success, int(length), int(steps), float(seconds)))


TALKS: Mapping[str, type[Talk]] = {"openpi": OpenpiTalk, "vla_eval": VlaEvalTalk}


def said(error: Exception) -> str:
    """An error as one sentence; never a traceback, which would tell strangers of this machine's files."""
    if isinstance(error, UserError | MessageFault):
        return str(error)
    first = str(error).partition("\n")[0]
    return f"the policy failed: {type(error).__name__}: {first}"[:500]
