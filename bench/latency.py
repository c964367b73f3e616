"""How long decisions take, kept as counts in classes of 2 %: as exact as anybody asks, and small in the journal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

RATIO = 1.02
"""Upper end of a class over its lower end."""
_LOG = math.log(RATIO)
_UNIT = 1e-6
"""Seconds at class 0."""


def class_of(seconds: float) -> int:
    """The class of a duration; all below a microsecond share class 0."""
    return max(0, round(math.log(max(seconds, _UNIT) / _UNIT) / _LOG))


class Latency:
    """Counts the decisions of one episode."""

    def __init__(self, clock: Callable[[], float], model_seconds: Callable[[int], float | None] | None = None) -> None:
        self._clock = clock
        self._model_seconds = model_seconds
        self._counts: dict[str, Counter[int]] = {"decision": Counter(), "model": Counter()}
        self._began = 0.0
        self.seconds = 0.0
        """What the last decision took."""

    def begin(self) -> None:
        """A decision is asked for."""
        self._began = self._clock()

    def end(self, slot: int) -> None:
        """It is there."""
        self.seconds = self._clock() - self._began
        self._counts["decision"][class_of(self.seconds)] += 1
        if self._model_seconds is not None and (seconds := self._model_seconds(slot)) is not None:
            self._counts["model"][class_of(seconds)] += 1

    def counts(self) -> dict[str, dict[str, int]]:
        """By name and class, as JSON has it."""
        return {
            name: {str(number): count for number, count in sorted(counted.items())}
            for name, counted in self._counts.items()
            if counted
        }


def added(several: Iterable[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    """The counts of several episodes together; what is no count is left out."""
    total: dict[str, Counter[str]] = {}
    for each in several:
        for name, counts in each.items() if isinstance(each, Mapping) else ():
            known = total.setdefault(name, Counter())
            for number, count in counts.items() if isinstance(counts, Mapping) else ():
                if str(number).isdigit() and type(count) is int:
                    known[str(number)] += count
    return {name: dict(counts) for name, counts in total.items() if counts}


def quantiles(counts: Mapping[str, int]) -> dict[str, float]:
    """``median``, ``p95`` and ``p99`` in milliseconds, and their ``n``."""
    ordered = sorted((int(number), count) for number, count in counts.items())
    n = sum(count for _, count in ordered)
    found: dict[str, float] = {}
    for name, share in (("median", 0.5), ("p95", 0.95), ("p99", 0.99)):
        passed = 0
        for number, count in ordered:
            passed += count
            if passed >= share * n:
                found[name] = 1e3 * _UNIT * RATIO**number
                break
    return {**found, "n": n}
