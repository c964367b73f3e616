"""How far something slow has come: one live line on a terminal, else a line now and then."""

from __future__ import annotations

import os
import sys
import time


class ProgressLine:
    """Call it with what is done and what there is; prints to stderr, with the time left.

    Args:
        what: What is counted, e.g. ``frames read``.
    """

    INTERVAL = 10.0
    """Seconds between two plain lines."""
    LIVE_INTERVAL = 0.1

    def __init__(self, what: str) -> None:
        self._what = what
        self._started = self._shown = time.monotonic()
        self._first = -1
        self._live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._written = False

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._written and self._live:
            print(file=sys.stderr)

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self._first < 0:
            self._first = done
        if now - self._shown < (self.LIVE_INTERVAL if self._live else self.INTERVAL):
            return
        self._shown, self._written = now, True
        speed = (done - self._first) / max(now - self._started, 1e-9)
        left = f", {_duration((total - done) / speed)} left" if speed and done < total else ""
        line = f"{done / max(total, 1):4.0%}  {done} of {total} {self._what}{left}"
        print(f"\r\033[K{line}" if self._live else line, end="" if self._live else "\n", file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def threads_given(given: int | None) -> int:
    """Threads to use: as many as given, else as many cores as the process may use."""
    if given is not None:
        return max(1, given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
