"""Messages between a process and one that it started: JSON objects, each after its length, on a Unix socket."""

from __future__ import annotations

import json
import signal
import socket
import struct
from collections.abc import Mapping
from typing import Any

STACK_SIGNAL = signal.SIGUSR1
"""Makes a child write its Python stack to its log, even from within native code."""

_LENGTH = struct.Struct("!I")


def send(connection: socket.socket, message: Mapping[str, Any]) -> None:
    """Sends one message. OSError when the other side is gone; TypeError when it is not plain data."""
    body = json.dumps(message).encode()
    connection.sendall(_LENGTH.pack(len(body)) + body)


def receive(connection: socket.socket) -> dict[str, Any] | None:
    """Waits for one message; None when the other side has closed or died, also within a message."""
    header = receive_bytes(connection, _LENGTH.size)
    if header is None:
        return None
    body = receive_bytes(connection, _LENGTH.unpack(header)[0])
    return None if body is None else json.loads(body)


def receive_bytes(connection: socket.socket, size: int) -> bytes | None:
    """Waits for that many bytes; None when the other side has closed or died before."""
    pieces = bytearray()
    while len(pieces) < size:
        try:
            piece = connection.recv(size - len(pieces))
        except ConnectionResetError:
            return None
        if not piece:
            return None
        pieces += piece
    return bytes(pieces)
