"""Fills the report's template: one HTML file with its style, script and data inside."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_bench.bench.records.comparison import Comparison
from vla_bench.bench.records.comparison_tables import comparison_tables, verdict, warnings
from vla_bench.bench.records.provenance import now
from vla_bench.bench.records.tables import tables
from vla_bench.bench.report import content
from vla_bench.bench.report.alone import clips_of
from vla_bench.bench.report.chart import survival

if TYPE_CHECKING:
    from vla_bench.bench.records.result_set import ResultSet

_HERE = Path(__file__).parent
LONG_TABLE = 12
"""Rows above which a table is folded."""
MANY = 3
"""Sets above which they stand in a table instead of each by itself."""


def render(sets: Mapping[str, ResultSet], comparisons: Sequence[Comparison] = ()) -> str:
    """The report of one result set, or of several and how they compare.

    Args:
        sets: by the name they have in the report.
        comparisons: of each later set with the first.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    seen = [clips_of(each) for each in sets.values()]
    alone = content.alone(sets, seen) if comparisons else []
    names = [
        [each["episode"] for direction in alone for each in direction["shown"] if _shows(each, place)]
        for place in range(len(sets))
    ]
    clips = [
        content.clips(each, there, content.CLIPS_BUDGET // len(sets), shown)
        for each, there, shown in zip(sets.values(), seen, names, strict=True)
    ]
    shown = [[*more, *(clip["episode"] for clip in each)] for more, each in zip(names, clips, strict=True)]
    plain = {**content.episode_data(sets), "clips": shown}
    data = json.dumps(plain, separators=(",", ":"), ensure_ascii=False)
    rates = content.rates_of(sets)
    first = next(iter(sets.values()))
    many = len(sets) > MANY
    if comparisons:
        detail = comparison_tables(comparisons)
        notes = warnings(comparisons)
    else:
        detail = tables(first.summary)[:-1]
        notes = list(first.summary.notes)
    return environment.get_template("report.html.jinja").render(
        title=f"{f'{len(sets)} rows' if many else ' and '.join(sets)} on {first.summary.benchmark}",
        many=many,
        overview=content.overview(sets, comparisons) if many else None,
        places={name: place for place, name in enumerate(sets)},
        benchmark=first.summary.benchmark,
        verdicts=[verdict(each) for each in comparisons],
        notes=notes,
        sets=[
            {
                "name": name,
                "policy": each.summary.policy,
                "conditions": content.conditions_line(each),
                "numbers": content.key_numbers(each),
                "time": content.time_parts(each),
                "failures": content.failures(each),
                "clips": shown,
                "provenance": content.provenance(each),
            }
            for (name, each), shown in zip(sets.items(), clips, strict=True)
        ],
        alone=alone,
        noun="sequences" if first.summary.chain else "trials",
        survival=Markup(survival(rates)) if rates else "",
        bars=content.task_bars(sets),
        never=content.never_tried(sets),
        tables=detail,
        long_table=LONG_TABLE,
        made=now()[:16].replace("T", " "),
        style=Markup((_HERE / "report.css").read_text(encoding="utf-8")),
        script=Markup((_HERE / "report.js").read_text(encoding="utf-8")),
        data=Markup(data.replace("<", "\\u003c")),
    )


def _shows(pair: Mapping[str, Any], place: int) -> bool:
    """Whether the clip of the set at ``place`` is embedded with this pair."""
    return any(side["set"] == place and side["clip"] for side in pair["sides"])
