"""A websocket over a blocking socket, for either end, read by the thread that wants its messages.

The library does what it is good at: handshake, control frames, fragments, faults. Whole binary messages, which are all
that matters here, are taken from and put to the socket directly: in the library each of them passes four buffers and
two threads, which costs more than the model's side of a quick decision.
"""

from __future__ import annotations

import collections
import contextlib
import os
import socket
import ssl
import struct
import threading
import time
from typing import cast

from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, SEND_EOF, Protocol, State

try:
    from websockets.speedups import apply_mask
except ImportError:  # no wheel with compiled code for this machine
    from websockets.utils import apply_mask

FIRST_ROOM = 1 << 14
"""Bytes of the buffer before anything has come: most strangers never send more."""
ROOM = 1 << 18
"""Bytes of the buffer that is kept between messages: two camera images and a state have 0.14 MB."""
KEPT = 8 << 20
"""A larger one is given back when its message has gone."""
FIN_BINARY = 0x80 | Opcode.BINARY
MASKED = 0x80
MASKS = 4096
"""Random bytes asked of the system at once, for so many masks of four."""
_LENGTHS = {126: struct.Struct("!H"), 127: struct.Struct("!Q")}


class Silence(TimeoutError):
    """Nothing came while it was waited for."""


class Wire:
    """One end of a websocket. One thread at a time may read; any may send."""

    def __init__(self, sock: socket.socket, protocol: Protocol) -> None:
        self.socket = sock
        self.protocol = protocol
        self.messages: collections.deque[bytes | bytearray | str] = collections.deque()
        """Whole ones that have come and that nobody has taken yet."""
        self._masks = protocol.side is CLIENT
        self._gathers = not isinstance(sock, ssl.SSLSocket)
        self._largest = protocol.max_message_size
        self._buffer = bytearray(FIRST_ROOM)
        self._view = memoryview(self._buffer)
        self._from = self._to = 0
        """What the buffer holds."""
        self._tail = b""
        self._frame = 0
        """Bytes of the frame whose beginning it holds; 0: not known yet."""
        self._parts: list[bytes | bytearray | memoryview] = []
        self._text = False
        self._sending = threading.Lock()
        self._patience: float | None = -1.0
        self.send_seconds: float | None = None
        self._masks_to_come, self._unused = b"", 0

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        return self.protocol.state is State.OPEN

    def send_binary(self, data: bytes | memoryview) -> None:
        """Sends one message. ConnectionClosed, OSError: it is gone."""
        size = len(data)
        bit = MASKED if self._masks else 0
        if size < 126:
            head = bytes((FIN_BINARY, bit | size))
        elif size < 1 << 16:
            head = bytes((FIN_BINARY, bit | 126)) + _LENGTHS[126].pack(size)
        else:
            head = bytes((FIN_BINARY, bit | 127)) + _LENGTHS[127].pack(size)
        with self._sending:
            if self.protocol.state is not State.OPEN:
                raise self.gone()
            if self._masks:
                mask = self._mask()
                head, data = head + mask, apply_mask(data, mask)
            if size < 1 << 12 or not self._gathers:
                self._send_all(head + data)
                return
            try:
                sent = self.socket.sendmsg((head, data))
            except BlockingIOError:
                raise TimeoutError from None
            if sent < len(head) + size:
                self._send_all(memoryview(head + data)[sent:])

    def send_text(self, text: str) -> None:
        """Sends one text message. ConnectionClosed, OSError: it is gone."""
        with self._sending:
            if self.protocol.state is not State.OPEN:
                raise self.gone()
            self.protocol.send_text(text.encode())
            self.flush()

    def send_close(self, code: int, reason: str = "") -> None:
        """Begins the closing handshake, unless it has begun already. OSError: the connection is gone."""
        with self._sending:
            if self.protocol.state is State.OPEN:
                self.protocol.send_close(code, reason)
                self.flush()

    def read(self, flags: int = 0) -> None:
        """Waits until something comes, and puts whole messages to :attr:`messages`.

        Args:
            flags: Of ``recv``, e.g. not to wait.

        Raises:
            Silence: Nothing came.
            TimeoutError: The other side does not take the answer to what came, a pong for example.
        """
        room = len(self._buffer)
        if self._from == self._to:
            self._from = self._to = 0
        if self._to == room or room > KEPT or (self._from and self._from + self._frame > room):
            self._make_room()
        try:
            count = self.socket.recv_into(self._view[self._to :], 0, flags)
        except (TimeoutError, BlockingIOError):
            raise Silence from None
        except OSError:
            count = 0
        if not count:
            self._to_library(self._view[self._from : self._to], eof=True)
            self._from = self._to
            return
        self._to += count
        if self.protocol.state is State.CONNECTING:
            self._handshake()
        while self._next_frame():
            pass

    def let_go(self) -> None:
        """Closes the socket and gives its buffer back; whoever reads on finds the end. An ended connection may stay in
        memory for long: what answers it and it know each other."""
        self.socket.close()
        self._from = self._to = self._frame = 0
        self._buffer, self._parts = bytearray(), []
        self._view = memoryview(self._buffer)

    def gone(self) -> ConnectionClosed:
        """Why; a peer that goes on sending after a fault of its own is not listened to."""
        self.protocol.receive_eof()
        return self.protocol.close_exc

    def flush(self) -> None:
        """Sends what the library wants to be sent."""
        for data in self.protocol.data_to_send():
            if data is SEND_EOF:
                with contextlib.suppress(OSError):
                    self.socket.shutdown(socket.SHUT_WR)
            else:
                self._send_all(data)

    def wait_up_to(self, seconds: float | None) -> None:
        """How long a later call may wait for the other side; None: for ever, with :attr:`send_seconds` for sending.

        The system sees to it, except with TLS: Python would ask it before each call whether the socket is ready.
        """
        if seconds == self._patience:
            return
        self._patience = seconds
        if not self._gathers:
            self.socket.settimeout(seconds)
            return
        self.socket.settimeout(None)
        for option, limit in ((socket.SO_RCVTIMEO, seconds), (socket.SO_SNDTIMEO, seconds or self.send_seconds)):
            micro = max(1, int(limit * 1e6)) if limit else 0
            self.socket.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", *divmod(micro, 1_000_000)))

    def _send_all(self, data: bytes | memoryview) -> None:
        """TimeoutError: not all has gone in the time."""
        if not self._gathers:
            self.socket.sendall(data)
            return
        patience = self._patience or self.send_seconds
        until = None if patience is None else time.monotonic() + patience
        try:
            sent = self.socket.send(data)
            while sent < len(data):  # the time is up, or there was a signal
                if until is not None and time.monotonic() > until:
                    raise TimeoutError
                sent += self.socket.send(data[sent:])
        except BlockingIOError:
            raise TimeoutError from None

    def _mask(self) -> bytes:
        if self._unused >= len(self._masks_to_come):
            self._masks_to_come, self._unused = os.urandom(MASKS), 0
        self._unused += 4
        return self._masks_to_come[self._unused - 4 : self._unused]

    @property
    def reads(self) -> bool:
        """Whether a message may still come."""
        return self.protocol.state is not State.CLOSED and self.protocol.parser_exc is None

    def _handshake(self) -> None:
        """Hands the library the other side's HTTP message and nothing of the frames that may follow it."""
        data = bytes(self._view[self._from : self._to])
        end = (self._tail + data).find(b"\r\n\r\n")
        size = len(data) if end < 0 else end + 4 - len(self._tail)
        self._tail = (self._tail + data)[-3:]
        self._hand_over(size)
        if end >= 0 and self._masks and self.protocol.state is State.CONNECTING:  # no 101: a refusal's body follows
            self._hand_over(self._to - self._from)

    def _hand_over(self, size: int) -> None:
        start = self._from
        self._from += size
        self._to_library(self._view[start : start + size])

    def _next_frame(self) -> bool:
        """Takes one whole frame from the buffer, if there is one."""
        buffer, start = self._buffer, self._from
        have = self._to - start
        if have < 2 or self.protocol.state is State.CONNECTING:
            return False
        first, second = buffer[start], buffer[start + 1]
        at, size = start + 2, second & 0x7F
        if size >= 126:
            layout = _LENGTHS[size]
            if have < 2 + layout.size:
                return False
            (size,) = layout.unpack_from(buffer, at)
            at += layout.size
        masked = second & MASKED
        if masked:
            at += 4
        end = at + size
        large = self._largest is not None and size > self._largest
        if large:
            end = self._to  # the library refuses it for its length
        elif end > self._to:
            self._frame = end - start
            return False
        self._frame, self._from = 0, end
        whole = first == FIN_BINARY and bool(masked) is not self._masks and self.protocol.current_size is None
        if whole and not large and self.is_open:
            view = self._view[at:end]
            self.messages.append(apply_mask(view, buffer[at - 4 : at]) if masked else bytes(view))
        else:
            self._to_library(self._view[start:end])
        return True

    def _to_library(self, data: memoryview, *, eof: bool = False) -> None:
        with self._sending:
            if data:
                self.protocol.receive_data(bytes(data))
            if eof:
                self.protocol.receive_eof()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.flush()
        for event in self.protocol.events_received():
            if isinstance(event, Frame):
                self._take(event)
            else:
                self.shaken(event)

    def shaken(self, event: object) -> None:
        """The other side's part of the handshake has come."""

    def _take(self, frame: Frame) -> None:
        """Puts the parts of a message together; what is no part of one the library has dealt with."""
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._text = frame.opcode is Opcode.TEXT
            self._parts = []
        elif frame.opcode is not Opcode.CONT:
            return
        self._parts.append(frame.data)
        if frame.fin:
            whole = cast(bytes, self._parts[0]) if len(self._parts) == 1 else b"".join(self._parts)
            self.messages.append(bytes(whole).decode(errors="replace") if self._text else whole)
            self._parts = []

    def _make_room(self) -> None:
        """Moves what there is to the front; into a buffer twice as large when it is full, not at once into one as large
        as a stranger says that his message is; into a small one when a large message has gone."""
        held, size = self._to - self._from, len(self._buffer)
        if held == size:
            size = min(2 * size, max(self._frame, size + ROOM))
        elif size > KEPT and held < ROOM and self._frame <= ROOM:
            size = ROOM
        if size != len(self._buffer):
            other = bytearray(size)
            other[:held] = self._view[self._from : self._to]
            self._view.release()
            self._buffer, self._view = other, memoryview(other)
        elif self._from:
            self._buffer[:held] = bytes(self._view[self._from : self._to])
        self._from, self._to = 0, held
