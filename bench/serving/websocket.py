"""The clients of a served policy: openpi's and vla-eval's protocols, and the health routes.

A thread for each client reads what it asks; whoever has decided sends the answer, which is the client's own thread for
a quick policy with one client, else the one that decides for all. A client's mistake is told to it in a sentence and
costs nobody else anything.
"""

from __future__ import annotations

import http
import json
import logging
import queue
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, serve

from vla_bench.bench.protocol import to_plain
from vla_bench.bench.serving.batches import Batches, Decided, Wish
from vla_bench.bench.serving.connection import ServedConnection
from vla_bench.bench.serving.translation import Asked, Translation
from vla_bench.envs.errors import UserError
from vla_bench.policies.base import EpisodeOutcome, PolicySpec, SubtaskContext
from vla_bench.policies.remote.codecs import openpi, vla_eval
from vla_bench.policies.remote.codecs.bounds import LARGEST_MESSAGE
from vla_bench.policies.remote.codecs.vla_eval import PROTOCOL_VERSION, Message
from vla_bench.policies.remote.errors import MessageFault

MOST_CLIENTS = 1024
HARNESS_VERSION = "0.8.0"
"""The release of vla-eval whose messages these are."""
OPEN_SECONDS, CLOSE_SECONDS = 10.0, 1.0
PROTOCOLS = ("openpi", "vla_eval")


@dataclass(slots=True)
class _Client:
    connection: ServedConnection
    slot: int
    instruction: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)
    begun: bool = False
    plan: np.ndarray | None = None
    """vla-eval: what is left of the last chunk; its clients take one action for each observation."""
    episodes: int = 0
    turn: threading.Lock = field(default_factory=threading.Lock)
    """Held from a request to its answer: requests that are sent before that wait, and are answered in their order."""
    encode: Any = None


class PolicyService:
    """One policy behind one port."""

    def __init__(
        self,
        protocol: str,
        batches: Batches,
        translation: Translation,
        spec: PolicySpec,
        *,
        name: str = "",
        largest: int = LARGEST_MESSAGE,
    ) -> None:
        self._batches, self._translation, self._spec = batches, translation, spec
        self._talk = {"openpi": self._openpi, "vla_eval": self._vla_eval}[protocol]
        self._largest = largest
        self._name = name or spec.name
        self._slots: set[int] = set()
        self._entry = threading.Lock()
        self._server: Server | None = None

    def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listens, and returns the port (another one for 0). OSError: it is taken."""
        logging.getLogger("websockets").setLevel(logging.CRITICAL)
        self._server = serve(
            cast(Any, self._serve),
            host,
            port,
            ssl=tls,
            process_request=cast(Any, self._health),
            compression=None,
            max_size=self._largest,
            ping_interval=None,
            open_timeout=OPEN_SECONDS,
            close_timeout=CLOSE_SECONDS,
            create_connection=cast(Any, ServedConnection),
        )
        threading.Thread(target=self._server.serve_forever, name="listen", daemon=True).start()
        return self._server.socket.getsockname()[1]

    def stop(self) -> None:
        """Closes all connections."""
        if self._server is not None:
            self._server.shutdown()

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

    def _health(self, connection: ServedConnection, request: Request) -> Response | None:
        path = request.path.partition("?")[0]
        if path == "/healthz":
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        if path == "/health":
            response = connection.respond(http.HTTPStatus.OK, json.dumps({"status": "ok"}) + "\n")
            del response.headers["Content-Type"]
            response.headers["Content-Type"] = "application/json"
            return response
        if len(self._slots) >= MOST_CLIENTS:
            return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "too many clients\n")
        return None

    def _serve(self, connection: ServedConnection) -> None:
        with self._entry:
            slot = next(number for number in range(len(self._slots) + 1) if number not in self._slots)
            self._slots.add(slot)
        self._batches.joined()
        try:
            self._talk(_Client(connection, slot))
        except (ConnectionClosed, OSError):
            pass
        finally:
            self._batches.left(slot)
            with self._entry:
                self._slots.discard(slot)

    def _in_turn(self, client: _Client) -> Iterator[bytes | bytearray | str]:
        """The client's messages, each when all before it have been answered; none after our goodbye."""
        for message in client.connection:
            while not client.turn.acquire(timeout=CLOSE_SECONDS):
                if not client.connection.is_open:
                    return
            if client.connection.says_goodbye:
                return
            yield message

    def _openpi(self, client: _Client) -> None:
        connection, client.encode = client.connection, openpi.Encoder()
        decode = openpi.Decoder(self._largest)
        connection.send_binary(client.encode(self.statement()))
        for message in self._in_turn(client):
            try:
                if isinstance(message, str):
                    raise MessageFault("a text message; requests are msgpack")
                asked = self._translation.asked(decode(message))
            except Exception as error:
                self._openpi_answer(client, error)
                continue
            self._decide(client, asked, self._openpi_answer)

    def _openpi_answer(self, client: _Client, decided: Decided | Exception) -> None:
        """Sends it, in whichever thread. An error as openpi's own server does: the words as text, then the end."""
        connection = client.connection
        try:
            if isinstance(decided, Exception):
                connection.send_text(said(decided))
                connection.close_soon(1011, "the message before says why")
            else:
                chunk = self._translation.chunk(decided.chunk)
                timing = {"infer_ms": decided.seconds * 1e3}
                connection.send_binary(client.encode({"actions": chunk, "server_timing": timing}))
        except (ConnectionClosed, OSError):
            connection.close_soon(1011, "")
        client.turn.release()

    def _vla_eval(self, client: _Client) -> None:
        connection, client.encode = client.connection, vla_eval.encoder()
        for data in self._in_turn(client):
            try:
                if isinstance(data, str):
                    raise MessageFault("a text message; requests are msgpack")
                message = vla_eval.decode(data, self._largest)
            except MessageFault as fault:
                self._send(client, Message("error", {"error": said(fault)}))
                connection.close_soon(1002, "no message of the protocol")
                client.turn.release()
                continue
            self._take(client, message)

    def _send(self, client: _Client, message: Message) -> None:
        """Sends a message of vla-eval's, in whichever thread."""
        try:
            client.connection.send_binary(client.encode(vla_eval.envelope(message)))
        except (ConnectionClosed, OSError):
            client.connection.close_soon(1011, "")

    def _take(self, client: _Client, message: Message) -> None:
        """Answers where there is an answer, and gives the client its turn again."""
        match message.type:
            case "observation":
                self._act(client, message)
                return  # its answer gives the turn
            case "hello":
                self._send(client, Message("hello", self._hello(), message.seq))
            case "episode_start":
                client.begun, client.plan = False, None
                client.episodes += 1
            case "episode_end":
                self._finish(client, message.payload)
            case _:
                error = f"a server takes no message of type {message.type!r}"[:300]
                self._send(client, Message("error", {"error": error}, message.seq))
        client.turn.release()

    def _act(self, client: _Client, message: Message) -> None:
        def answer(client: _Client, decided: Decided | Exception) -> None:
            if isinstance(decided, Exception):
                error = f"observation_failed: {type(decided).__name__}: {said(decided)}"
                self._send(client, Message("error", {"error": error}, message.seq))
            else:
                plan = self._translation.chunk(decided.chunk)[: self._spec.execute]
                client.plan = plan[1:]
                self._send(client, Message("action", {"actions": plan[0]}, message.seq))
            client.turn.release()

        try:
            asked = self._translation.asked(message.payload)
        except Exception as error:
            answer(client, error)
            return
        if client.plan is not None and len(client.plan) and not self._begins(client, asked):
            action, client.plan = client.plan[0], client.plan[1:]
            self._send(client, Message("action", {"actions": action}, message.seq))
            client.turn.release()
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

    def _begins(self, client: _Client, asked: Asked) -> bool:
        return (
            not client.begun
            or asked.restart
            or asked.instruction != client.instruction
            or dict(asked.about) != dict(client.about)
        )

    def _decide(self, client: _Client, asked: Asked, answer: Callable[[_Client, Decided | Exception], None]) -> None:
        """Has it decided; ``answer`` is called with the decision, in this thread or another."""
        begin = None
        if self._begins(client, asked):
            position = asked.about.get("position", 0)
            episode = asked.about.get("episode", f"client-{client.slot}-{client.episodes}")
            begin = (asked.instruction, SubtaskContext(episode, position, asked.about.get("seed", 0)))
            client.begun, client.instruction, client.about = True, asked.instruction, asked.about

        def told(decided: Decided | Exception) -> None:
            if isinstance(decided, Exception):
                client.begun = False
            try:
                answer(client, decided)
            except Exception:  # one client's answer is nobody else's error
                client.connection.close_soon(1011, "the answer cannot be sent")

        now = self._batches.at_once(client.slot, asked.observation, begin)
        if now is not None:
            told(now)
        elif client.connection.answered_by_any:
            self._batches.ask(Wish(client.slot, asked.observation, begin, told))
        else:
            box: queue.SimpleQueue[Decided | Exception] = queue.SimpleQueue()
            self._batches.ask(Wish(client.slot, asked.observation, begin, box.put))
            told(box.get())

    def _finish(self, client: _Client, payload: Mapping[str, Any]) -> None:
        client.begun, client.plan = False, None
        metrics = payload.get("metrics")
        metrics = metrics if isinstance(metrics, Mapping) else {}
        numbers = [metrics.get("completed_subtasks", 0), payload.get("steps", 0), payload.get("elapsed_sec", 0.0)]
        length, steps, seconds = (each if isinstance(each, int | float) else 0 for each in numbers)
        success = metrics.get("success") is True
        self._batches.finished(client.slot, EpisodeOutcome(success, int(length), int(steps), float(seconds)))


def said(error: Exception) -> str:
    """An error as one sentence; never a traceback, which would tell strangers of this machine's files."""
    if isinstance(error, UserError | MessageFault):
        return str(error)
    first = str(error).partition("\n")[0]
    return f"the policy failed: {type(error).__name__}: {first}"[:500]
