"""The server's end of a websocket: one thread reads it, and whoever has decided answers."""

from __future__ import annotations

import contextlib
import http
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from vla_bench.policies.remote.connections.frames import Wire

SEND_SECONDS = 2
"""How long a client that reads nothing may keep the thread that answers it."""


class ServedConnection(Wire):
    """What ``websockets.sync.server.serve(create_connection=...)`` makes of an accepted socket."""

    protocol: ServerProtocol

    def __init__(
        self, sock: socket.socket, protocol: ServerProtocol, server: Any, *, close_timeout: float = 1.0, **_: Any
    ) -> None:
        super().__init__(sock, protocol)
        self.logger = protocol.logger
        self._server = server
        self._close_seconds = close_timeout
        self._reader = threading.current_thread()
        self._ended = threading.Event()
        self.says_goodbye = False
        """Whether this end wants no more, whatever may have come already."""
        self.read_to_end = threading.Event()
        """Set by whoever has read it for its own thread."""
        self.look: Callable[[], None] | None = None
        """Has it looked at by whoever reads it for its own thread."""
        self._request: Request | None = None
        # A client that vanishes without a word is noticed by the system, and its slot is free again.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.send_seconds = SEND_SECONDS

    @property
    def answered_by_any(self) -> bool:
        """Whether another thread may send while one reads, which TLS does not allow."""
        return self._gathers

    def __enter__(self) -> ServedConnection:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes it."""
        self.close()

    def start_keepalive(self) -> None:
        """The system looks after it."""

    def respond(self, status: http.HTTPStatus, text: str) -> Response:
        """An answer in plain text instead of a websocket."""
        return self.protocol.reject(status, text)

    def shaken(self, event: object) -> None:
        """The client's request."""
        if isinstance(event, Request):
            self._request = event

    def handshake(
        self,
        process_request: Callable[[ServedConnection, Request], Response | None] | None,
        process_response: object,
        server_header: str | None,
        timeout: float | None,
    ) -> None:
        """The opening handshake, within ``timeout`` seconds; afterwards reading waits for ever."""
        until = time.monotonic() + (timeout or 0.0)
        while self._request is None and self.protocol.handshake_exc is None and self.reads:
            self.wait_up_to(max(until - time.monotonic(), 1e-4))
            self.read()
        self.wait_up_to(None)
        if self._request is None:
            return
        response = process_request(self, self._request) if process_request is not None else None
        if response is None:
            response = self.protocol.accept(self._request)
        if response.status_code == http.HTTPStatus.SWITCHING_PROTOCOLS and self._server.socket_closed.is_set():
            response = self.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "the server is ending\n")
        if server_header is not None:
            response.headers["Server"] = server_header
        self.protocol.send_response(response)
        self.flush()

    def __iter__(self) -> Iterator[bytes | bytearray | str]:
        """The client's messages, until the connection ends."""
        while True:
            while self.messages:
                yield self.messages.popleft()
            if not self.reads:
                return
            self.read()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Says goodbye and closes; the answer to it is waited for a little. By any thread, more than once."""
        until = time.monotonic() + self._close_seconds
        self.says_goodbye = True
        with contextlib.suppress(OSError, ConnectionClosed):
            if self.answered_by_any or threading.current_thread() is self._reader:
                self.send_close(code, reason)
            if threading.current_thread() is not self._reader:
                self._ended.wait(self._close_seconds)
                self._cut()  # wakes the thread that reads
                return
            while self.protocol.state is not State.CLOSED and (left := until - time.monotonic()) > 0:
                self.wait_up_to(left)
                self.read()
        if threading.current_thread() is self._reader:
            self.close_socket()

    def close_soon(self, code: int, reason: str) -> None:
        """Says goodbye without waiting; a client that does not answer is left after a little while."""
        self.says_goodbye = True
        with contextlib.suppress(OSError):
            self.send_close(code, reason)
        timer = threading.Timer(self._close_seconds, self._cut)
        timer.daemon = True
        timer.start()

    def close_socket(self) -> None:
        """Closes without a word."""
        self._ended.set()
        self.protocol.receive_eof()
        self.let_go()

    def _cut(self) -> None:
        if not self._ended.is_set():
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self.socket, socket.SHUT_RDWR)  # of TLS, too, without its goodbye
            if self.look is not None:
                self.look()
