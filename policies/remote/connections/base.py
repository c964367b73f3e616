"""What a connection can do, and how one is made."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from vla_bench.policies.base import EpisodeOutcome, SubtaskContext
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.remote.addresses import Address
from vla_bench.policies.remote.codecs.bounds import LARGEST_MESSAGE
from vla_bench.policies.remote.errors import ServerFault
from vla_bench.program import installing

LIBRARIES = {"openpi": "websockets", "vla_eval": "websockets", "groot": "zmq", "rest": "httpx"}
_MODULES = {
    "openpi": "websocket:OpenpiConnection",
    "vla_eval": "vla_eval:VlaEvalConnection",
    "groot": "zmq:GrootConnection",
    "rest": "http:RestConnection",
}


@dataclass(frozen=True, slots=True)
class Dial:
    """How to reach a server."""

    address: Address
    dialect: str
    seconds: float
    """For the connection and the handshake."""
    token: str = ""
    """Sent where the protocol has a place for it."""
    ca_file: str = ""
    """PEM certificates that are trusted instead of the system's."""
    proxy: str = ""
    """``http://host:port`` between here and there; ``environment``: what the environment's variables say."""
    benchmark: str = ""
    """What vla-eval's hello says of the benchmark."""
    largest: int = LARGEST_MESSAGE


class Connection(Protocol):
    """One server that has introduced itself.

    Every method raises RemoteFault when the server does not do its part; the connection is of no use afterwards,
    unless it was a ServerFault and :attr:`open` is still true.
    """

    statement: Mapping[str, Any]
    """What the server says of itself; empty when the protocol has no such thing, or it says nothing."""
    stateless: bool
    """Whether a request may be sent again to a server that has started anew."""

    @property
    def open(self) -> bool: ...

    def start_episode(self, context: SubtaskContext) -> None:
        """Tells the server where the protocol has a word for it."""
        ...

    def end_episode(self, outcome: EpisodeOutcome) -> None: ...

    def ask(self, request: Mapping[str, Any], seconds: float) -> Any:
        """The decoded reply."""
        ...

    def model_seconds(self, reply: Any) -> float | None:
        """How long the model took for it by the server's own clock, where it says."""
        ...

    def close(self) -> None: ...


def dial(protocol: str, how: Dial) -> Connection:
    """Connects and shakes hands. RemoteFault: not now. PolicyError: never (unauthorised, a library missing)."""
    module, _, name = _MODULES[protocol].partition(":")
    try:
        found = importlib.import_module(f"vla_bench.policies.remote.connections.{module}")
    except ImportError as error:
        raise PolicyError(
            f"policy.protocol={protocol} needs the package {error.name or LIBRARIES[protocol]!r}, which is not "
            f"installed: {installing('remote')}"
        ) from error
    return getattr(found, name)(how)


LONGEST_WORDS = 8000
"""Characters of a server's own words that are kept."""


def failed(where: str, text: str, how: str = "") -> ServerFault:
    """What a server says of its failure: the last line as the message, and all of it where there is more."""
    text = text.strip()
    line = last_line(text)
    return ServerFault(f"{where} failed{how}: {line}", "" if text == line else text[-LONGEST_WORDS:])


def last_line(text: str, most: int = 500) -> str:
    """What a traceback ends with; the server's own words."""
    lines = [line.strip() for line in str(text).strip().splitlines() if line.strip()]
    line = lines[-1] if lines else "no reason given"
    return line if len(line) <= most else line[: most - 1] + "…"
