"""Ctrl-C of the user's, told apart from a KeyboardInterrupt that somebody's code raises by itself."""

from __future__ import annotations

import signal


class Interruption(KeyboardInterrupt):
    """Raised by our own handlers of signals."""


def is_interruption(error: BaseException) -> bool:
    """Whether the user has asked to stop: by one of our handlers, or by Python's own where that answers Ctrl-C."""
    if isinstance(error, Interruption):
        return True
    return isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is signal.default_int_handler
