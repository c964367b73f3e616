"""The connections of a served policy: openpi's and vla-eval's protocols, and the health routes.

The event loop reads and writes; one thread decides. A client's mistake is told to it in a sentence and costs nobody
else anything.
"""

from __future__ import annotations

import asyncio
import http
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from vla_bench.bench.protocol import to_plain
from vla_bench.bench.serving.batches import Batches, Decided, Wish
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
OPEN_SECONDS = 10.0
PROTOCOLS = ("openpi", "vla_eval")


@dataclass(slots=True)
class _Client:
    slot: int
    instruction: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)
    begun: bool = False
    plan: np.ndarray | None = None
    """vla-eval: what is left of the last chunk; its clients take one action for each observation."""
    episodes: int = 0


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
        on_finished: Callable[[int, EpisodeOutcome], None] | None = None,
    ) -> None:
        self._batches, self._translation, self._spec = batches, translation, spec
        self._talk = {"openpi": self._openpi, "vla_eval": self._vla_eval}[protocol]
        self._largest = largest
        self._name = name or spec.name
        self._on_finished = on_finished
        self._slots: set[int] = set()
        self._server: Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listens, and returns the port (another one for 0). OSError: it is taken."""
        logging.getLogger("websockets").setLevel(logging.CRITICAL)
        self._server = await serve(
            self._serve,
            host,
            port,
            process_request=self._health,
            compression=None,
            max_size=self._largest,
            ping_interval=None,
            open_timeout=OPEN_SECONDS,
            close_timeout=1.0,
        )
        return self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Closes all connections."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

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
            },
        }

    def _health(self, connection: ServerConnection, request: Request) -> Response | None:
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

    async def _serve(self, socket: ServerConnection) -> None:
        slot = next(number for number in range(len(self._slots) + 1) if number not in self._slots)
        self._slots.add(slot)
        self._batches.joined()
        try:
            await self._talk(socket, _Client(slot))
        except ConnectionClosed:
            pass
        finally:
            self._slots.discard(slot)
            self._batches.left(slot)

    async def _openpi(self, socket: ServerConnection, client: _Client) -> None:
        await socket.send(openpi.encode(self.statement()))
        while True:
            message = await socket.recv()
            try:
                if isinstance(message, str):
                    raise MessageFault("a text message; requests are msgpack")
                asked = self._translation.asked(openpi.decode(message, self._largest))
                decided = await self._decided(client, asked)
                chunk = self._translation.chunk(decided.chunk)
            except Exception as error:
                # As openpi's own server does: the words as text, then the end of the connection.
                await socket.send(said(error))
                await socket.close(1011, "the message before says why")
                return
            await socket.send(openpi.encode({"actions": chunk, "server_timing": {"infer_ms": decided.seconds * 1e3}}))

    async def _vla_eval(self, socket: ServerConnection, client: _Client) -> None:
        while True:
            data = await socket.recv()
            try:
                if isinstance(data, str):
                    raise MessageFault("a text message; requests are msgpack")
                message = vla_eval.decode(data, self._largest)
            except MessageFault as fault:
                await socket.send(vla_eval.encode(Message("error", {"error": said(fault)})))
                await socket.close(1002, "no message of the protocol")
                return
            answer = await self._answer(client, message)
            if answer is not None:
                await socket.send(vla_eval.encode(answer))

    async def _answer(self, client: _Client, message: Message) -> Message | None:
        payload = message.payload
        match message.type:
            case "hello":
                return Message("hello", self._hello(), message.seq)
            case "episode_start":
                client.begun, client.plan = False, None
                client.episodes += 1
                return None
            case "episode_end":
                self._finish(client, payload)
                return None
            case "observation":
                try:
                    action = await self._next_action(client, self._translation.asked(payload))
                except Exception as error:
                    kind = type(error).__name__
                    return Message("error", {"error": f"observation_failed: {kind}: {said(error)}"}, message.seq)
                return Message("action", {"actions": action}, message.seq)
        return Message("error", {"error": f"a server takes no message of type {message.type!r}"[:300]}, message.seq)

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

    async def _next_action(self, client: _Client, asked: Asked) -> np.ndarray:
        if client.plan is None or not len(client.plan) or self._begins(client, asked):
            decided = await self._decided(client, asked)
            client.plan = self._translation.chunk(decided.chunk)[: self._spec.execute]
        action, client.plan = client.plan[0], client.plan[1:]
        return action

    def _begins(self, client: _Client, asked: Asked) -> bool:
        return (
            not client.begun
            or asked.restart
            or asked.instruction != client.instruction
            or dict(asked.about) != dict(client.about)
        )

    async def _decided(self, client: _Client, asked: Asked) -> Decided:
        begin = None
        if self._begins(client, asked):
            position = asked.about.get("position", 0)
            episode = asked.about.get("episode", f"client-{client.slot}-{client.episodes}")
            begin = (asked.instruction, SubtaskContext(episode, position, asked.about.get("seed", 0)))
            client.begun, client.instruction, client.about = True, asked.instruction, asked.about
        now = self._batches.at_once(client.slot, asked.observation, begin)
        decided = await self._waited(client, asked, begin) if now is None else now
        if isinstance(decided, Exception):
            client.begun = False
            raise decided
        return decided

    async def _waited(
        self, client: _Client, asked: Asked, begin: tuple[str, SubtaskContext] | None
    ) -> Decided | Exception:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Decided | Exception] = loop.create_future()

        def answer(decided: Decided | Exception) -> None:
            def tell() -> None:
                if not future.done():
                    future.set_result(decided)

            loop.call_soon_threadsafe(tell)

        self._batches.ask(Wish(client.slot, asked.observation, begin, answer))
        return await future

    def _finish(self, client: _Client, payload: Mapping[str, Any]) -> None:
        client.begun, client.plan = False, None
        if self._on_finished is None:
            return
        metrics = payload.get("metrics")
        metrics = metrics if isinstance(metrics, Mapping) else {}
        numbers = [metrics.get("completed_subtasks", 0), payload.get("steps", 0), payload.get("elapsed_sec", 0.0)]
        length, steps, seconds = (each if isinstance(each, int | float) else 0 for each in numbers)
        self._on_finished(
            client.slot, EpisodeOutcome(metrics.get("success") is True, int(length), int(steps), float(seconds))
        )


def said(error: Exception) -> str:
    """An error as one sentence; never a traceback, which would tell strangers of this machine's files."""
    if isinstance(error, UserError | MessageFault):
        return str(error)
    first = str(error).partition("\n")[0]
    return f"the policy failed: {type(error).__name__}: {first}"[:500]
