"""Two result sets on the same episodes: how much they differ, and whether that is more than chance."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_bench.bench.errors import ResultSetError
from vla_bench.bench.protocol import EpisodeRecord
from vla_bench.bench.records.clusters import cluster_of, clustered_mean, clustered_pairs, clustered_rate
from vla_bench.bench.records.conditions import FieldDifference, differences, refuse
from vla_bench.bench.records.lineup import short_names
from vla_bench.bench.records.old_journals import score_of
from vla_bench.bench.records.paired import PairedMean, PairedRates, holm
from vla_bench.bench.records.statistics import Rate
from vla_bench.bench.records.summary import Bounds
from vla_bench.bench.records.weighted import Pair, weighted_mean
from vla_bench.bench.score import Score

if TYPE_CHECKING:
    from vla_bench.bench.records.result_set import ResultSet


@dataclass(frozen=True, slots=True)
class PositionDifference:
    """Share of episodes with at least so many subtasks solved in a row, in both sets."""

    length: int
    first: Rate
    second: Rate
    pairs: PairedRates


@dataclass(frozen=True, slots=True)
class TaskDifference:
    """Success of one task, over the attempts that both sets made at the same place of an episode."""

    task: str
    first: Rate
    second: Rate
    pairs: PairedRates
    corrected_p: float
    """McNemar's p after Holm's correction for the number of tasks."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the second result set does that the first does not."""

    first: str
    """Name of the baseline."""
    second: str
    benchmark: str
    kind: str
    """``chains`` or ``tasks``."""
    longest: int
    """Subtasks in a whole chain; 1 for single tasks."""
    pairs: int
    """Episodes judged in both sets: what everything here is over."""
    unjudged: int
    """Episodes of both sets that an error kept from being judged in one or both."""
    unshared: int
    """Episodes that only one of the sets has."""
    averages: tuple[float, float]
    """Average chain length over the pairs; success rate for single tasks."""
    average: PairedMean
    """Difference of average chain length, or of success rate for single tasks."""
    bounds: Bounds | None
    """Of that difference, were every unjudged episode decided the one way or the other."""
    positions: tuple[PositionDifference, ...]
    tasks: tuple[TaskDifference, ...]
    """By task, those that both attempted."""
    fields: tuple[FieldDifference, ...]
    """Ways in which the two were not measured alike; empty unless that was allowed."""
    notes: tuple[str, ...]
    weighted: bool = False
    """Whether parts of the score count alike whatever their episodes, so that the averages are no plain ones."""
    sets: tuple[tuple[str, ResultSet], ...] = field(default=(), repr=False, compare=False)
    """The two by their names, whose episodes a report shows."""

    @property
    def verdict(self) -> str:
        """A sentence on who is better and by how much, or on how many episodes it would take to say."""
        from vla_bench.bench.records.comparison_tables import verdict

        return verdict(self)

    def to_markdown(self) -> str:
        """The whole comparison as a Markdown document."""
        from vla_bench.bench.records.comparison_tables import to_markdown

        return to_markdown([self])

    def to_latex(self) -> str:
        """Its tables for a paper (booktabs)."""
        from vla_bench.bench.records.comparison_tables import comparison_tables
        from vla_bench.bench.records.formats import latex

        return "\n".join(latex(table) for table in comparison_tables([self]))

    def report(self, path: str | os.PathLike[str] = "comparison.html") -> Path:
        """Writes one HTML file of both sets and how they compare, and returns where it is.

        ResultSetError: the file cannot be written.
        """
        from vla_bench.bench.records.numbers import write_report

        return write_report(path, dict(self.sets), [self])

    def __str__(self) -> str:
        return self.verdict

    def _repr_html_(self) -> str:
        from vla_bench.bench.records.comparison_tables import comparison_tables
        from vla_bench.bench.records.formats import html

        return f"<p><b>{self.verdict}</b></p>" + "".join(map(html, comparison_tables([self])))


def compare(
    first: ResultSet,
    second: ResultSet,
    *,
    names: tuple[str, str] | None = None,
    anyway: bool = False,
) -> Comparison:
    """Compares two result sets on the episodes that both have judged.

    Args:
        first: the baseline.
        second: what is compared with it; a positive difference means that it is better.
        names: what they are called; by default their policies, or their folders where those are alike.
        anyway: compare sets whose protocols differ in more than the number of episodes; the differing
            fields are then in ``fields``.

    Raises:
        ProtocolMismatch: they were not measured in the same way; names the fields.
        ResultSetError: they have no judged episode in common.
    """
    a, b = names or short_names([first, second])
    fields = differences(first, second)
    if fields and not anyway:
        raise refuse(a, b, fields)
    mine, theirs = ({record.episode: record for record in each.records} for each in (first, second))
    shared = [(mine[name], theirs[name]) for name in mine if name in theirs]
    judged = [pair for pair in shared if all(record.status == "done" for record in pair)]
    if first.summary.kind != second.summary.kind or not judged:
        raise ResultSetError(
            f"{a} and {b} have no judged episode in common, so there is nothing to compare: "
            f"{first.folder} is {first.summary.benchmark}, {second.folder} is {second.summary.benchmark}"
        )
    kind, longest = first.summary.kind, first.header["longest"] if first.summary.kind == "chains" else 1
    n = len(judged)
    facts = first.header["protocol"]["facts"]
    score = score_of(first.header, first.records)
    shares = score.shares([x.episode for x, _ in judged])
    weighted = max(shares.values(), default=0.0) - min(shares.values(), default=0.0) > 1e-12 or len(shares) < n
    if weighted and shares:
        parts = {name: str(place) for place, (_, leaf) in enumerate(score.leaves()) for name in leaf.episodes}
        average = weighted_mean(
            [
                Pair(parts[x.episode], cluster_of(x, facts), shares[x.episode], y.chain_length - x.chain_length)
                for x, y in judged
                if x.episode in shares
            ],
            longest,
        )
        averages = [
            math.fsum(shares.get(pair[0].episode, 0.0) * pair[place].chain_length for pair in judged)
            for place in (0, 1)
        ]
    else:
        average = clustered_mean(((cluster_of(x, facts), y.chain_length - x.chain_length) for x, y in judged), longest)
        averages = [sum(pair[place].chain_length for pair in judged) / n for place in (0, 1)]
    unjudged = [pair for pair in shared if any(record.status != "done" for record in pair)]
    return Comparison(
        first=a,
        second=b,
        benchmark=first.summary.benchmark,
        kind=kind,
        longest=longest,
        pairs=n,
        unjudged=len(unjudged),
        unshared=len(mine) + len(theirs) - 2 * len(shared),
        averages=(averages[0], averages[1]),
        average=average,
        bounds=_bounds(score, judged, unjudged, longest) if unjudged else None,
        weighted=weighted,
        positions=tuple(_position(judged, length, facts) for length in range(1, longest + 1)),
        tasks=_tasks(judged, facts),
        fields=fields,
        notes=tuple(_notes((a, first), (b, second))),
        sets=((a, first), (b, second)),
    )


_Pairs = Sequence[tuple[EpisodeRecord, EpisodeRecord]]


def _position(judged: _Pairs, length: int, facts: Mapping[str, Any]) -> PositionDifference:
    reached = [(cluster_of(x, facts), x.chain_length >= length, y.chain_length >= length) for x, y in judged]
    return PositionDifference(length, *_rates(reached), clustered_pairs(reached))


def _rates(pairs: Sequence[tuple[str, bool, bool]]) -> tuple[Rate, Rate]:
    return clustered_rate((c, a) for c, a, _ in pairs), clustered_rate((c, b) for c, _, b in pairs)


def _tasks(judged: _Pairs, facts: Mapping[str, Any]) -> tuple[TaskDifference, ...]:
    tried: defaultdict[str, list[tuple[str, bool, bool]]] = defaultdict(list)
    for x, y in judged:
        cluster = cluster_of(x, facts)
        for place, (mine, their) in enumerate(zip(x.subtasks, y.subtasks, strict=False)):
            if mine.subtask == their.subtask:
                tried[mine.subtask].append((f"{cluster}/{place}", mine.success, their.success))
    names = sorted(tried)
    counted = [clustered_pairs(tried[name]) for name in names]
    corrected = holm([pairs.p for pairs in counted])
    return tuple(
        TaskDifference(
            name,
            *_rates(tried[name]),
            pairs,
            p,
        )
        for name, pairs, p in zip(names, counted, corrected, strict=True)
    )


def _bounds(score: Score, judged: _Pairs, unjudged: _Pairs, longest: int) -> Bounds:
    pairs = [*judged, *unjudged]
    shares = score.shares([x.episode for x, _ in pairs])
    low = high = 0.0
    for x, y in pairs:
        mine, theirs = (((r.chain_length,) * 2 if r.status == "done" else (0, longest)) for r in (x, y))
        share = shares.get(x.episode, 0.0)
        low, high = low + share * (theirs[0] - mine[1]), high + share * (theirs[1] - mine[0])
    return Bounds(low, high)


def _notes(*named: tuple[str, ResultSet]) -> list[str]:
    notes: dict[str, list[str]] = {}
    for name, each in named:
        for note in each.summary.notes:
            notes.setdefault(note, []).append(name)
    return [f"{' and '.join(names)}: {note}" for note, names in notes.items()]
