"""A websocket that the asking thread reads itself.

The library's own client hands every message from a thread that reads to the thread that waits; that costs more than
the websocket does. Here the library does what it is good at (address, TLS, proxies, handshake, frames), and whoever
asks also reads. Between two questions a slow thread answers pings, so that a server that looks after its clients
keeps this one.
"""

from __future__ import annotations

import collections
import contextlib
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any, cast

from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.protocol import SEND_EOF, State

READ_BYTES = 1 << 18
"""Taken from the system at once; an answer is smaller."""
IDLE_SECONDS = 5.0
"""Between two looks at a connection that nobody asks; servers of the field drop a client after 20 to 40 s."""
WAITING_MESSAGES = 16
"""Unasked messages kept; behind these nothing more is read."""


class DirectConnection:
    """What ``websockets.sync.client.connect(create_connection=...)`` makes of a connected socket.

    One thread may ask at a time. :meth:`send` and :meth:`recv` raise TimeoutError, ConnectionClosed or OSError;
    after any of them but a TimeoutError of :meth:`recv` the connection is of no use.
    """

    def __init__(self, sock: socket.socket, protocol: ClientProtocol, *, close_timeout: float = 1.0, **_: Any) -> None:
        self.socket = sock
        self.protocol = protocol
        self._close_seconds = close_timeout
        self._messages: collections.deque[bytes | bytearray | str] = collections.deque()
        self._parts: list[bytes | bytearray] = []
        self._text = False
        self._busy = threading.Lock()
        self._ended = threading.Event()
        self.recv_events_thread = threading.Thread(target=self._look_after, daemon=True, name="websocket pings")
        self.recv_events_thread.start()

    def __enter__(self) -> DirectConnection:
        """Itself, as older versions of the library want it."""
        return self

    def start_keepalive(self) -> None:
        """No pings of our own: a server that infers in its event loop answers none."""

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
            self._flush(until)
            while self.protocol.state is State.CONNECTING and self.protocol.handshake_exc is None:
                self._read(until)
        if self.protocol.handshake_exc is not None:
            raise self.protocol.handshake_exc

    def send(self, data: bytes | memoryview, timeout: float) -> None:
        """Sends one binary message."""
        with self._busy:
            if self.protocol.state is not State.OPEN:
                raise self._gone()
            self.protocol.send_binary(data)
            self._flush(time.monotonic() + timeout)

    def recv(self, timeout: float) -> bytes | bytearray | str:
        """The next message; a TimeoutError leaves the connection as it is."""
        until = time.monotonic() + timeout
        with self._busy:
            while not self._messages:
                if self.protocol.state is State.CLOSED or self.protocol.parser_exc is not None:
                    raise self._gone()
                self._read(until)
            return self._messages.popleft()

    def close(self) -> None:
        """Says goodbye, waits a little for the answer, and closes. May be called twice."""
        until = time.monotonic() + self._close_seconds
        with contextlib.suppress(Exception), self._busy:
            if self.protocol.state is State.OPEN:
                self.protocol.send_close(1000)
                self._flush(until)
            while self.protocol.state is State.CLOSING:
                self._read(until)
        self.close_socket()

    def close_socket(self) -> None:
        """Closes without a word."""
        self._ended.set()
        self.protocol.receive_eof()  # marks it as closed
        self.socket.close()

    def _gone(self) -> ConnectionClosed:
        """Why; a peer that goes on sending after a fault of its own is not listened to."""
        self.protocol.receive_eof()
        return self.protocol.close_exc

    def _read(self, until: float | None) -> None:
        """Takes what has come, waiting for it until ``until``."""
        self.socket.settimeout(_left(until))
        try:
            data = self.socket.recv(READ_BYTES)
        except TimeoutError:
            raise
        except OSError:
            data = b""
        if data:
            self.protocol.receive_data(data)
        else:
            self.protocol.receive_eof()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._flush(until)
        for event in self.protocol.events_received():
            if isinstance(event, Frame):
                self._take(event)

    def _take(self, frame: Frame) -> None:
        """Puts the parts of a message together; what is no part of one the library has dealt with."""
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._text = frame.opcode is Opcode.TEXT
            self._parts = []
        elif frame.opcode is not Opcode.CONT:
            return
        self._parts.append(cast(bytes, frame.data))
        if frame.fin:
            whole = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            self._messages.append(bytes(whole).decode(errors="replace") if self._text else whole)
            self._parts = []

    def _flush(self, until: float | None) -> None:
        for data in self.protocol.data_to_send():
            if data is SEND_EOF:
                with contextlib.suppress(OSError):
                    self.socket.shutdown(socket.SHUT_WR)
            else:
                self.socket.settimeout(_left(until))
                self.socket.sendall(data)

    def _look_after(self) -> None:
        """Answers pings while nobody asks."""
        while not self._ended.wait(IDLE_SECONDS):
            if not self._busy.acquire(blocking=False):
                continue
            try:
                while self.protocol.state is State.OPEN and len(self._messages) < WAITING_MESSAGES:
                    self._read(0.0)
            except (OSError, ConnectionClosed):  # nothing there; or gone, as the next question finds out
                pass
            finally:
                self._busy.release()


def _left(until: float | None) -> float | None:
    """Seconds to ``until``; never zero, which would mean "do not wait, and fail otherwise"."""
    return None if until is None else max(until - time.monotonic(), 1e-4)
