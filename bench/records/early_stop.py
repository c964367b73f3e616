"""Ending a run when its average is known closely enough, by an interval that may be looked at all the time.

An ordinary interval holds for a number of episodes fixed beforehand; who looks after each episode and stops
when it is narrow, stops too often when it happens to be wrong. A confidence sequence holds at all times at
once: the empirical-Bernstein one of Waudby-Smith and Ramdas (2020, "Estimating means of bounded random
variables by betting", theorem 2), for any distribution on a bounded range.

Episodes count in the order of the protocol, up to the first that is still to be judged, so that those that
end early do not count first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from vla_bench.bench.protocol import EpisodeRecord
from vla_bench.bench.records.statistics import CONFIDENCE

_LARGEST_BET = 0.5
"""Keeps the bound defined; the paper's choice of c."""


@dataclass(frozen=True, slots=True)
class EarlyStop:
    """Where a run may end."""

    n: int
    """Episodes from the first of the protocol; the others do not count."""
    judged: int
    """Of those, the ones without an error."""
    mean: float
    """Average chain length of the judged ones."""
    low: float
    """Of the confidence sequence there, 95 %."""
    high: float
    width: float
    """What was asked for."""

    def __str__(self) -> str:
        return (
            f"stopped early after {self.n} episodes, as asked, when the average chain length was known to "
            f"within {self.width:g}: {self.mean:.2f} [{self.low:.2f}, {self.high:.2f}] by a confidence "
            "sequence, which allows for looking after every episode (empirical Bernstein, 95 %); the other "
            "intervals are those of a fixed n"
        )


class ConfidenceSequence:
    """An interval for the mean of numbers in [0, 1] that come one by one, valid at all times at once."""

    def __init__(self, alpha: float = 1 - CONFIDENCE) -> None:
        self._log = math.log(2 / alpha)
        self.n = 0
        self._sum = self._squares = 0.0
        self._weights = self._weighted = self._spread = 0.0
        self.low, self.high = 0.0, 1.0

    def add(self, x: float) -> None:
        """Takes the next number; the interval never gets wider."""
        guess = (0.5 + self._sum) / (self.n + 1)
        variance = (0.25 + self._squares) / (self.n + 1)
        self.n += 1
        bet = min(math.sqrt(2 * self._log / (variance * self.n * math.log(1 + self.n))), _LARGEST_BET)
        self._weights += bet
        self._weighted += bet * x
        self._spread += (x - guess) ** 2 * (-math.log1p(-bet) - bet)  # 4 (x - guess)^2 times psi_E(bet)
        self._sum += x
        self._squares += (x - (0.5 + self._sum) / (self.n + 1)) ** 2
        centre = self._weighted / self._weights
        margin = (self._log + self._spread) / self._weights
        self.low, self.high = max(self.low, centre - margin), min(self.high, centre + margin)


class Looker:
    """Looks after every episode whether the average is known closely enough."""

    def __init__(self, width: float, longest: int) -> None:
        self._width, self._longest = width, longest
        self._waiting: dict[int, EpisodeRecord] = {}
        self._next = self._solved = 0
        self._sequence = ConfidenceSequence()
        self.reached: EarlyStop | None = None
        """Set once and for all."""

    def take(self, record: EpisodeRecord) -> None:
        """Takes a record, in whatever order they come; errors are passed over."""
        self._waiting[record.index] = record
        while self.reached is None and self._next in self._waiting:
            record = self._waiting.pop(self._next)
            self._next += 1
            if record.status == "done":
                self._solved += record.chain_length
                self._sequence.add(record.chain_length / self._longest)
                self._look()

    def _look(self) -> None:
        low, high = self._longest * self._sequence.low, self._longest * self._sequence.high
        if high - low <= self._width:
            judged = self._sequence.n
            self.reached = EarlyStop(self._next, judged, self._solved / judged, low, high, self._width)


def early_stop(records: Iterable[EpisodeRecord], width: float, longest: int) -> EarlyStop | None:
    """Where a run with these records could have ended; None when the average is not known so closely."""
    looker = Looker(width, longest)
    for record in records:
        looker.take(record)
    return looker.reached
