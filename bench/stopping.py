"""What asks a run to stop: Ctrl-C, and the signals of a batch system or of a terminal that is closed."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from vla_bench.interruption import Interruption

AT_ONCE = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that leave no time to finish what runs: as Ctrl-C pressed twice."""


INTERRUPTED = 130
INTERRUPTION = "interrupted; the same command finishes the rest"


class StopButton:
    """Counts what asks to stop instead of raising in the middle of whatever goes on.

    ``asked`` is 1 after Ctrl-C (no new episode), 2 or more after another one or a signal of :data:`AT_ONCE`
    (running episodes are dropped). A third Ctrl-C raises KeyboardInterrupt. In the main thread only: Python
    gives signals to no other. A signal that was ignored before (``nohup``) stays ignored. Of two, one in the other,
    both know what either was asked.
    """

    def __init__(self) -> None:
        self.asked = 0
        self._before: dict[int, Any] = {}
        self._last = signal.SIGINT

    def __enter__(self) -> StopButton:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, *AT_ONCE):
                if (before := signal.getsignal(number)) is not signal.SIG_IGN or number == signal.SIGINT:
                    self._before[number] = before
                    signal.signal(number, self._press)
            if (outer := self._outer()) is not None:
                self.asked = outer.asked
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before or signal.SIG_DFL)
        if (outer := self._outer()) is not None:
            outer.asked = max(outer.asked, self.asked)

    def pass_on(self) -> None:
        """After the end: gives a stop that came too late to change anything to whoever had the signals before."""
        if self.asked and self._before and self._outer() is None:
            signal.raise_signal(self._last)

    def _outer(self) -> StopButton | None:
        owner = getattr(self._before.get(signal.SIGINT), "__self__", None)
        return owner if isinstance(owner, StopButton) else None

    def _press(self, number: int, _frame: FrameType | None) -> None:
        self._last = signal.Signals(number)
        if number in AT_ONCE:
            self.asked = max(2, self.asked)
            return
        self.asked += 1
        if self.asked > 2:
            raise Interruption


def leave(_number: int, _frame: FrameType | None) -> None:
    """A handler for the time before a run: ends this process with a sentence, whatever it is in the middle of.

    An exception raised there would come up in any line of anybody's: libraries swallow it (the run then goes on), or
    end in an error of their own. Nothing needs to be put away yet; children die with us (:mod:`vla_bench.lifeline`).
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # it may be in the middle of writing
            stream.flush()
    with contextlib.suppress(OSError):
        os.write(2, f"{INTERRUPTION}\n".encode())
    os._exit(INTERRUPTED)


def answer_signals() -> None:
    """Lets Ctrl-C and :data:`AT_ONCE` end this program at once; main thread only, ignored signals stay ignored."""
    for number in (signal.SIGINT, *AT_ONCE):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, leave)
    atexit.register(ignore_signals)


def ignore_signals() -> None:
    """For the very end, when the exit code is known: Python takes its handlers down before the process is gone."""
    for number in (signal.SIGINT, *AT_ONCE):
        signal.signal(number, signal.SIG_IGN)


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """A handler that raises KeyboardInterrupt."""
    raise Interruption


@contextlib.contextmanager
def interrupting() -> Iterator[None]:
    """Meanwhile what is answered by :func:`leave` raises KeyboardInterrupt: there is something to be put away."""
    changed = [number for number in (signal.SIGINT, *AT_ONCE) if signal.getsignal(number) is leave]
    for number in changed:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, leave)


@contextlib.contextmanager
def handlers_kept() -> Iterator[None]:
    """Whatever is called meanwhile, the handlers of this process stay as they are.

    ``ray.init`` installs two for SIGTERM: one in Python which ends the process with its own exit code, no table
    and no word (``ray._private.utils.set_sigterm_handler``, 2.60), and one in native code which prints a stack.
    """
    try:
        import ray._private.utils as theirs
    except ImportError:
        theirs = None
    install: Callable[..., None] | None = getattr(theirs, "set_sigterm_handler", None)
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *AT_ONCE)} if main else {}
    if install is not None:
        theirs.set_sigterm_handler = lambda handler: None  # type: ignore[union-attr]
    try:
        yield
    finally:
        if install is not None:
            theirs.set_sigterm_handler = install  # type: ignore[union-attr]
        for number, handler in before.items():
            if handler is not None:  # also where Python sees no change: native code puts its own beneath Python's
                signal.signal(number, handler)
