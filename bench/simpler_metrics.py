"""SimplerEnv's own numbers: unweighted means over variants, and how well simulation ranks real policies.

``python -m bench simpler RESULT_SET ...`` prints both. Formulas: ``simpler_env/utils/metrics.py`` of
SimplerEnv 4ab7178 (arXiv 2405.05941, appendix).
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.protocol import EpisodeRecord
from bench.records.statistics import Rate, rate
from bench.simpler_protocol import tasks_by_row
from envs.simpler.grids import variant_named
from envs.simpler.tasks import GRASP_FLAGS, TASKS

PUBLISHED = Path(__file__).resolve().parent.parent / "results" / "published" / "simpler_real.csv"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the published tables: a task, or a mean over tasks."""

    name: str
    success: float
    """Mean over tasks of the mean over variants, all alike, whatever their numbers of trials."""
    pooled: Rate
    """All trials together, with their interval; the same mean when every variant is complete."""
    ever: float
    """The same mean, of trials that succeeded at any step."""
    grasped: float | None
    """The same mean, of the partial success (grasped, drawer opened); None where there is none."""


@dataclass(frozen=True, slots=True)
class _Trial:
    task: str
    variant: str
    success: bool
    ever: bool
    grasped: float | None


def rows(records: Iterable[EpisodeRecord]) -> list[Row]:
    """The rows of a result set, then ``average``: their unweighted mean. Only judged, counted trials."""
    trials = [_trial(record) for record in records if record.status == "done"]
    trials = [trial for trial in trials if _counted(trial)]
    made = []
    for name, tasks in tasks_by_row(tuple({trial.task for trial in trials})).items():
        made.append(_row(name, [[t for t in trials if t.task == task] for task in tasks]))
    if len(made) > 1:
        grasped = [row.grasped for row in made if row.grasped is not None]
        made.append(
            Row(
                "average",
                _mean([row.success for row in made]),
                rate(sum(trial.success for trial in trials), len(trials)),
                _mean([row.ever for row in made]),
                _mean(grasped) if grasped else None,
            )
        )
    return made


def _trial(record: EpisodeRecord) -> _Trial:
    last = record.subtasks[-1]
    flag = next((last.flags[name] for name in GRASP_FLAGS if name in last.flags), None)
    return _Trial(last.subtask, record.scene, last.success, last.ever, flag)


def _counted(trial: _Trial) -> bool:
    task = next(task for task in TASKS.values() if task.subtasks[-1] == trial.task)
    return variant_named(task, trial.variant).counted


def _row(name: str, by_task: Sequence[Sequence[_Trial]]) -> Row:
    everything = [trial for trials in by_task for trial in trials]
    grasps = all(trial.grasped is not None for trial in everything)
    return Row(
        name,
        _over_variants(by_task, lambda trial: float(trial.success)),
        rate(sum(trial.success for trial in everything), len(everything)),
        _over_variants(by_task, lambda trial: float(trial.ever)),
        _over_variants(by_task, lambda trial: float(trial.grasped or 0)) if grasps else None,
    )


def _over_variants(by_task: Sequence[Sequence[_Trial]], value: Callable[[_Trial], float]) -> float:
    means = []
    for trials in by_task:
        variants: defaultdict[str, list[float]] = defaultdict(list)
        for trial in trials:
            variants[trial.variant].append(value(trial))
        means.append(_mean([_mean(values) for values in variants.values()]))
    return _mean(means)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def mean_maximum_rank_violation(simulated: Sequence[float], real: Sequence[float]) -> float:
    """How much real success a wrong ranking in simulation costs at worst, averaged over policies; 0 is best.

    For each policy, the largest real difference to another one that simulation ranks otherwise. Not
    symmetric: the weights are the real differences, so the two arguments must not be swapped.
    ValueError: unequal or no numbers.
    """
    _same_length(simulated, real)
    violations = [
        max(
            (
                abs(real_i - real_j)
                for sim_j, real_j in zip(simulated, real, strict=True)
                if (sim_i > sim_j) != (real_i > real_j)
            ),
            default=0.0,
        )
        for sim_i, real_i in zip(simulated, real, strict=True)
    ]
    return _mean(violations)


def pearson(simulated: Sequence[float], real: Sequence[float]) -> float:
    """Pearson's correlation, 1e-8 added to the denominator; 1 when both are the same up to a constant."""
    _same_length(simulated, real)
    a = [value - _mean(simulated) for value in simulated]
    b = [value - _mean(real) for value in real]
    if a == b:
        return 1.0
    return sum(x * y for x, y in zip(a, b, strict=True)) / (
        math.sqrt(sum(x * x for x in a) * sum(y * y for y in b)) + 1e-8
    )


def _same_length(simulated: Sequence[float], real: Sequence[float]) -> None:
    if len(simulated) != len(real) or not real:
        raise ValueError(f"{len(simulated)} simulated numbers for {len(real)} real ones")


@dataclass(frozen=True, slots=True)
class Published:
    """What a policy did in a task, on the real robot and in the paper's simulation (visual matching)."""

    real: float
    simulated: float


def published(path: Path = PUBLISHED) -> Mapping[str, Mapping[str, Published]]:
    """Published success by row and policy."""
    table: defaultdict[str, dict[str, Published]] = defaultdict(dict)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            table[row["task"]][row["policy"]] = Published(float(row["real"]), float(row["visual_matching"]))
    return dict(table)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well simulated success agrees with real success in one task."""

    task: str
    policies: tuple[str, ...]
    violation: float
    correlation: float


def agreement(
    simulated: Mapping[str, Mapping[str, float]], real: Mapping[str, Mapping[str, Published]]
) -> list[Agreement]:
    """Per task, over the policies that have both numbers; tasks with fewer than two are left out.

    ``simulated``: success by task and policy.
    """
    found = []
    for task, by_policy in simulated.items():
        names = tuple(name for name in by_policy if name in real.get(task, {}))
        if len(names) > 1:
            sims, reals = [by_policy[name] for name in names], [real[task][name].real for name in names]
            found.append(
                Agreement(task, names, mean_maximum_rank_violation(sims, reals), pearson(sims, reals))
            )
    return found
