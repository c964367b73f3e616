"""The table of a trained ablation: success, difference to the baseline, what it cost, the paper's number beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vla_bench.bench.errors import ResultSetError
from vla_bench.bench.families.published import rows_of
from vla_bench.bench.latency import added, quantiles
from vla_bench.bench.records.clusters import cluster_of, clustered_mean
from vla_bench.bench.records.formats import markdown
from vla_bench.bench.records.journal import write_atomically
from vla_bench.bench.records.several_runs import SeveralRuns, intervals
from vla_bench.bench.records.statistics import Mean, Rate
from vla_bench.bench.records.tables import Cell, Table, mean_cell, rate_cell
from vla_bench.bench.report.ranges import ranges
from vla_bench.bench.report.tables_page import tables_page
from vla_bench.bench.training.ablation_plan import LearnedAblation
from vla_bench.bench.training.ablation_run import RowResult, Training
from vla_bench.bench.training.journal import TrainingJournalContents

if TYPE_CHECKING:
    from vla_bench.bench.records.result_set import ResultSet

TABLE, REPORT, NUMBERS = "ablation.md", "ablation.html", "ablation.json"
PUBLISHED = "robovlms_ablations.csv"


@dataclass(frozen=True, slots=True)
class Cost:
    """What the trainings of a row cost, and what a decision of theirs does."""

    parameters: int
    minutes: float
    """Of one training, mean over seeds: the sum of its steps, reading included."""
    peak_mb: float
    """Largest resident memory of one training; on GPUs, of their memory."""
    decision_ms: float
    """Median over all decisions of the first evaluation."""


def cost_of(result: RowResult) -> Cost:
    """From the journals of the trainings and evaluations."""
    journals = [contents for each in result.trainings if (contents := each.contents) is not None]
    first = next(iter(result.sets.values()))
    counts = added(record.latency for each in first for record in each.records).get("decision", {})
    return Cost(
        max(int(line["parameters"]) for each in journals for line in each.of("begun")),
        float(np.mean([_minutes(each) for each in journals])),
        max(_peak(each) for each in journals),
        quantiles(counts)["median"] if counts else float("nan"),
    )


def _minutes(contents: TrainingJournalContents) -> float:
    return sum(line["seconds"] for line in contents.of("step")) / 60


def _peak(contents: TrainingJournalContents) -> float:
    return max(float(line.get("gpu_peak_mb") or line["peak_mb"]) for line in contents.of("ended"))


def difference(base: Sequence[ResultSet], other: Sequence[ResultSet]) -> Mean:
    """Mean difference of chain length or success, paired by episode and by the place of the seed.

    With several seeds the interval is from a bootstrap over seeds and over clusters of episodes; with one it is that of
    :func:`clustered_mean`, which says nothing of other seeds.
    """
    judged = [_lengths(each) for each in (*base, *other)]
    shared = sorted(set.intersection(*map(set, judged)))
    if not shared:
        raise ResultSetError("the rows have no judged episode in common")
    first, second = (
        np.array([[each[name] for name in shared] for each in half], dtype=float)
        for half in (judged[: len(base)], judged[len(base) :])
    )
    gained = second - first
    facts = base[0].header["protocol"]["facts"]
    names = {record.episode: cluster_of(record, facts) for record in base[0].records}
    if len(gained) > 1:
        ((low, high),) = intervals(gained[..., None], [names[each] for each in shared])
        return Mean(float(gained.mean()), gained.size, low, high)
    longest = base[0].header["longest"] if base[0].summary.kind == "chains" else 1
    pairs = ((names[each], int(value)) for each, value in zip(shared, gained[0], strict=True))
    return clustered_mean(pairs, longest).difference


def _lengths(of: ResultSet) -> dict[str, int]:
    return {record.episode: record.chain_length for record in of.records if record.status == "done"}


def tables(ablation: LearnedAblation, results: Sequence[RowResult]) -> list[Table]:
    """How the rows do, what they cost, and which rate each was given."""
    base = results[0]
    names = list(ablation.evaluations)
    columns = ["row"]
    for name in names:
        columns += [name, f"{name}: − {base.row.name}"]
    columns += ["parameters, M", "training, min", "memory, MB", "decision, ms"]
    columns += ["paper"] if any(result.row.published for result in results) else []
    rows: list[tuple[Cell, ...]] = []
    sources: list[tuple[str, str]] = []
    for result in results:
        cells = [Cell(result.row.name)]
        for name in names:
            cells += [_score_cell(result.sets[name]), _difference(base, result, name)]
        cost = cost_of(result)
        cells += [
            Cell(f"{cost.parameters / 1e6:.2f}"),
            Cell(f"{cost.minutes:.1f}"),
            Cell(f"{cost.peak_mb:.0f}"),
            Cell(f"{cost.decision_ms:.1f}"),
        ]
        published, source = _published(result)
        sources += [source] if source else []
        rows.append((*cells, Cell(published))[: len(columns)])
    made = Table(
        f"{ablation.name}, size {ablation.size}", tuple(columns), tuple(rows), _caption(ablation, base, sources)
    )
    return [made, _rates(results)] if any(result.tried for result in results) else [made]


def _score(sets: Sequence[ResultSet]) -> Mean | Rate:
    """An average chain length, or a share of successes; of several seeds with an interval that knows of them."""
    of = SeveralRuns(sets).summary if len(sets) > 1 else sets[0].summary
    if of.chain:
        return of.chain.average
    assert of.overall is not None
    return of.overall


def _score_cell(sets: Sequence[ResultSet]) -> Cell:
    score = _score(sets)
    return mean_cell(score) if _chains(sets) and isinstance(score, Mean) else rate_cell(score)


def _chains(sets: Sequence[ResultSet]) -> bool:
    return sets[0].summary.kind == "chains"


def figures(results: Sequence[RowResult]) -> dict[str, str]:
    """Every evaluation's rows with their intervals, drawn; the dashed line is the blind control."""
    drawn = {}
    control = next((result.row.name for result in results if result.row.control), "")
    for name, sets in results[0].sets.items():
        heading = f"{name}: {'average chain length' if _chains(sets) else 'success'}"
        scores = {result.row.name: _score(result.sets[name]) for result in results}
        drawn[heading] = ranges(scores, control, percent=not _chains(sets))
    return drawn


def _difference(base: RowResult, other: RowResult, name: str) -> Cell:
    if other is base:
        return Cell("–")
    found = difference(base.sets[name], other.sets[name])
    scale, digits = (1, 2) if _chains(base.sets[name]) else (100, 1)
    text, low, high = (f"{scale * each:+.{digits}f}".replace("-", "−") for each in (found.value, found.low, found.high))
    return Cell(text, (low, high))


def _published(result: RowResult) -> tuple[str, tuple[str, str] | None]:
    """The paper's average chain length; which row of which table that is, and of which paper."""
    if result.row.published is None:
        return "–", None
    table, setting = result.row.published
    for row in rows_of(PUBLISHED):
        if (row["table"], row["setting"]) == (table, setting):
            where = f"table {table}" if table.isupper() else table
            return row["avg_len"], (f"{setting} ({where}, {row['split']})", row["source"].partition(",")[0])
    return "–", None


def _caption(ablation: LearnedAblation, base: RowResult, sources: Sequence[tuple[str, str]]) -> str:
    seeds = len(ablation.seeds)
    data = sorted({each.data for each in base.trainings})
    parts = []
    for name, sets in base.sets.items():
        facts, n = sets[0].summary, len(sets[0].records)
        what = "average chain length" if facts.kind == "chains" else "success, %"
        parts.append(f"{name}: {what}, {facts.benchmark}, {n} episodes, {facts.assets} assets.")
    over = "a bootstrap over seeds and episodes" if seeds > 1 else "episodes alone; one seed says nothing of others"
    parts.append(f"{seeds} seed{'s' * (seeds > 1)}; 95 % intervals from {over}; differences are paired by episode.")
    parts.append(f"Trained on data {', '.join(data)}; memory and minutes are of one training.")
    if eyes := sorted({each for training in base.trainings if (each := _eyes(training))}):
        parts.append(f"Every row begins with the vision tower of checkpoint {', '.join(eyes)} (train.vision_from).")
    if sources:
        told, papers = (dict.fromkeys(each) for each in zip(*sources, strict=True))
        parts.append(f"paper: average chain length in another world, with another backbone ({', '.join(papers)}):")
        parts.append(f"{'; '.join(told)}.")
    return " ".join(parts)


def _eyes(training: Training) -> str | None:
    """Digest of the checkpoint that its vision tower is from."""
    found = training.contents.header["identity"]["start"].get("vision_from") if training.contents else None
    return None if found is None else str(found)


def _rates(results: Sequence[RowResult]) -> Table:
    rates = sorted({rate for result in results for rate in result.tried})
    rows = []
    for result in results:
        cells = [
            Cell(f"{result.tried[rate]:.4f}" if rate in result.tried else "–", best=rate == result.rate)
            for rate in rates
        ]
        edge = result.rate in (rates[0], rates[-1])
        rows.append((Cell(result.row.name), *cells, Cell("at the edge of the grid" if edge else "")))
    return Table(
        "Learning rates: action loss on held-out data after the short training",
        ("row", *(f"{rate:g}" for rate in rates), "remark"),
        tuple(rows),
        "Bold: taken. Losses of rows whose actions are tokens or bins are not those of continuous ones.",
    )


def write(ablation: LearnedAblation, results: Sequence[RowResult]) -> list[Path]:
    """Leaves the table as Markdown, as a page and as numbers. ResultSetError: it cannot be written."""
    made = tables(ablation, results)
    texts = {
        TABLE: "\n".join(map(markdown, made)),
        REPORT: tables_page(made[0].title, made, "ablation, trained", figures(results)),
        NUMBERS: json.dumps(_numbers(results), indent=1) + "\n",
    }
    try:
        ablation.folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_atomically(ablation.folder / name, partial(_write_text, text))
    except OSError as error:
        raise ResultSetError(f"cannot write to {ablation.folder}: {error.strerror or error}") from error
    return [ablation.folder / name for name in texts]


def _numbers(results: Sequence[RowResult]) -> list[Mapping[str, Any]]:
    return [
        {
            "row": result.row.name,
            "rate": result.rate,
            "tried": {f"{rate:g}": loss for rate, loss in result.tried.items()},
            "trainings": [str(each.folder) for each in result.trainings],
            "evaluations": {name: [str(each.folder) for each in sets] for name, sets in result.sets.items()},
            "words": list(result.row.train),
        }
        for result in results
    ]


def _write_text(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")
