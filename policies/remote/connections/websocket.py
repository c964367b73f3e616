"""openpi's websocket server, and starVLA's, which has the same framing and another content."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, cast

from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidProxyStatus,
    InvalidStatus,
    WebSocketException,
)
from websockets.sync.client import connect

from vla_bench.policies.base import EpisodeOutcome, SubtaskContext
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.remote.codecs import openpi
from vla_bench.policies.remote.connections import tls
from vla_bench.policies.remote.connections.base import Dial, failed
from vla_bench.policies.remote.connections.direct import DirectConnection, Redirected
from vla_bench.policies.remote.errors import MessageFault, RemoteFault, ServerFault

STARVLA = "starvla_policy_server"
CLOSE_SECONDS = 1.0
TOO_BIG = 1009
"""Close code (RFC 6455) of whoever has met a message beyond its limit."""


class WebSocket:
    """A websocket whose every wait has an end."""

    def __init__(self, how: Dial, headers: Mapping[str, str] | None = None) -> None:
        """Connects. RemoteFault: nobody answers. PolicyError: the server wants another token."""
        self.where = str(how.address)
        try:
            # No pings: a server that infers in its event loop answers none for as long as its model takes.
            # The libraries' default of a megabyte is less than two camera images.
            connecting = connect(
                self.where,
                open_timeout=how.seconds,
                close_timeout=CLOSE_SECONDS,
                ping_interval=None,
                compression=None,
                max_size=how.largest,
                additional_headers=headers,
                ssl=tls.context(how.ca_file) if how.address.scheme == "wss" else None,
                proxy={"": None, tls.ENVIRONMENT: True}.get(how.proxy, how.proxy),
                create_connection=cast(Any, DirectConnection),
            )
            self._socket = cast(DirectConnection, connecting.__enter__())
        except InvalidStatus as error:
            status = error.response.status_code
            if status in (401, 403):
                raise PolicyError(
                    f"{self.where} refuses us (HTTP {status}); it wants a token: policy.token_env"
                ) from None
            raise RemoteFault(f"{self.where} answers HTTP {status} instead of a websocket") from None
        except InvalidMessage:
            hint = "" if how.address.scheme == "wss" else f"; with TLS it would be wss://{self.where[5:]}"
            raise RemoteFault(f"{self.where} speaks no websocket{hint}") from None
        except Redirected as error:
            raise PolicyError(
                f"{self.where} sends us on to {error}, and only addresses of yours are asked: type it as policy.address"
            ) from None
        except InvalidProxyStatus as error:
            status = error.response.status_code
            words = f"the proxy {how.proxy} answers HTTP {status} for {self.where}"
            raise (PolicyError if status in (401, 403, 407) else RemoteFault)(words) from None
        except (OSError, TimeoutError, InvalidHandshake, WebSocketException, ValueError) as error:
            if lasting := tls.distrust(self.where, error):
                raise lasting from None
            words = f"{error or type(error).__name__}{tls.hint(how, error)}"
            raise RemoteFault(f"{self.where} cannot be reached: {words}") from None
        self.open = True
        self._sent = 0
        """Bytes of the last message."""

    def send(self, data: bytes | memoryview, seconds: float) -> None:
        """Sends one binary message, or gives up after ``seconds``."""
        self._sent = len(data)
        try:
            self._socket.send(data, seconds)
        except (OSError, WebSocketException) as error:
            raise self.lost(error) from None

    def receive(self, seconds: float) -> bytes | bytearray | str:
        """The next message. RemoteFault: none came in time, or the connection is gone."""
        try:
            return self._socket.recv(seconds)
        except TimeoutError:
            self.close()
            raise RemoteFault(f"{self.where} has not answered for {seconds:.3g} s") from None
        except (OSError, WebSocketException) as error:
            raise self.lost(error) from None

    def lost(self, error: Exception) -> RemoteFault | PolicyError:
        """Closes, and says why the connection is gone. A PolicyError: another try would end as this one."""
        self.close()
        if isinstance(error, ConnectionClosed):
            frame = error.rcvd or error.sent
            if error.rcvd is not None and error.rcvd.code == TOO_BIG:
                return PolicyError(
                    f"{self.where}, or a proxy before it, does not take a message of {self._sent:,} bytes ({TOO_BIG}"
                    f"{f', {error.rcvd.reason}' if error.rcvd.reason else ''}): raise its limit, or send smaller images"
                )
            if error.sent is not None and error.sent.code == TOO_BIG:
                return MessageFault(f"{self.where} sent a message larger than is taken ({error.sent.reason})")
            said = f" ({frame.code}{f', {frame.reason}' if frame.reason else ''})" if frame else ""
            return RemoteFault(f"{self.where} has closed the connection{said}")
        return RemoteFault(f"the connection to {self.where} is lost: {error or type(error).__name__}")

    def close(self) -> None:
        """Closes the connection. May be called twice."""
        if self.open:
            self.open = False
            with contextlib.suppress(Exception):
                self._socket.close()


class OpenpiConnection:
    """openpi: the server speaks first, then one reply to one request."""

    stateless = True

    def __init__(self, how: Dial) -> None:
        self._socket = WebSocket(how, {"Authorization": f"Api-Key {how.token}"} if how.token else None)
        self._starvla = how.dialect == "starvla"
        self._encoder, self._decoder = openpi.Encoder(), openpi.Decoder(how.largest)
        try:
            metadata = self._metadata(how.seconds)
            if not isinstance(metadata, dict):
                raise MessageFault(
                    f"{self._socket.where} begins with a {type(metadata).__name__}, not with its metadata"
                )
        except RemoteFault:
            self.close()
            raise
        self.statement: Mapping[str, Any] = metadata

    @property
    def open(self) -> bool:
        """Whether it can be asked."""
        return self._socket.open

    def start_episode(self, context: SubtaskContext) -> None:
        """The protocol has no word for it."""

    def end_episode(self, outcome: EpisodeOutcome) -> None:
        """Nor for this."""

    def ask(self, request: Mapping[str, Any], seconds: float) -> Any:
        """The reply; of starVLA its ``data``."""
        self._socket.send(self._encoder(request), seconds)
        reply = self._decoded(self._socket.receive(seconds))
        if not isinstance(reply, dict):
            self.close()
            raise MessageFault(f"{self._socket.where} answered with a {type(reply).__name__}, not with a map")
        if not self._starvla:
            return reply
        if reply.get("ok") is False or "data" not in reply:
            error = reply.get("error")
            said = error.get("message") if isinstance(error, dict) else error or reply.get("message")
            raise failed(self._socket.where, str(said or "no data in its answer"))
        return reply["data"]

    def model_seconds(self, reply: Any) -> float | None:
        """``server_timing.infer_ms``."""
        timing = reply.get("server_timing") if isinstance(reply, dict) else None
        spent = timing.get("infer_ms") if isinstance(timing, dict) else None
        return float(spent) / 1e3 if isinstance(spent, int | float) else None

    def close(self) -> None:
        """Closes the connection."""
        self._socket.close()

    def _metadata(self, seconds: float) -> Any:
        try:
            return self._decoded(self._socket.receive(seconds))
        except (ServerFault, MessageFault):
            raise
        except RemoteFault as fault:
            silent = "has not answered" in str(fault)
            hint = "; openpi's servers speak first: is it one of vla-eval's (policy.protocol=vla_eval)?"
            raise RemoteFault(f"{fault}{hint if silent else ''}") from None

    def _decoded(self, message: bytes | bytearray | str) -> Any:
        if isinstance(message, str):  # the server's traceback; it closes the connection behind it
            self.close()
            raise failed(self._socket.where, message)
        try:
            return self._decoder(message)
        except MessageFault as fault:
            self.close()
            raise MessageFault(f"{self._socket.where} sent {fault}") from None
