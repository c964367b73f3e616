"""One thread that reads many connections."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable

from vla_bench.bench.serving.connection import ServedConnection
from vla_bench.policies.remote.connections.frames import Silence

Take = Callable[[], None]
"""Takes what has come from a connection's ``messages``, and leaves there what has to wait. Must not raise."""


class Reading:
    """Reads connections as bytes come, so that no thread has to be woken for each of them.

    One with a message that has to wait is not read: what else its client sends stays with the system, and then with
    the client.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wakened, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._selector.register(self._wakened, selectors.EVENT_READ)
        self._wanted: deque[tuple[ServedConnection, Take]] = deque()
        self._read: set[ServedConnection] = set()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="read", daemon=True)
        self._thread.start()

    def look(self, connection: ServedConnection, take: Take) -> None:
        """Begins to read it, or goes on where a message had to wait. By any thread."""
        self._wanted.append((connection, take))
        with contextlib.suppress(OSError):  # it has ended, or has been woken often enough
            self._waker.send(b"x")

    def stop(self) -> None:
        """Ends the thread."""
        self._stopped = True
        with contextlib.suppress(OSError):
            self._waker.send(b"x")
        self._thread.join(10.0)
        for each in (self._selector, self._wakened, self._waker):
            each.close()

    def _run(self) -> None:
        while not self._stopped:
            for key, _ in self._selector.select():
                if key.data is None:
                    self._wakened.recv(4096)
                else:
                    self._go_on(*key.data, more=True)
            while self._wanted:
                self._go_on(*self._wanted.popleft())

    def _go_on(self, connection: ServedConnection, take: Take, *, more: bool = False) -> None:
        """Takes what has come, after reading what there is ``more``. A client that takes no answer, or that costs more
        than this machine has, is left: the others need the thread."""
        if connection.read_to_end.is_set():
            return
        try:
            if more:
                with contextlib.suppress(Silence):  # the system was wrong: there is nothing
                    connection.read(socket.MSG_DONTWAIT)
            take()
        except Exception:
            connection.logger.debug("a client is left", exc_info=True)
            connection.protocol.receive_eof()
        ended = not connection.reads
        wanted = not ended and not connection.messages
        if wanted and connection not in self._read:
            self._read.add(connection)
            self._selector.register(connection.socket, selectors.EVENT_READ, (connection, take))
        elif not wanted and connection in self._read:
            self._read.discard(connection)
            self._selector.unregister(connection.socket)
        if ended:
            connection.read_to_end.set()
