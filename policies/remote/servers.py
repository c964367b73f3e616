"""The servers of one process: which is asked, when another is, and for how long anyone is waited for."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextvars import ContextVar

from vla_bench.policies.errors import PolicyError
from vla_bench.policies.remote.addresses import Address, Place
from vla_bench.policies.remote.connections.base import Connection, Dial, dial
from vla_bench.policies.remote.errors import MessageFault, RemoteFault

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds between tries to connect: doubled each time, and spread by a random half so that many do not come at once."""
TRY_SECONDS = 20.0
"""For one try: a server whose model is busy may take seconds to say hello, one whose answer was lost never does."""
PATIENCE = 3.0
"""Seconds before it is told that somebody is waited for."""
ALIKE = 3
"""So often may a server begin with the same words that are none of the protocol's, before that is no chance."""
WAITS: ContextVar[Callable[[str], None] | None] = ContextVar("waits", default=None)
"""Whoever wants to be told, once, of a wait."""


class Servers:
    """Makes connections; a server that is lost is passed over while another is there."""

    def __init__(self, addresses: Sequence[Address], protocol: str, how: Callable[[Address, float], Dial]) -> None:
        self._addresses = list(addresses)
        self._protocol = protocol
        self._how = how
        self._place = Place(addresses)

    def connect(self, seconds: float, number: int = 0) -> Connection:
        """A connection, to the server whose turn it is or else to the next that answers.

        Args:
            seconds: how long to go on trying; a model may take minutes to load.
            number: of this process's connections, so that several are spread too.

        Raises:
            RemoteFault: nobody answered in that time; says what each of them did last.
            PolicyError: a server refuses for good, or speaks another protocol.
        """
        until, pause = time.monotonic() + seconds, FIRST_PAUSE
        count = len(self._addresses)
        first = (self._place.number + number) % count
        reasons: dict[str, str] = {}
        misspoken: Counter[str] = Counter()
        began, tell = time.monotonic(), WAITS.get()
        while True:
            for turn in range(count):
                address = self._addresses[(first + turn) % count]
                left = until - time.monotonic()
                try:
                    return dial(self._protocol, self._how(address, max(0.2, min(left, TRY_SECONDS))))
                except RemoteFault as fault:
                    reasons[str(address)] = str(fault)
                    misspoken[str(fault)] += isinstance(fault, MessageFault)
                    if count == 1 and misspoken[str(fault)] >= ALIKE:
                        raise PolicyError(f"{fault}; is policy.protocol={self._protocol} right?") from None
            if tell is not None and time.monotonic() - began > PATIENCE:
                tell(f"waiting up to {seconds:.3g} s for a server (policy.wait=): {'; '.join(reasons.values())}")
                tell = None
            left = until - time.monotonic()
            if left <= 0:
                raise RemoteFault(f"no server could be used within {seconds:.3g} s: {'; '.join(reasons.values())}")
            time.sleep(min(left, pause * random.uniform(0.5, 1.0)))
            pause = min(2 * pause, LONGEST_PAUSE)

    def close(self) -> None:
        """Gives back the process's place among those that share the servers."""
        self._place.close()
