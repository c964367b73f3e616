"""SimplerEnv's own numbers: unweighted means over variants, and how well simulation ranks real policies.

``vla-bench simpler RESULT_SET ...`` prints both. Formulas: ``simpler_env/utils/metrics.py`` of
SimplerEnv 4ab7178 (arXiv 2405.05941, appendix).
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vla_bench.bench.protocol import EpisodeRecord
from vla_bench.bench.records.statistics import Mean, Rate, mean_of_rates, rate
from vla_bench.envs.simpler.grids import variant_named
from vla_bench.envs.simpler.tasks import GRASP_FLAGS, TASKS, Task

PUBLISHED = Path(__file__).resolve().parents[2] / "results" / "published" / "simpler_real.csv"
DRAWERS = ("google_robot_open_drawer", "google_robot_close_drawer")
BOTH_DRAWERS = "google_robot_open_and_close_drawer"
AVERAGE = "average"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the published tables: a task, or a mean over tasks.

    Every number is the mean over tasks of the mean over variants; all count alike, whatever their trials.
    """

    name: str
    success: Mean
    """After the last step, with its interval."""
    bounds: tuple[float, float]
    """Were all trials that ended in an error failures, and were they successes."""
    ever: float
    """Of trials that succeeded at any step."""
    grasped: float | None
    """The partial success (grasped, drawer opened); None where a task has none."""


@dataclass(frozen=True, slots=True)
class VariantRate:
    """A task in one of its variants."""

    task: str
    variant: str
    rate: Rate
    counted: bool
    """Whether it is part of the means."""


@dataclass(slots=True)
class _Stratum:
    """The trials of a task in a variant."""

    solved: int = 0
    ever: int = 0
    grasped: float = 0.0
    grasps: bool = True
    n: int = 0
    errors: int = 0

    def add(self, record: EpisodeRecord) -> None:
        if record.status != "done":
            self.errors += 1
            return
        last = record.subtasks[-1]
        flag = next((last.flags[name] for name in GRASP_FLAGS if name in last.flags), None)
        self.n += 1
        self.solved += last.success
        self.ever += last.ever
        self.grasped += flag or 0.0
        self.grasps = self.grasps and flag is not None


_Weighted = list[tuple[float, _Stratum]]


def rows(records: Iterable[EpisodeRecord]) -> list[Row]:
    """The rows of a result set, then their average.

    Opening and closing drawers are two rows, and together count as one in the average, as in the charts of
    RoboVLMs and Octo.
    """
    by_row = _by_row(_strata(records))
    together = _together(by_row)
    made = [_row(name, weighted) for name, weighted in by_row.items()]
    if all(name in by_row for name in DRAWERS):
        last = max(position for position, row in enumerate(made) if row.name in DRAWERS)
        made.insert(last + 1, _row(BOTH_DRAWERS, together[BOTH_DRAWERS]))
    if len(together) > 1:
        made.append(_row(AVERAGE, _alike(list(together.values()))))
    return made


def weights(records: Sequence[EpisodeRecord]) -> list[float]:
    """How much each judged record counts in the last of the :func:`rows`; 1 on average."""
    strata = _strata(records)
    shares = {id(each): share for share, each in _alike(list(_together(_by_row(strata)).values()))}
    found = []
    for record in records:
        stratum = strata[_task_name(record)][record.scene]
        found.append(shares.get(id(stratum), 0.0) / stratum.n)
    mean = _mean(found)
    return [each / mean for each in found]


def variant_rates(records: Iterable[EpisodeRecord]) -> list[VariantRate]:
    """Success of each task in each variant that was tried, in the order of the tasks."""
    strata = _strata(records)
    return [
        VariantRate(task.name, variant, rate(stratum.solved, stratum.n), variant_named(task, variant).counted)
        for task in TASKS.values()
        for variant, stratum in strata.get(task.name, {}).items()
    ]


def _strata(records: Iterable[EpisodeRecord]) -> dict[str, dict[str, _Stratum]]:
    strata: defaultdict[str, defaultdict[str, _Stratum]] = defaultdict(lambda: defaultdict(_Stratum))
    for record in sorted(records, key=lambda record: record.index):
        strata[_task_name(record)][record.scene].add(record)
    return {task: dict(variants) for task, variants in strata.items()}


def _task_name(record: EpisodeRecord) -> str:
    return record.episode.partition(f"-{record.scene}-")[0]  # an error has no subtask that names it


def _by_row(strata: Mapping[str, Mapping[str, _Stratum]]) -> dict[str, _Weighted]:
    """What each row is made of, in the order of the tasks."""
    found: dict[str, _Weighted] = {}
    for name in dict.fromkeys(task.reported for task in TASKS.values()):
        by_task = [_counted(task, strata) for task in TASKS.values() if task.reported == name]
        weighted = _alike([_alike([[(1.0, each)] for each in variants]) for variants in by_task])
        if weighted:
            found[name] = weighted
    return found


def _together(by_row: Mapping[str, _Weighted]) -> dict[str, _Weighted]:
    """What the average is over."""
    found = {name: weighted for name, weighted in by_row.items() if name not in DRAWERS}
    drawers = [by_row[name] for name in DRAWERS if name in by_row]
    return found | ({BOTH_DRAWERS: _alike(drawers)} if drawers else {})


def _counted(task: Task, strata: Mapping[str, Mapping[str, _Stratum]]) -> list[_Stratum]:
    variants = strata.get(task.name, {}).items()
    return [stratum for variant, stratum in variants if variant_named(task, variant).counted]


def _alike(parts: Sequence[_Weighted]) -> _Weighted:
    """Parts that count alike; empty ones are left out."""
    there = [part for part in parts if part]
    return [(weight / len(there), stratum) for part in there for weight, stratum in part]


def _row(name: str, weighted: _Weighted) -> Row:
    def mean(value: Callable[[_Stratum], float], errors: bool = False) -> float:
        counts = [(weight, value(each), each.n + errors * each.errors) for weight, each in weighted]
        total = math.fsum(weight for weight, _, n in counts if n)
        return math.fsum(weight * sum_ / n for weight, sum_, n in counts if n) / total if total else math.nan

    return Row(
        name,
        mean_of_rates([(weight, each.solved, each.n) for weight, each in weighted]),
        (mean(lambda each: each.solved, True), mean(lambda each: each.solved + each.errors, True)),
        mean(lambda each: each.ever),
        mean(lambda each: each.grasped) if all(each.grasps for _, each in weighted) else None,
    )


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


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


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
            found.append(Agreement(task, names, mean_maximum_rank_violation(sims, reals), pearson(sims, reals)))
    return found
