"""How well simulation ranks policies that ran on real robots.

``vla-bench simpler RESULT_SET ...`` prints it. Formulas: ``simpler_env/utils/metrics.py`` of
SimplerEnv 4ab7178 (arXiv 2405.05941, appendix).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vla_bench.bench.families.published import rows_of

PUBLISHED = "simpler_real.csv"


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


def published() -> Mapping[str, Mapping[str, Published]]:
    """Published success by row and policy."""
    table: defaultdict[str, dict[str, Published]] = defaultdict(dict)
    for row in rows_of(PUBLISHED):
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
