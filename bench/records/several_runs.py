"""Several runs of one method, of other seeds or checkpoints, as one row of a table.

What is asked is how the method does, not how one of its checkpoints does. So the runs are a sample too, and
the interval comes from a bootstrap over runs and over episodes: a resample draws runs with replacement and,
since all runs were on the same episodes, one set of episodes for all of them, whole clusters where states share
a start (Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1, 2007). With few runs any such interval
is too short; the table says how many there are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vla_bench.bench.errors import ConfigError, ResultSetError
from vla_bench.bench.protocol import EpisodeRecord
from vla_bench.bench.records.clusters import cluster_of
from vla_bench.bench.records.conditions import differences, refuse
from vla_bench.bench.records.old_journals import score_of
from vla_bench.bench.records.result_set import ResultSet
from vla_bench.bench.records.scoring import weights
from vla_bench.bench.records.statistics import BOOTSTRAP_SEED, CONFIDENCE, ChainTable, Mean, Rate
from vla_bench.bench.records.summary import Summary

RESAMPLES = 4000
_LEAST = 2


class SeveralRuns:
    """Looks like a result set to what makes tables; its numbers are means over the runs."""

    def __init__(self, sets: Sequence[ResultSet]) -> None:
        """Takes runs of one protocol.

        Raises:
            ConfigError: a run is given twice.
            ProtocolMismatch: two runs were not measured in the same way.
            ResultSetError: no episode was judged in all of them.
        """
        self.sets = tuple(sets)
        first = self.sets[0]
        identities = [each.header["identity"] for each in self.sets]
        for number, each in enumerate(self.sets[1:], start=1):
            if identities[number] in identities[:number]:
                raise ConfigError(f"{each.folder} is the same run as one before it: same policy, arguments and seed")
            if fields := differences(first, each):
                raise refuse(str(first.folder), str(each.folder), fields)
        judged = [{record.index: record for record in each.records if record.status == "done"} for each in self.sets]
        self._shared = sorted(set.intersection(*map(set, judged)))
        if not self._shared:
            raise ResultSetError("no episode was judged in all of the runs of a row")
        self._judged = judged
        self.header: Mapping[str, Any] = first.header
        self.folder: Path = first.folder

    @property
    def records(self) -> tuple[EpisodeRecord, ...]:
        """The first run's, which tell what the episodes are."""
        return self.sets[0].records

    @cached_property
    def summary(self) -> Summary:
        """The first run's, with the numbers of all."""
        first, runs, n = self.sets[0].summary, len(self.sets), len(self._shared)
        lengths = np.array(
            [[judged[index].chain_length for index in self._shared] for judged in self._judged], dtype=float
        )
        facts = self.header["protocol"]["facts"]
        clusters = [cluster_of(self._judged[0][index], facts) for index in self._shared]
        chain: ChainTable | None = None
        overall: Mean | None = None
        if first.chain:
            columns = [lengths >= k for k in range(1, len(first.chain.rates) + 1)]
            *rates, average = intervals(np.stack([*columns, lengths], axis=-1).astype(float), clusters)
            total = n * runs
            chain = ChainTable(
                tuple(
                    Rate(int(column.sum()), total, *interval) for column, interval in zip(columns, rates, strict=True)
                ),
                Mean(float(lengths.mean()), total, *average),
            )
        else:
            counts = lengths
            if first.rows:
                shared = [self._judged[0][index] for index in self._shared]
                counts = lengths * weights(score_of(self.header, self.records), shared)
            (interval,) = intervals(counts[..., None], clusters)
            overall = Mean(float(counts.mean()), n * runs, *interval)
        seeds = ", ".join(str(each.summary.seed) for each in self.sets)
        notes = dict.fromkeys(note for each in self.sets for note in each.summary.notes)
        spread = ", ".join(f"{mean:.2f}" for mean in lengths.mean(axis=1))
        said = (
            f"mean of {runs} runs (seeds {seeds}; {spread}) on the same {n} episodes, with intervals from a "
            "bootstrap over runs and episodes"
        )
        return dataclasses.replace(
            first,
            done=n * runs,
            chain=chain,
            chain_bounds=(),
            overall=overall,
            overall_bounds=None,
            notes=(*notes, said),
        )


def intervals(values: np.ndarray, clusters: Sequence[str] | None = None) -> list[tuple[float, float]]:
    """95 % intervals of the means over runs and episodes.

    Args:
        values: (runs, episodes, columns).
        clusters: name of each episode's cluster; those are drawn then, whole. None: each is one of its own.
    """
    runs, episodes, columns = values.shape
    if runs < _LEAST:
        raise ValueError(f"{runs} run; there must be at least {_LEAST}")
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    numbers: dict[str, int] = {}
    place = [numbers.setdefault(each, len(numbers)) for each in clusters or ()]
    groups = len(numbers) or episodes
    drawn = generator.multinomial(groups, np.full(groups, 1 / groups), size=RESAMPLES)
    if groups == episodes:
        drawn = drawn / episodes
    else:
        drawn = drawn[:, place]
        drawn = drawn / drawn.sum(axis=1, keepdims=True)
    chosen = generator.multinomial(runs, np.full(runs, 1 / runs), size=RESAMPLES) / runs
    means = np.zeros((RESAMPLES, columns))
    for run in range(runs):
        means += chosen[:, run, None] * (drawn @ values[run])
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    return [(float(a), float(b)) for a, b in zip(low, high, strict=True)]
