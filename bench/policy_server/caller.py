"""The process that called ``evaluate``, as a worker finds it: it holds the policy itself."""

from __future__ import annotations

import platform
import socket

from vla_bench.policies.errors import PolicyError


class Caller:
    """A :class:`vla_bench.bench.policy_server.client.Home` with one server, which nobody starts or replaces."""

    def __init__(self, path: str) -> None:
        self._path = path

    def connect(self) -> tuple[socket.socket, int]:
        """A connection to it. PolicyError: it is not on this machine, or has ended."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(self._path)
        except OSError as error:
            connection.close()
            raise PolicyError(
                f"an instance is served by the process that called evaluate(), which {platform.node()} does not reach "
                f"({error.strerror or error}); run the workers on that machine, or give evaluate() the class"
            ) from None
        return connection, 0

    def leave(self, number: int) -> None:
        """It needs not know."""

    def log_tail(self, number: int) -> str:
        """It prints where it was started."""
        return ""

    def look_after(self, number: int) -> None:
        """Nobody can."""
