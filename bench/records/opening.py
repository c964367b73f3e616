"""Result sets by their folders, one or several at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import overload

from vla_bench.bench.errors import ResultSetError
from vla_bench.bench.records.lineup import load_set
from vla_bench.bench.records.numbers import Numbers
from vla_bench.bench.records.result_set import JOURNAL, ResultSet
from vla_bench.bench.records.rows import is_ablation, read_rows
from vla_bench.bench.records.several_runs import SeveralRuns
from vla_bench.bench.records.summary import Summary


class Runs(Numbers, Sequence[ResultSet]):
    """Several result sets in order. Of runs of one policy it has the numbers, too: the means over the runs."""

    def __init__(self, sets: Sequence[ResultSet]) -> None:
        self._sets = tuple(sets)

    @cached_property
    def summary(self) -> Summary:
        """The numbers of all together; see :class:`vla_bench.bench.records.several_runs.SeveralRuns`.

        Raises:
            ResultSetError: they are of several policies, or share no judged episode.
            ProtocolMismatch: they were not measured in the same way.
        """
        policies = dict.fromkeys(str(each.header["identity"]["policy"]) for each in self)
        if len(policies) > 1:
            raise ResultSetError(
                f"these are runs of {len(policies)} policies ({', '.join(policies)}), which have no number in common; "
                "ask each of them, or vla_bench.compare"
            )
        return SeveralRuns(self._sets).summary

    @overload
    def __getitem__(self, place: int) -> ResultSet: ...
    @overload
    def __getitem__(self, place: slice) -> Runs: ...
    def __getitem__(self, place: int | slice) -> ResultSet | Runs:
        return Runs(self._sets[place]) if isinstance(place, slice) else self._sets[place]

    def __len__(self) -> int:
        return len(self._sets)

    def __iter__(self) -> Iterator[ResultSet]:
        return iter(self._sets)

    def __repr__(self) -> str:
        return f"<Runs {list(self._sets)}>"


def open_results(folders: Iterable[str | os.PathLike[str]]) -> ResultSet | Runs:
    """See :func:`vla_bench.bench.load`."""
    named = [Path(folder).expanduser() for folder in folders]
    if not named:
        raise ResultSetError("load() takes the folder of a run, or several")
    several = len(named) > 1
    found: list[Path] = []
    for folder in named:
        inside = sorted(path.parent for path in folder.glob(f"*/{JOURNAL}"))
        if is_ablation(folder):  # in the order of its tables, the baseline first; what no row names comes last
            order = [folder / row.folder for row in read_rows(folder)]
            inside = sorted(inside, key=lambda each: order.index(each) if each in order else len(order))
        alone = (folder / JOURNAL).is_file() or not inside
        found += [folder] if alone else inside
        several |= not alone
    sets = [load_set(folder) for folder in found]
    return Runs(sets) if several else sets[0]


def open_run(run: ResultSet | str | os.PathLike[str]) -> ResultSet:
    """A run by its folder, or itself. ResultSetError: there is none, or there are several."""
    found = open_results([run]) if isinstance(run, str | os.PathLike) else run
    if isinstance(found, ResultSet):
        return found
    if isinstance(found, Runs):
        raise ResultSetError(f"one run is wanted, {found[0].folder.parent} has {len(found)}: name one of them")
    raise ResultSetError(f"results or their folder are wanted, not {type(found).__name__}")
