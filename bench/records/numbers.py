"""The numbers of results by the field's names, for whoever reads them from Python."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vla_bench.bench.errors import ResultSetError
from vla_bench.bench.records.statistics import ChainTable, Mean, Rate


class Numbers:
    """What a result set and several runs together have in common; each number comes with ``n`` and its 95 % interval
    (``low``, ``high``)."""

    summary: Any
    """All numbers (:class:`vla_bench.bench.records.summary.Summary`)."""

    @property
    def average_chain_length(self) -> Mean:
        """Subtasks solved in a row, averaged over the judged sequences. ResultSetError: these are no chains."""
        return self._chain().average

    @property
    def single_task_success(self) -> Rate:
        """Share of the judged sequences whose first subtask was solved (the 1/5 column of published tables).

        ResultSetError: these are no chains.
        """
        return self._chain().rates[0]

    @property
    def chain_success(self) -> tuple[Rate, ...]:
        """Share of the judged sequences with at least 1, 2, … subtasks solved in a row.

        ResultSetError: these are no chains.
        """
        return self._chain().rates

    @property
    def success_rate(self) -> Rate | Mean:
        """Success over all episodes of single tasks, each part with its weight. ResultSetError: these are chains."""
        overall: Rate | Mean | None = self.summary.overall
        if overall is None:
            raise ResultSetError(
                f"{self.summary.benchmark} has chains of subtasks: read average_chain_length, or single_task_success"
            )
        return overall

    @property
    def task_success(self) -> Mapping[str, Rate]:
        """Success of each task over its attempts, by the task's name."""
        return {each.task: each.rate for each in self.summary.tasks}

    def _chain(self) -> ChainTable:
        chain: ChainTable | None = self.summary.chain
        if chain is None:
            raise ResultSetError(f"{self.summary.benchmark} has single tasks, no chains: read success_rate")
        return chain


def write_report(path: str | os.PathLike[str], sets: Mapping[str, Any], found: Sequence[Any] = ()) -> Path:
    """Writes the page of result sets and their comparisons, whole or not at all. ResultSetError: it cannot be written
    there."""
    from vla_bench.bench.records.journal import write_atomically

    # By name: the page is made from results, which know only that there is one.
    text = importlib.import_module("vla_bench.bench.report").render(sets, found)
    place = Path(path).expanduser()
    try:
        write_atomically(place, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise ResultSetError(f"cannot write {place}: {error.strerror or error}") from error
    return place
