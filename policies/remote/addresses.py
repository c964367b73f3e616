"""Addresses as the user types them, and which of several a process takes first."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import platform
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vla_bench.policies.errors import PolicyError

_ADDRESS = re.compile(r"(?:([a-z]+)://)?(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?(/[^\s]*)?")
SCHEMES: Mapping[str, tuple[str, ...]] = {
    "openpi": ("ws", "wss"),
    "vla_eval": ("ws", "wss"),
    "rest": ("http", "https"),
    "groot": ("tcp",),
}
"""What may stand before an address; the first is the default, the second is TLS."""
PORTS: Mapping[str, int] = {"openpi": 8000, "starvla": 10093, "vla_eval": 8000, "rest": 8000, "groot": 5555}
"""Ports that the original servers listen on."""
_MOST = 256


@dataclass(frozen=True, slots=True)
class Address:
    """One server."""

    scheme: str
    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}{self.path}"

    @property
    def local(self) -> bool:
        """Whether it is this machine's own; no proxy is asked for it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False


def parse_addresses(typed: str | Sequence[str], protocol: str, dialect: str) -> list[Address]:
    """``host:port``, with or without ``wss://`` before and a path behind it; several with commas between.

    PolicyError: says what cannot be read.
    """
    words = typed.split(",") if isinstance(typed, str) else [str(word) for word in typed]
    found = []
    for word in filter(None, (word.strip() for word in words)):
        match = _ADDRESS.fullmatch(word)
        schemes = SCHEMES[protocol]
        if match is None or (match[1] and match[1] not in schemes):
            raise PolicyError(
                f"policy.address={word!r}: type host:port, e.g. localhost:{PORTS[protocol]}, "
                f"or {schemes[-1]}://host:port for {protocol}"
            )
        port = int(match[3]) if match[3] else PORTS.get(dialect, PORTS[protocol])
        if not 0 < port < 65536:
            raise PolicyError(f"policy.address={word!r}: there is no port {port}")
        found.append(Address(match[1] or schemes[0], match[2], port, match[4] or ""))
    if not found:
        raise PolicyError("policy.address is empty; type policy.address=host:port of the server")
    return found


class Place:
    """A number from 0 that no other process of this machine has for these servers, while this object lives.

    So the first worker asks the first server first, the second the second. Held as a nameless socket where the
    system has such (Linux), so that nothing is left behind when the process is killed.
    """

    def __init__(self, addresses: Sequence[Address]) -> None:
        name = hashlib.sha256(" ".join(map(str, addresses)).encode()).hexdigest()[:16]
        self._held: socket.socket | None = None
        self.number = os.getpid() % _MOST
        if len(addresses) == 1 or platform.system() != "Linux":
            return
        for number in range(_MOST):
            held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                held.bind(f"\0vla-bench-{name}-{number}")
            except OSError:
                held.close()
                continue
            self._held, self.number = held, number
            return

    def close(self) -> None:
        """Gives the number back."""
        if self._held is not None:
            self._held.close()
            self._held = None
