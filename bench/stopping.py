"""What asks a run to stop: Ctrl-C, and the signals of a batch system or of a terminal that is closed."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

AT_ONCE = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that leave no time to finish what runs: as Ctrl-C pressed twice."""


class StopButton:
    """Counts what asks to stop instead of raising in the middle of whatever goes on.

    ``asked`` is 1 after Ctrl-C (no new episode), 2 or more after another one or a signal of :data:`AT_ONCE`
    (running episodes are dropped). A third Ctrl-C raises KeyboardInterrupt. In the main thread only: Python
    gives signals to no other. A signal that was ignored before (``nohup``) stays ignored.
    """

    def __init__(self) -> None:
        self.asked = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopButton:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, *AT_ONCE):
                if (before := signal.getsignal(number)) is not signal.SIG_IGN or number == signal.SIGINT:
                    self._before[number] = before
                    signal.signal(number, self._press)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before or signal.SIG_DFL)

    def _press(self, number: int, _frame: FrameType | None) -> None:
        if number in AT_ONCE:
            self.asked = max(2, self.asked)
            return
        self.asked += 1
        if self.asked > 2:
            raise KeyboardInterrupt


def stop_at_once(_number: int, _frame: FrameType | None) -> None:
    """A handler for :data:`AT_ONCE` while no run is on: raises KeyboardInterrupt as Ctrl-C does."""
    for _ in range(2):
        signal.raise_signal(signal.SIGINT)


def answer_signals() -> None:
    """Lets :data:`AT_ONCE` end this program as Ctrl-C does; main thread only, ignored signals stay ignored."""
    for number in AT_ONCE:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop_at_once)


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
