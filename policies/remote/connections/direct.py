"""The client's end of a websocket, which the asking thread reads itself.

The library's own client hands every message from a thread that reads to the thread that waits; that costs more than
the websocket does. Between two questions a slow thread answers pings, so that a server that looks after its clients
keeps this one.
"""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any

from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.protocol import State

from vla_bench.policies.remote.connections.frames import Wire

IDLE_SECONDS = 5.0
"""Between two looks at a connection that nobody asks; servers of the field drop a client after 20 to 40 s."""
PING_SECONDS = 20.0
"""Of silence before a ping, so that a proxy keeps the connection; they drop idle ones after 50 to 60 s. No answer is
waited for: a server that infers in its event loop gives none."""
WAITING_MESSAGES = 16
"""Unasked messages kept; behind these nothing more is read."""


class Redirected(Exception):
    """The server names another address."""


class DirectConnection(Wire):
    """What ``websockets.sync.client.connect(create_connection=...)`` makes of a connected socket.

    One thread may ask at a time. :meth:`send` and :meth:`recv` raise TimeoutError, ConnectionClosed or OSError;
    after any of them but a TimeoutError of :meth:`recv` the connection is of no use.
    """

    protocol: ClientProtocol

    def __init__(self, sock: socket.socket, protocol: ClientProtocol, *, close_timeout: float = 1.0, **_: Any) -> None:
        super().__init__(sock, protocol)
        self._close_seconds = close_timeout
        self._busy = threading.Lock()
        self._spoken = time.monotonic()
        """When something was sent last."""
        self._ended = threading.Event()
        self.recv_events_thread = threading.Thread(target=self._look_after, daemon=True, name="websocket pings")
        self.recv_events_thread.start()

    def __enter__(self) -> DirectConnection:
        """Itself, as older versions of the library want it."""
        return self

    def start_keepalive(self) -> None:
        """None of the library's, which wait for an answer."""

    def handshake(
        self, additional_headers: Mapping[str, str] | None, user_agent_header: str | None, timeout: float | None
    ) -> None:
        """The opening handshake, within ``timeout`` seconds."""
        request = self.protocol.connect()
        if additional_headers is not None:
            request.headers.update(additional_headers)
        if user_agent_header is not None:
            request.headers.setdefault("User-Agent", user_agent_header)
        until = None if timeout is None else time.monotonic() + timeout
        with self._busy:
            self.protocol.send_request(request)
            self._wait_until(until)
            self.flush()
            while self.protocol.state is State.CONNECTING and self.protocol.handshake_exc is None:
                self._wait_until(until)
                self.read()
        error = self.protocol.handshake_exc
        if isinstance(error, InvalidStatus) and "Location" in error.response.headers:
            raise Redirected(error.response.headers["Location"])  # the library would go there
        if error is not None:
            raise error

    def send(self, data: bytes | memoryview, timeout: float) -> None:
        """Sends one binary message."""
        with self._busy:
            self._spoken = time.monotonic()
            self._wait_until(self._spoken + timeout)
            self.send_binary(data)

    def recv(self, timeout: float) -> bytes | bytearray | str:
        """The next message; a TimeoutError leaves the connection as it is."""
        until = time.monotonic() + timeout
        with self._busy:
            while not self.messages:
                if not self.reads:
                    raise self.gone()
                self._wait_until(until)
                self.read()
            return self.messages.popleft()

    def close(self) -> None:
        """Says goodbye, waits a little for the answer, and closes. May be called twice."""
        until = time.monotonic() + self._close_seconds
        with contextlib.suppress(Exception), self._busy:
            self._wait_until(until)
            self.send_close(1000)
            while self.protocol.state is State.CLOSING:
                self._wait_until(until)
                self.read()
        self.close_socket()

    def close_socket(self) -> None:
        """Closes without a word."""
        self._ended.set()
        self.protocol.receive_eof()  # marks it as closed
        self.let_go()

    def _wait_until(self, until: float | None) -> None:
        """Sets how long the next call may wait: whole seconds, rounded up, since to set it costs a system call.

        TimeoutError: no time is left.
        """
        if until is None:
            return
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.wait_up_to(float(math.ceil(left)) if left > 10 else left)

    def _look_after(self) -> None:
        """Answers pings while nobody asks, and sends one now and then."""
        while not self._ended.wait(IDLE_SECONDS):
            if not self._busy.acquire(blocking=False):
                continue
            try:
                if time.monotonic() - self._spoken >= PING_SECONDS and self.protocol.state is State.OPEN:
                    self._spoken = time.monotonic()
                    self._wait_until(self._spoken + 1.0)
                    with self._sending:
                        self.protocol.send_ping(b"")
                        self.flush()
                while self.protocol.state is State.OPEN and len(self.messages) < WAITING_MESSAGES:
                    self.wait_up_to(1e-4)
                    self.read()
            except (OSError, ConnectionClosed):  # nothing there; or gone, as the next question finds out
                pass
            finally:
                self._busy.release()
