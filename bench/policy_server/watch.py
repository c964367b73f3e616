"""Ends a policy server that is stuck when nobody is left who could ask it: ``python watch.py SECONDS``.

A process of its own, since one that is stuck in native code can do nothing for itself. The server starts
it, and tells it of its workers, a process number per line, through a pipe that closes with the server. It is
run as a file and imports the standard library alone, so that it costs milliseconds.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

STDIN = 0


def watch(server: int, seconds: float) -> None:
    """Returns when the server has ended; kills it when none of its workers has been left for ``seconds``."""
    poll = select.poll()
    poll.register(STDIN, select.POLLIN)
    workers: set[int] = set()
    heard, alone_since = b"", 0.0
    while True:
        patience = 1000 * (alone_since + seconds - time.monotonic()) if alone_since else None
        for descriptor, _ in poll.poll(patience):
            if descriptor == STDIN:
                piece = os.read(STDIN, 4096)
                if not piece:
                    return
                *numbers, heard = (heard + piece).split(b"\n")
                for worker in map(_open, numbers):
                    alone_since = alone_since or time.monotonic()
                    if worker >= 0:
                        workers.add(worker)
                        poll.register(worker, select.POLLIN)
            else:
                poll.unregister(descriptor)
                os.close(descriptor)
                workers.remove(descriptor)
                alone_since = time.monotonic()
        if workers:
            alone_since = 0.0
        elif alone_since and time.monotonic() > alone_since + seconds:
            if os.getppid() == server:
                os.kill(server, signal.SIGKILL)
            return


def _open(number: bytes) -> int:
    """A descriptor that can be read from once the process of that number has ended; -1: it has."""
    try:
        return os.pidfd_open(int(number))
    except ProcessLookupError:
        return -1


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    watch(os.getppid(), float(sys.argv[1]))
