"""What readers of results need of them, whether they come from one run or from several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from vla_bench.bench.protocol import EpisodeRecord
    from vla_bench.bench.records.summary import Summary


class Results(Protocol):
    """A :class:`~vla_bench.bench.records.result_set.ResultSet`, or
    :class:`~vla_bench.bench.records.several_runs.SeveralRuns` that stand in one row of a table."""

    @property
    def folder(self) -> Path:
        """Of the run; of several, the first one's."""
        ...

    @property
    def header(self) -> Mapping[str, Any]:
        """Line 1 of the journal: protocol, identity, tasks."""
        ...

    @property
    def records(self) -> Sequence[EpisodeRecord]:
        """What came of the episodes; of several runs, the first one's."""
        ...

    @property
    def summary(self) -> Summary:
        """The numbers."""
        ...
