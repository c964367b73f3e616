"""Observations in shared memory, chunks through the socket.

The memory is nameless (``memfd_create``): it is gone with the last process that has it open, however that
process ends.
"""

from __future__ import annotations

import json
import mmap
import os
import socket
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vla_bench.bench.policy_server.decisions import Decision
from vla_bench.bench.wire import receive, receive_bytes, send
from vla_bench.envs.observation import Observation

_ALIGNMENT = 64
"""Bytes; a cache line, so that copies are fast."""


class Place(NamedTuple):
    """Where an array of the observation lies."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int


class Outbox:
    """A worker's end: writes observations for the server."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._layout: list[tuple[str, np.dtype, tuple[int, ...]]] = []
        self._views: list[np.ndarray] = []

    def put(self, observation: Mapping[str, np.ndarray]) -> None:
        """Copies the arrays to where the server reads them; tells it when they have other shapes."""
        layout = [(name, array.dtype, array.shape) for name, array in observation.items()]
        if layout != self._layout:
            self._arrange(layout)
        for view, array in zip(self._views, observation.values(), strict=True):
            view[...] = array

    def _arrange(self, layout: list[tuple[str, np.dtype, tuple[int, ...]]]) -> None:
        places, size = [], 0
        for name, dtype, shape in layout:
            places.append(Place(name, dtype.str, shape, size))
            count = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
            size += -(-count // _ALIGNMENT) * _ALIGNMENT
        descriptor = _nameless_file(max(size, 1))
        try:
            memory = mmap.mmap(descriptor, max(size, 1))
            send(self._connection, {"do": "memory", "places": [place._asdict() for place in places]})
            socket.send_fds(self._connection, [b"\0"], [descriptor])
        finally:
            os.close(descriptor)
        self._views = views(memory, places)
        self._layout = layout


class Inbox:
    """The server's end of one worker's memory."""

    def __init__(self) -> None:
        self._places: list[Place] = []
        self._views: list[np.ndarray] = []

    def arrange(self, connection: socket.socket, places: Sequence[Mapping[str, Any]]) -> None:
        """Takes the memory that follows a ``memory`` message. ValueError: it is not as announced."""
        _, descriptors, _, _ = socket.recv_fds(connection, 1, 1)
        if not descriptors:
            raise ValueError("the shared memory did not come with its message")
        try:
            memory = mmap.mmap(descriptors[0], 0)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self._places = [Place(p["name"], p["dtype"], tuple(p["shape"]), p["offset"]) for p in places]
        self._views = views(memory, self._places)

    def take(self) -> Observation:
        """A copy of what the worker has put there, since a policy may keep what it is shown."""
        pairs = zip(self._places, self._views, strict=True)
        return Observation({place.name: view.copy() for place, view in pairs})


def views(memory: mmap.mmap, places: Sequence[Place]) -> list[np.ndarray]:
    """Arrays over the memory, one for each place."""
    return [
        np.ndarray(place.shape, dtype=np.dtype(place.dtype), buffer=memory, offset=place.offset) for place in places
    ]


def send_decision(connection: socket.socket, chunk: np.ndarray, ended: bool) -> None:
    """Answers with a chunk (k, A), in its own dtype, and whether the subtask is to end with it."""
    head = json.dumps({"dtype": chunk.dtype.str, "shape": chunk.shape}).encode()
    body = np.ascontiguousarray(chunk).tobytes()
    send(connection, {"chunk": head.decode(), "bytes": len(body), "ended": ended})
    connection.sendall(body)


def receive_answer(connection: socket.socket) -> Decision | dict[str, Any] | None:
    """Waits for an answer: a decision, another message, or None when the server has gone."""
    message = receive(connection)
    if message is None or "chunk" not in message:
        return message
    body = receive_bytes(connection, message["bytes"])
    if body is None:
        return None
    head = json.loads(message["chunk"])
    chunk = np.frombuffer(bytearray(body), dtype=np.dtype(head["dtype"])).reshape(head["shape"])
    return Decision(chunk, message["ended"])


def _nameless_file(size: int) -> int:
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("vla-bench-observation")
    else:  # macOS
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor
