"""The score of a result set: the one its journal states, or, for journals from before 0.2.0, which state none, one
made from what they hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vla_bench.bench.errors import ResultSetError
from vla_bench.bench.families import known_family
from vla_bench.bench.protocol import EpisodeRecord
from vla_bench.bench.score import Score, chains, pooled, score_from_plain

NO_EPISODE = "none yet"
"""Stands for the episodes of a journal that has no record."""


def score_of(header: Mapping[str, Any], records: Sequence[EpisodeRecord]) -> Score:
    """The tree by which these records make a number. ResultSetError: the header states none that can be read."""
    protocol = header["protocol"]
    if protocol.get("score") is not None:
        try:
            return score_from_plain(protocol["score"])
        except ValueError as error:
            raise ResultSetError(f"the journal's header states no usable score ({error})") from None
    ordered = sorted(records, key=lambda record: record.index)
    names = list(dict.fromkeys(record.episode for record in ordered)) or [NO_EPISODE]
    if protocol["facts"]["kind"] == "chains":
        return chains(names)
    family = known_family(protocol["facts"].get("family"))
    if family is not None and family.old_score is not None and ordered:
        return family.old_score(header, ordered)
    return pooled(names)
