"""A pipe that ends a child with its parent, whatever either is doing.

PyBullet keeps the interpreter lock inside a physics step, so no thread of a child could notice that its
supervisor has died during a stuck one. The kernel does: nobody writes to the pipe, the supervisor alone holds
its other end, and when that closes, the kernel kills the child by signal.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys

_F_SETSIG = 10  # fcntl.h on Linux; Python does not name it


def tie(lifeline: int, pid: int) -> None:
    """Has the kernel kill the process ``pid``, or the group ``-pid``, when the other end of the pipe ``lifeline``
    closes.

    SIGKILL on Linux; elsewhere SIGIO, which ends a process as well unless it is handled. It belongs to the
    open file, so a supervisor can say it for its child, before that has come to run a line of its own.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, pid)
    if sys.platform == "linux":
        fcntl.fcntl(lifeline, _F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def is_cut(lifeline: int) -> bool:
    """Whether the other end has closed already."""
    os.set_blocking(lifeline, False)
    try:
        return os.read(lifeline, 1) == b""
    except BlockingIOError:
        return False
