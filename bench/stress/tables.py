"""Levels of stress as a person reads them: one table for each policy, or policies side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vla_bench.bench.records.comparison_tables import difference_cell, p_value
from vla_bench.bench.records.formats import markdown
from vla_bench.bench.records.tables import Cell, Table
from vla_bench.bench.stress.comparing import Level

_NAMED = 4
"""Levels that a verdict names, the worst first."""
LISTED = 5
"""Broken episodes that are named for each level."""
CAPTION = (
    "Paired with the unchanged twin over the episodes that both judged; 95 % BCa bootstrap interval; p of the exact "
    "sign-flip test, after Holm's correction for all levels of the table. Bold: below 0.05."
)


def stress_table(name: str, levels: Sequence[Level]) -> Table:
    """Axis by level for one policy."""
    chains = levels[0].comparison.kind == "chains"
    rows = []
    for level in levels:
        of = level.comparison
        before, after = (f"{each:.2f}" if chains else f"{100 * each:.1f}" for each in of.averages)
        rows.append(
            (
                Cell(level.name),
                Cell(str(of.pairs)),
                Cell(before),
                Cell(after),
                difference_cell(of.average.difference, chains=chains),
                Cell(p_value(level.corrected_p), best=level.corrected_p < 0.05),
                Cell(str(len(level.broken))),
            )
        )
    what = "average chain length" if chains else "success, %"
    columns = ("change", "n", "unchanged", "changed", "difference", "p (Holm)", "episodes worse")
    return Table(f"{name}: {what} under stress", columns, tuple(rows), CAPTION)


def side_by_side(policies: Mapping[str, Sequence[Level]]) -> Table:
    """The differences of several policies, level by level; a dash where one has not been tried."""
    names = list(dict.fromkeys(level.name for levels in policies.values() for level in levels))
    rows = []
    for name in names:
        row = [Cell(name)]
        for levels in policies.values():
            level = next((each for each in levels if each.name == name), None)
            if level is None:
                row += [Cell("–"), Cell("–")]
                continue
            chains = level.comparison.kind == "chains"
            row.append(difference_cell(level.comparison.average.difference, chains=chains))
            row.append(Cell(p_value(level.corrected_p), best=level.corrected_p < 0.05))
        rows.append(tuple(row))
    columns = ["change"]
    for policy in policies:
        columns += [f"{policy}, difference", "p (Holm)"]
    return Table("Differences to each policy's own unchanged twin", tuple(columns), tuple(rows), CAPTION)


def tables_of(policies: Mapping[str, Sequence[Level]]) -> list[Table]:
    """All tables: side by side where there are several policies, then each."""
    each = [stress_table(name, levels) for name, levels in policies.items()]
    return [side_by_side(policies), *each] if len(policies) > 1 else each


def verdicts(policies: Mapping[str, Sequence[Level]]) -> list[str]:
    """A sentence for each policy: where it breaks."""
    lines = []
    for name, levels in policies.items():
        worst = sorted(
            (each for each in levels if each.breaks), key=lambda each: each.comparison.average.difference.value
        )
        said = "; ".join(f"{each.name} ({difference_text(each)})" for each in worst[:_NAMED])
        if len(worst) > _NAMED:
            said += f"; and {len(worst) - _NAMED} more of the {len(levels)} changes"
        lines.append(f"{name} breaks under {said}." if worst else f"{name}: no change made it worse beyond chance.")
    return lines


def difference_text(level: Level) -> str:
    """The difference with its interval in a line."""
    cell = difference_cell(level.comparison.average.difference, chains=level.comparison.kind == "chains")
    return f"{cell.text} [{cell.interval[0]}, {cell.interval[1]}]" if cell.interval else cell.text


def warnings(policies: Mapping[str, Sequence[Level]]) -> list[str]:
    """What has to be known before the numbers, beside what is changed itself."""
    notes = [note for levels in policies.values() for level in levels for note in level.twin.summary.notes]
    for name, levels in policies.items():
        for level in levels:
            if level.comparison.unjudged:
                notes.append(f"{name}, {level.name}: {level.comparison.unjudged} episodes could not be judged")
    return list(dict.fromkeys(notes))


def to_markdown(policies: Mapping[str, Sequence[Level]]) -> str:
    """A whole Markdown document."""
    lines = ["# Under stress", "", *(f"**{each}**\n" for each in verdicts(policies))]
    lines += [f"> {note}\n" for note in warnings(policies)]
    lines += [markdown(table) for table in tables_of(policies)]
    lines += ["## Episodes that broke", ""]
    for name, levels in policies.items():
        for level in levels:
            if level.broken:
                said = ", ".join(f"{b.episode} ({b.solved} → {b.under_stress})" for b in level.broken[:LISTED])
                more = f", and {len(level.broken) - LISTED} more" if len(level.broken) > LISTED else ""
                lines.append(f"- {name}, {level.name}: {said}{more}")
    return "\n".join(lines) + "\n"
