"""How the episodes of a protocol make its number: a tree that is part of the protocol, and so of its hash and of
the journal. Whoever reads a result set walks this tree; what it gives never depends on the reader's own tables.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

Averaging = Literal["pooled", "alike", "chain"]


@dataclass(frozen=True, slots=True)
class Score:
    """A number and what it is made of: either parts with a number each, or episodes.

    ValueError: neither or both, an episode in two places, or an averaging that cannot be.
    """

    name: str
    """What tables call it."""
    how: Averaging = "pooled"
    """``pooled``: all episodes below count alike. ``alike``: the unweighted mean of the parts, whatever their
    episodes. ``chain``: the average chain length, and the shares of 1, 2, … solved in a row; of the whole
    protocol only."""
    parts: tuple[Score, ...] = ()
    episodes: tuple[str, ...] = ()
    """Names of the episodes, where there are no parts."""
    counts: bool = True
    """Whether the number above it has it."""
    row: bool = True
    """Whether the table of means gives it a row. A part without one is shown below, beside what it is part of."""
    partial: tuple[str, ...] = ()
    """Of the whole: flags of an episode's last subtask, the first of which that is there is its partial success."""
    caption: str = ""
    """Of the whole: what must be said below its table."""

    def __post_init__(self) -> None:
        if self.how not in get_args(Averaging):
            raise ValueError(f"{self.name}: parts are averaged {', '.join(get_args(Averaging))}, not {self.how!r}")
        if bool(self.parts) == bool(self.episodes):
            raise ValueError(f"{self.name}: a score has either parts or episodes")
        if self.how == "alike" and not self.parts:
            raise ValueError(f"{self.name}: only parts can count alike; episodes are pooled")
        if any((part.how == "chain") != (self.how == "chain") for part in self.parts):
            raise ValueError(f"{self.name}: chains are no parts of another number, nor have other parts")
        names = list(self.names())
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"{self.name}: the episode {twice} is in it twice")

    def names(self) -> Iterator[str]:
        """The episodes of all parts, in order."""
        yield from self.episodes
        for part in self.parts:
            yield from part.names()

    def leaves(self) -> Iterator[tuple[tuple[Score, ...], Score]]:
        """Every part that holds episodes, in order, after the scores it is part of, outermost first."""
        if not self.parts:
            yield (), self
        for part in self.parts:
            for above, leaf in part.leaves():
                yield (self, *above), leaf

    def counted(self) -> frozenset[str]:
        """The episodes that the number has."""
        return frozenset(
            name
            for above, leaf in self.leaves()
            if all(each.counts for each in (*above, leaf)[1:])
            for name in leaf.episodes
        )

    def restricted(self, names: Sequence[str]) -> Score | None:
        """The same over these episodes alone, in their order; None when it has none of them."""
        mine = frozenset(self.episodes)
        episodes = tuple(name for name in names if name in mine)
        parts = [part for each in self.parts if (part := each.restricted(names)) is not None]
        place = {name: index for index, name in enumerate(names)}
        parts.sort(key=lambda part: min(place[name] for name in part.names()))
        return dataclasses.replace(self, parts=tuple(parts), episodes=episodes) if parts or episodes else None

    def shares(self, among: Collection[str]) -> dict[str, float]:
        """How much of the number is each of these episodes', were they all there are; together they are 1."""
        if not self.parts:
            there = [name for name in self.episodes if name in among]
            return {name: 1 / len(there) for name in there}
        parts = [shares for part in self.parts if part.counts and (shares := part.shares(among))]
        n = sum(map(len, parts))
        if self.how == "alike":
            return {name: share / len(parts) for shares in parts for name, share in shares.items()}
        return {name: 1 / n for shares in parts for name in shares}


def chains(names: Sequence[str]) -> Score:
    """The score of sequences: the average chain length."""
    return Score("average chain length", "chain", episodes=tuple(names))


def pooled(names: Sequence[str]) -> Score:
    """The score of single tasks that all count alike, each attempt for itself."""
    return Score("all tasks", "pooled", episodes=tuple(names))


def score_from_plain(plain: Mapping[str, Any]) -> Score:
    """The inverse of :func:`vla_bench.bench.protocol.to_plain`. ValueError: it is not a score's."""
    try:
        known: dict[str, Any] = {name: plain[name] for name in ("name", "how", "counts", "row", "caption")}
        lists: dict[str, Any] = {name: tuple(plain[name]) for name in ("episodes", "partial")}
        sound = all(isinstance(item, str) for values in lists.values() for item in values) and all(
            isinstance(known[name], kind) for name, kind in (("name", str), ("counts", bool), ("row", bool))
        )
        if not sound:
            raise ValueError("a field is not of its kind")
        return Score(**known, **lists, parts=tuple(score_from_plain(part) for part in plain["parts"]))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a score: {error}") from None
