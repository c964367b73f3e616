"""What people read of plans, extractions and comparisons, as tables."""

from __future__ import annotations

from vla_bench.bench.records.tables import Cell, Table, percent
from vla_bench.bench.vectors.sampling import Plan


def plan_table(plan: Plan) -> Table:
    """Strata, their share of the episodes, and what was chosen of each."""
    rows = tuple(
        (
            Cell(each.name),
            Cell(str(each.episodes)),
            Cell(percent(each.share)),
            Cell(str(each.samples)),
            Cell(percent(each.samples / len(plan.samples))),
            Cell(str(each.chosen)),
        )
        for each in plan.strata
    )
    columns = ("stratum", "episodes", "share %", "frames", "share of frames %", "episodes chosen")
    drawn = "as many to each" if plan.allocation == "equal" else "in proportion to episodes"
    return Table("Strata", columns, rows, f"By {', '.join(plan.by) or 'nothing'}; frames {drawn}; seed {plan.seed}.")
