"""What a run found, as numbers: from a journal's header and records to rates with intervals."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vla_bench.bench.latency import added, quantiles
from vla_bench.bench.protocol import EpisodeRecord, Timings
from vla_bench.bench.records.clusters import cluster_of, clustered_rate, clusters_note
from vla_bench.bench.records.old_journals import score_of
from vla_bench.bench.records.scoring import PartRate, Row, part_rates, rows
from vla_bench.bench.records.statistics import ChainTable, Mean, Rate, chain_table

BLIND = "blind"
"""The switch of a policy whose cameras are blacked out."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """A number if every episode that ended in an error had failed, and if it had succeeded."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class TaskRate:
    """Success of one task over its attempts."""

    task: str
    scene: str
    """Scene the attempts were made in; empty: all scenes together."""
    rate: Rate


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time of the workers went. The only part that differs between equal runs."""

    steps: int
    decisions: int
    parts: Timings
    """Seconds summed over all workers."""
    wall: float
    """Seconds the run took, pauses between tries left out; nan when unknown."""
    startup: float
    """The part of ``wall`` before the first worker was ready."""
    latency: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """How long decisions took, counted (:mod:`vla_bench.bench.latency`)."""

    @property
    def steps_per_second(self) -> float:
        """Control steps per second of the run, start-up aside."""
        return self.steps / (self.wall - self.startup) if self.wall > self.startup else math.nan

    @property
    def busy(self) -> float:
        """Seconds in any part, summed over all workers."""
        return float(sum(getattr(self.parts, part.name) for part in dataclasses.fields(self.parts)))


@dataclass(frozen=True, slots=True)
class Summary:
    """The numbers of a result set and what they are numbers of."""

    benchmark: str
    policy: str
    seed: int
    split: str
    kind: str
    """``chains`` or ``tasks``."""
    protocol: str
    """Protocol hash."""
    assets: str
    renderer: str
    planned: int
    """Episodes of the protocol."""
    done: int
    """Episodes that were judged; every rate is over these."""
    errors: int
    """Episodes that could not be judged, however often they were tried."""
    chain: ChainTable | None
    """kind chains: share of episodes with at least 1, 2, … solved in a row, and the average."""
    chain_bounds: tuple[Bounds, ...]
    """Of each rate of ``chain``, then of the average; empty without errors."""
    overall: Rate | Mean | None
    """kind tasks: success over all attempts, or the mean of parts that count alike."""
    overall_bounds: Bounds | None
    tasks: tuple[TaskRate, ...]
    """Per-task success over the attempts of judged episodes, all scenes together, by name."""
    cells: tuple[TaskRate, ...]
    """kind tasks: the same per task and scene."""
    error_messages: tuple[tuple[str, str, str], ...]
    """Episode, kind and message of each error."""
    notes: tuple[str, ...]
    timing: Timing
    rows: tuple[Row, ...] = ()
    """Of a score whose parts count alike: its rows, their mean last."""
    variants: tuple[PartRate, ...] = ()
    """Its parts without a row of their own."""
    caption: str = ""
    """What must be said below the table of rows."""

    control: bool = False
    """Whether the policy was kept from seeing (``blind``): a control beside which a policy that sees is read."""

    @property
    def missing(self) -> int:
        """Episodes not run yet."""
        return self.planned - self.done - self.errors

    @property
    def complete(self) -> bool:
        """Whether every episode was judged or given up."""
        return self.missing == 0

    @property
    def single_task(self) -> Rate | Mean | None:
        """Single-task success: share of sequences whose first subtask was solved."""
        return self.chain.rates[0] if self.chain else self.overall


def summarize(
    header: Mapping[str, Any],
    records: Sequence[EpisodeRecord],
    *,
    wall: float = math.nan,
    startup: float = math.nan,
) -> Summary:
    """Counts the records; their order does not matter.

    Args:
        header: the journal's.
        records: one per episode.
        wall: seconds the run took, for steps/s; nan when unknown.
        startup: the part of them before the first worker was ready.
    """
    facts = header["protocol"]["facts"]
    score = score_of(header, records)
    judged = [record for record in records if record.status == "done"]
    errors = len(records) - len(judged)
    tasks, cells = _task_rates(header["tasks"], header["scenes"], judged, facts)
    chains = score.how == "chain"
    longest = header["longest"]
    names = score.counted()
    counted = [record for record in judged if record.episode in names]
    open_ = sum(record.status != "done" and record.episode in names for record in records)
    chain = chain_table(Counter(record.chain_length for record in counted), longest) if chains else None
    overall: Rate | Mean | None = None
    overall_bounds: Bounds | None = None
    means: tuple[Row, ...] = ()
    parts: tuple[PartRate, ...] = ()
    if score.how == "alike":
        means, parts = tuple(rows(score, records)), tuple(part_rates(score, records))
    if means:
        overall, overall_bounds = means[-1].success, Bounds(*means[-1].bounds) if errors else None
    elif not chains:
        overall = pooled = clustered_rate((cluster_of(record, facts), record.chain_length > 0) for record in counted)
        overall_bounds = _rate_bounds(pooled, open_) if open_ else None
    notes = list(header["notes"])
    if shared := "" if chains or means else clusters_note(judged, facts):
        notes.append(shared)
    if missing := header["episodes"] - len(records):
        notes.append(
            f"unfinished: {missing} of {header['episodes']} episodes are still to run, and those that end "
            "early are over-represented"
        )
    if errors:
        notes.append(
            f"{errors} of {header['episodes']} episodes could not be judged; every rate leaves them out, and "
            "its bounds say what they could have changed"
        )
    return Summary(
        benchmark=header["benchmark"],
        policy=header["policy"],
        seed=header["identity"]["seed"],
        split=header["identity"]["split"],
        kind="chains" if chains else "tasks",
        protocol=header["protocol"]["hash"],
        assets=facts["assets"],
        renderer=facts["renderer"],
        planned=header["episodes"],
        done=len(judged),
        errors=errors,
        chain=chain,
        chain_bounds=_chain_bounds(chain, open_, longest) if chain and open_ else (),
        overall=overall,
        overall_bounds=overall_bounds,
        tasks=tasks,
        cells=() if chains or means else cells,
        error_messages=tuple(
            (record.episode, record.error.kind, record.error.message.partition("\n")[0])
            for record in sorted(records, key=lambda record: record.index)
            if record.error
        ),
        notes=tuple(notes),
        timing=_timing(records, wall, startup),
        rows=means,
        variants=parts,
        caption=score.caption,
        control=is_control(facts),
    )


def is_control(facts: Mapping[str, Any]) -> bool:
    """Whether these are the protocol's facts of a policy that was blind: its spec's ``switches`` say so."""
    return str((facts.get("policy_switches") or {}).get(BLIND, "")).lower() == "true"


def _task_rates(
    planned: Sequence[str], scenes: Sequence[str], judged: Sequence[EpisodeRecord], facts: Mapping[str, Any]
) -> tuple[tuple[TaskRate, ...], tuple[TaskRate, ...]]:
    tries: defaultdict[tuple[str, str], list[tuple[str, bool]]] = defaultdict(list)
    for record in judged:
        cluster = cluster_of(record, facts)
        for place, subtask in enumerate(record.subtasks):
            for scene in (record.scene, ""):
                # Attempts at one task in one chain are as independent as those of two chains.
                tries[subtask.subtask, scene].append((f"{cluster}/{place}", subtask.success))

    def rated(task: str, scene: str) -> TaskRate:
        return TaskRate(task, scene, clustered_rate(tries[task, scene]))

    pooled = tuple(rated(task, "") for task in planned)
    return pooled, tuple(rated(task, scene) for task in planned for scene in scenes)


def _rate_bounds(of: Rate, errors: int) -> Bounds:
    n = of.n + errors
    return Bounds(of.successes / n, (of.successes + errors) / n)


def _chain_bounds(chain: ChainTable, errors: int, longest: int) -> tuple[Bounds, ...]:
    solved = sum(each.successes for each in chain.rates)
    n = chain.average.n + errors
    average = Bounds(solved / n, (solved + errors * longest) / n)
    return (*(_rate_bounds(each, errors) for each in chain.rates), average)


def _timing(records: Sequence[EpisodeRecord], wall: float, startup: float) -> Timing:
    ordered = sorted(records, key=lambda record: record.index)
    subtasks = [subtask for record in ordered for subtask in record.subtasks]
    return Timing(
        steps=sum(subtask.steps for subtask in subtasks),
        decisions=sum(subtask.decisions for subtask in subtasks),
        parts=sum((record.timings for record in ordered), Timings()),
        wall=wall,
        startup=startup,
        latency=added(record.latency for record in ordered),
    )


def summary_to_plain(summary: Summary) -> dict[str, Any]:
    """The summary as JSON's own types: rates carry ``rate``, ``successes``, ``n``, ``low``, ``high``;
    what cannot be said (0 tries) is null. Only ``timing`` differs between equal runs."""
    plain: dict[str, Any] = {
        name: getattr(summary, name)
        for name in ("benchmark", "policy", "seed", "split", "kind", "protocol", "assets", "renderer")
    }
    plain["episodes"] = {name: getattr(summary, name) for name in ("planned", "done", "errors", "missing")}
    plain["complete"] = summary.complete
    plain["interval"] = (
        "95 %: Wilson for rates, of as many tries as clusters of a start are worth; BCa bootstrap for the average "
        "chain length"
    )
    if summary.control:
        plain["control"] = BLIND
    if chain := summary.chain:
        bounds: Sequence[Bounds | None] = summary.chain_bounds or [None] * (len(chain.rates) + 1)
        plain["single_task_success"] = _plain_rate(chain.rates[0], bounds[0])
        plain["chain"] = {
            f"{length}/{len(chain.rates)}": _plain_rate(each, bound)
            for length, (each, bound) in enumerate(zip(chain.rates, bounds[:-1], strict=True), start=1)
        }
        average = {name: _number(getattr(chain.average, name)) for name in ("value", "n", "low", "high")}
        plain["average_chain_length"] = average | _plain_bounds(bounds[-1])
    if summary.overall:
        plain["overall"] = _plain_rate(summary.overall, summary.overall_bounds)
    plain["tasks"] = {each.task: _plain_rate(each.rate) for each in summary.tasks}
    if summary.cells:
        scenes = list(dict.fromkeys(each.scene for each in summary.cells))
        plain["scenes"] = {
            scene: {each.task: _plain_rate(each.rate) for each in summary.cells if each.scene == scene}
            for scene in scenes
        }
    if summary.rows:
        plain["rows"] = {row.name: _plain_row(row, summary.errors > 0) for row in summary.rows}
        plain["variants"] = {}
        for each in summary.variants:
            plain["variants"].setdefault(each.whole, {})[each.name] = _plain_rate(each.rate)
    plain["notes"] = list(summary.notes)
    timing = summary.timing
    plain["timing"] = {
        "steps": timing.steps,
        "decisions": timing.decisions,
        "wall_seconds": _number(timing.wall),
        "startup_seconds": _number(timing.startup),
        "steps_per_second": _number(timing.steps_per_second),
        "worker_seconds": dataclasses.asdict(timing.parts),
        "latency_ms": {name: quantiles(counts) for name, counts in timing.latency.items()},
    }
    return plain


def _plain_row(row: Row, errors: bool) -> dict[str, Any]:
    partial = {"ever": _number(row.ever), "partial": None if row.partial is None else _number(row.partial)}
    return _plain_rate(row.success, Bounds(*row.bounds) if errors else None) | partial


def _plain_rate(of: Rate | Mean, bounds: Bounds | None = None) -> dict[str, Any]:
    plain: dict[str, Any] = {"rate": of.value, "n": of.n, "low": of.low, "high": of.high}
    if isinstance(of, Rate):
        plain["successes"] = of.successes
    return {name: _number(value) for name, value in plain.items()} | _plain_bounds(bounds)


def _plain_bounds(bounds: Bounds | None) -> dict[str, Any]:
    if bounds is None:
        return {}
    return {"if_errors_failed": _number(bounds.low), "if_errors_solved": _number(bounds.high)}


def _number(value: float) -> float | None:
    return None if isinstance(value, float) and math.isnan(value) else value
