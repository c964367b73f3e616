"""Whether two result sets were measured in the same way: which facts differ, which episodes they share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_bench.bench.errors import ProtocolMismatch
from vla_bench.bench.protocol import EpisodeRecord
from vla_bench.bench.records.old_journals import score_of
from vla_bench.bench.records.result_set import CONFIG
from vla_bench.bench.records.summary import BLIND
from vla_bench.bench.score import Score

if TYPE_CHECKING:
    from vla_bench.bench.records.results import Results

SEEING = ("sensors", f"policy_switches.{BLIND}")
"""Facts of what a policy looks at, in which the compared may well differ: a blind control is compared with one that
sees."""
ANYWAY = "--anyway"
"""What is typed to have sets of different protocols in one table."""


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """A field in which two result sets differ, and that may have changed a number."""

    field: str
    first: str
    second: str

    def __str__(self) -> str:
        return f"{self.field} {self.first} / {self.second}"


def differences(first: Results, second: Results) -> tuple[FieldDifference, ...]:
    """The fields that keep two result sets from being compared without a word.

    That one set has more episodes than the other is no such field: what they share can be compared. Nor
    is a renderer that one of them never used, nor what the policies look at, in which they may well differ.
    """
    found = []
    mine, theirs = _fields(first), _fields(second)
    for name in {**mine, **theirs}:
        a, b = mine.get(name, "–"), theirs.get(name, "–")
        if a != b and not (name == "renderer" and "none" in (a, b)) and not name.startswith(SEEING):
            found.append(FieldDifference(name, str(a), str(b)))
    if scores := _score_difference(first, second):
        found.append(scores)
    if first.header["protocol"]["hash"] != second.header["protocol"]["hash"]:
        found += _episode_differences(first, second)
    return tuple(found)


def refuse(first: str, second: str, fields: Sequence[FieldDifference]) -> ProtocolMismatch:
    """The error that names what differs."""
    return ProtocolMismatch(
        f"{first} and {second} were not measured in the same way: {'; '.join(map(str, fields))}. "
        f"To have them in one table nevertheless, marked as different, add {ANYWAY}"
    )


def _fields(of: Results) -> dict[str, Any]:
    protocol = of.header["protocol"]
    fields = {"protocol": protocol.get("name", ""), **flat(protocol["facts"])}
    fields["split"] = of.header["identity"]["split"]
    return fields


def flat(facts: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested facts as dotted names."""
    fields: dict[str, Any] = {}
    for name, value in facts.items():
        fields |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return fields


def _score_difference(first: Results, second: Results) -> FieldDifference | None:
    """The two scores, where they make another number of what both sets have."""
    a, b = (score_of(each.header, each.records) for each in (first, second))
    shared = frozenset(a.names()) & frozenset(b.names())
    mine, theirs = a.shares(shared), b.shares(shared)
    alike = mine.keys() == theirs.keys() and all(math.isclose(mine[name], theirs[name]) for name in mine)
    if alike and (a.how == "chain") == (b.how == "chain"):
        return None
    said = [_said(a), _said(b)]
    if said[0] == said[1]:
        said = [f"{said[0]}, over {len(shares)} of {len(shared)} shared episodes" for shares in (mine, theirs)]
        if said[0] == said[1]:
            said[1] += ", weighted otherwise"
    return FieldDifference("score", *said)


def _said(score: Score) -> str:
    parts = f" of {', '.join(part.name for part in score.parts if part.counts)}" if score.parts else ""
    return f"{score.name} ({score.how}{parts})"


def _episode_differences(first: Results, second: Results) -> list[FieldDifference]:
    """What is not the same in the episodes that two sets share by name."""
    theirs = {record.episode: record for record in second.records}
    pairs = [(mine, theirs[mine.episode]) for mine in first.records if mine.episode in theirs]
    a, b = first.header.get("episode_digests"), second.header.get("episode_digests")
    exact = bool(a and b)
    if a and b:
        changed = sum(a[mine.index] != b[their.index] for mine, their in pairs)
    else:
        changed = sum(_visibly_other(mine, their) for mine, their in pairs)
    if exact and not changed:
        return []
    limits = [_step_limit(each.folder / CONFIG) for each in (first, second)]
    if limits[0] != limits[1] and None not in limits:
        return [FieldDifference("step_limit", *map(str, limits))]
    if not changed:
        return []
    what = "state, subtasks, instructions or step limit"
    return [FieldDifference("episodes", f"{changed} of the {len(pairs)} shared ones", f"not the same {what}")]


def _step_limit(path: Path) -> int | None:
    """The step limit asked for in a run's configuration; None when there is none to be read."""
    import yaml

    try:
        return int(yaml.safe_load(path.read_text(encoding="utf-8"))["benchmark"]["step_limit"])
    except (OSError, yaml.YAMLError, ValueError, KeyError, TypeError):
        return None


def _visibly_other(first: EpisodeRecord, second: EpisodeRecord) -> bool:
    """Whether records of journals without digests show that their episodes were not the same."""
    tried = zip(first.subtasks, second.subtasks, strict=False)
    return first.scene != second.scene or any(
        (a.subtask, a.instruction) != (b.subtask, b.instruction) for a, b in tried
    )
