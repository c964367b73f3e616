"""The numbers of a score (:mod:`vla_bench.bench.score`) from records: walks the tree, whatever benchmark it is of."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from vla_bench.bench.errors import ResultSetError
from vla_bench.bench.protocol import EpisodeRecord
from vla_bench.bench.records.statistics import Mean, Rate, mean_of_rates, rate
from vla_bench.bench.score import Score


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table of means: a score whose parts all count alike, or a part of one."""

    name: str
    success: Mean
    """After the last step, with its interval."""
    bounds: tuple[float, float]
    """Were all episodes that ended in an error failures, and were they successes."""
    ever: float
    """Of episodes that succeeded at any step."""
    partial: float | None
    """The partial success; None where there is none."""
    counted: bool = True
    """Whether the numbers above it have it."""


@dataclass(frozen=True, slots=True)
class PartRate:
    """A part that has no row of its own."""

    whole: str
    """What it is a part of."""
    name: str
    rate: Rate
    counted: bool


@dataclass(slots=True)
class _Tally:
    """Episodes that are counted together."""

    solved: int = 0
    ever: int = 0
    partial: float = 0.0
    has_partial: bool = True
    n: int = 0
    errors: int = 0
    positions: list[int] = field(default_factory=list)
    """Which of the records they are."""

    def add(self, position: int, record: EpisodeRecord, flags: Sequence[str]) -> None:
        self.positions.append(position)
        if record.status != "done":
            self.errors += 1
            return
        last = record.subtasks[-1]
        partial = next((last.flags[name] for name in flags if name in last.flags), None)
        self.n += 1
        self.solved += record.chain_length
        self.ever += last.ever
        self.partial += partial or 0.0
        self.has_partial = self.has_partial and partial is not None

    def __add__(self, other: _Tally) -> _Tally:
        return _Tally(
            self.solved + other.solved,
            self.ever + other.ever,
            self.partial + other.partial,
            self.has_partial and other.has_partial,
            self.n + other.n,
            self.errors + other.errors,
            self.positions + other.positions,
        )


_Weighted = list[tuple[float, _Tally]]


@dataclass(slots=True)
class _Node:
    """A score beside what was found of it."""

    score: Score
    parts: list[_Node]
    tally: _Tally

    @property
    def there(self) -> bool:
        """Whether any of its episodes has a record."""
        return bool(self.tally.positions) or any(part.there for part in self.parts)

    def walk(self, above: tuple[_Node, ...] = ()) -> Iterator[tuple[tuple[_Node, ...], _Node]]:
        """All nodes after those they are part of: parts before what they make up."""
        for part in self.parts:
            yield from part.walk((*above, self))
        yield above, self

    def weighted(self) -> _Weighted:
        """What it is the mean of; parts without a record yet are left out."""
        if not self.parts:
            return [(1.0, self.tally)] if self.there else []
        parts = [part.weighted() for part in self.parts if part.score.counts]
        there = [part for part in parts if part]
        if self.score.how == "alike":
            return [(weight / len(there), tally) for part in there for weight, tally in part]
        together = [tally for part in there for _, tally in part]
        return [(1.0, sum(together[1:], together[0]))] if together else []


def check_places(score: Score, records: Iterable[EpisodeRecord], where: object) -> None:
    """ResultSetError: a record is in no part of the score, so that no number would have it."""
    known = frozenset(score.names())
    for record in records:
        if record.episode not in known:
            raise ResultSetError(
                f"{where}: the record of episode {record.episode} is in no part of the score that line 1 states, so "
                "it would count nowhere. The two are not of the same run; put back the journal that was written"
            )


def rows(score: Score, records: Sequence[EpisodeRecord]) -> list[Row]:
    """The rows of a score whose parts count alike, parts before their mean; the whole comes last.

    A mean of a single part that has a row itself would say the same twice, and is left out.
    """
    found = []
    for above, node in _tree(score, records).walk():
        shown = [part for part in node.parts if part.there and part.score.counts]
        if not node.score.row or not node.there or (len(shown) == 1 and shown[0].score.row):
            continue
        counted = all(each.score.counts for each in (*above, node)[1:])
        if weighted := node.weighted():
            found.append(_row(node.score.name, weighted, counted))
    return found


def part_rates(score: Score, records: Sequence[EpisodeRecord]) -> list[PartRate]:
    """The parts without a row, in order, as far as any of their episodes has a record."""
    return [
        PartRate(
            above[-1].score.name,
            node.score.name,
            rate(node.tally.solved, node.tally.n),
            all(each.score.counts for each in (*above, node)[1:]),
        )
        for above, node in _tree(score, records).walk()
        if above and not node.parts and not node.score.row and node.there
    ]


def weights(score: Score, records: Sequence[EpisodeRecord]) -> list[float]:
    """How much each of these judged records counts in the number of the whole; 1 on average."""
    found = [0.0] * len(records)
    for weight, tally in _tree(score, records).weighted():
        for position in tally.positions:
            found[position] = weight / tally.n
    mean = sum(found) / len(found)
    return [each / mean for each in found]


def _tree(score: Score, records: Sequence[EpisodeRecord]) -> _Node:
    order = sorted(range(len(records)), key=lambda position: records[position].index)
    places: dict[str, list[int]] = {}
    for position in order:
        places.setdefault(records[position].episode, []).append(position)

    def made(of: Score) -> _Node:
        tally = _Tally()
        for name in of.episodes:
            for position in places.get(name, ()):
                tally.add(position, records[position], score.partial)
        return _Node(of, [made(part) for part in of.parts], tally)

    return made(score)


def _row(name: str, weighted: _Weighted, counted: bool) -> Row:
    def mean(value: Callable[[_Tally], float], errors: bool = False) -> float:
        counts = [(weight, value(each), each.n + errors * each.errors) for weight, each in weighted]
        total = math.fsum(weight for weight, _, n in counts if n)
        return math.fsum(weight * sum_ / n for weight, sum_, n in counts if n) / total if total else math.nan

    return Row(
        name,
        mean_of_rates([(weight, each.solved, each.n) for weight, each in weighted]),
        (mean(lambda each: each.solved, True), mean(lambda each: each.solved + each.errors, True)),
        mean(lambda each: each.ever),
        mean(lambda each: each.partial) if all(each.has_partial for _, each in weighted) else None,
        counted,
    )
