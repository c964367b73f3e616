"""A page of memory that a supervisor and its child share: where the child is, and how far.

The page has no name in any file system: it is inherited as an open file, so nothing is left behind
however its owners end. The child alone writes, the supervisor reads; a number is eight aligned bytes, which
are never seen half written.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import time
from typing import NamedTuple

from vla_bench.bench.episode.rollout import Phase

_PHASE, _TICKS, _STEPS, _POSITION, _SLOWEST = range(5)
_SIZE = (_SLOWEST + len(Phase)) * 8


class Reading(NamedTuple):
    """The child's numbers at one moment."""

    phase: Phase
    ticks: int
    """Grows at every change of hands; a number that stands still is a process that is stuck."""
    steps: int
    """Control steps executed since the process started."""
    position: int
    """The subtask's place in its episode, from 0."""


class Place(NamedTuple):
    """How far an episode is."""

    position: int
    """Of the subtask that is tried, from 0."""
    steps: int
    """Control steps of this attempt at the episode so far."""


class Page:
    """The shared page, and a :class:`vla_bench.bench.episode.rollout.Meter` on the child's side of it."""

    def __init__(self, file_descriptor: int) -> None:
        self._map = mmap.mmap(file_descriptor, _SIZE)
        self._numbers = memoryview(self._map).cast("Q")
        self._phase, self._since = Phase.START, time.monotonic_ns()

    def enter(self, phase: Phase) -> None:
        """Notes the phase, that time is passing, and how much of it the phase before took."""
        numbers, now = self._numbers, time.monotonic_ns()
        numbers[_PHASE] = phase
        numbers[_TICKS] += 1
        took, place = now - self._since, _SLOWEST + self._phase
        if took > numbers[place]:
            numbers[place] = took
        self._phase, self._since = phase, now

    def begin(self, position: int) -> None:
        """Notes which subtask is tried."""
        self._numbers[_POSITION] = position

    def stepped(self, steps: int) -> None:
        """Counts control steps."""
        self._numbers[_STEPS] += steps

    def read(self) -> Reading:
        """The numbers now."""
        numbers = self._numbers
        return Reading(Phase(numbers[_PHASE]), numbers[_TICKS], numbers[_STEPS], numbers[_POSITION])

    def slowest(self, phase: Phase) -> float:
        """Seconds that the longest stay in that phase has taken so far."""
        return self._numbers[_SLOWEST + phase] / 1e9

    def close(self) -> None:
        """Unmaps the page."""
        self._numbers.release()
        self._map.close()


def create_page_file() -> int:
    """Opens a nameless file of the page's size, filled with zeros, and returns its descriptor."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("vla-bench-page")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, _SIZE)
    return descriptor
