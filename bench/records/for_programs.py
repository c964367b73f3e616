"""Comparisons and rankings for programs: plain data for JSON, and one flat table for CSV. Numbers are numbers, rates
are shares in [0, 1], and what cannot be said is null (JSON) or empty (CSV)."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vla_bench.bench.records.paired import POWER, pairs_needed
from vla_bench.bench.records.statistics import Mean, Rate
from vla_bench.bench.records.summary import summary_to_plain

if TYPE_CHECKING:
    from vla_bench.bench.records.comparison import Comparison
    from vla_bench.bench.records.result_set import ResultSet

COMPARED = ("first", "second", "measure", "name", "n", "value_first", "value_second", "difference", "low", "high")
COMPARED_COLUMNS = (*COMPARED, "p", "corrected_p")
"""Columns of a comparison's flat table. ``measure``: ``average``, ``position`` or ``task``."""
RANKED_COLUMNS = (
    *("table", "rank", "name", "policy", "benchmark", "split", "protocol", "seed", "measure", "n", "value", "low"),
    *("high", "single_task_success", "difference_to_best", "difference_low", "difference_high", "p"),
)
"""Columns of a ranking's flat table. ``measure``: ``average_chain_length`` or ``success``."""


MEASURED = ("row", "policy", "benchmark", "split", "protocol", "seed")
MEASURED_COLUMNS = (*MEASURED, "measure", "name", "scene", "n", "value", "low", "high")
"""Columns of the numbers of result sets. ``measure``: ``average``, ``position`` or ``task``; ``row``: an ablation's."""


def as_json(plain: Any) -> str:
    """Text of plain data, strict JSON."""
    return json.dumps(_finite(plain), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def as_csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """One table with one header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_finite(list(rows)))
    return text.getvalue()


def comparison_to_plain(of: Comparison, wanted: float) -> dict[str, Any]:
    """A comparison, whole; ``wanted`` is the difference that a number of episodes is named for."""
    deviation = of.average.deviation
    needed = pairs_needed(wanted, deviation) if deviation and not math.isnan(deviation) else None
    return {
        "first": of.first,
        "second": of.second,
        "benchmark": of.benchmark,
        "kind": of.kind,
        "verdict": of.verdict,
        "better": {1: of.second, -1: of.first, 0: None}[of.average.sign],
        "n": of.pairs,
        "unjudged": of.unjudged,
        "unshared": of.unshared,
        "average": {
            "first": of.averages[0],
            "second": of.averages[1],
            "difference": _mean(of.average.difference),
            "p": of.average.p,
            "deviation": deviation,
        },
        "episodes_needed": {"difference": wanted, "power": POWER, "n": needed},
        "bounds": None if of.bounds is None else {"low": of.bounds.low, "high": of.bounds.high},
        "positions": [
            {"length": each.length, "first": _rate(each.first), "second": _rate(each.second), **_pairs(each.pairs)}
            for each in of.positions
        ],
        "tasks": {
            each.task: {
                "first": _rate(each.first),
                "second": _rate(each.second),
                **_pairs(each.pairs),
                "corrected_p": each.corrected_p,
            }
            for each in of.tasks
        },
        "differing_fields": [str(each) for each in of.fields],
        "notes": list(of.notes),
    }


def comparison_rows(found: Sequence[Comparison]) -> list[dict[str, Any]]:
    """All differences as rows of :data:`COMPARED_COLUMNS`."""
    rows: list[dict[str, Any]] = []
    for of in found:
        names = {"first": of.first, "second": of.second}
        difference = of.average.difference
        rows.append(
            {
                **names,
                "measure": "average",
                "name": "average_chain_length" if of.kind == "chains" else "success",
                "n": of.pairs,
                "value_first": of.averages[0],
                "value_second": of.averages[1],
                "difference": difference.value,
                "low": difference.low,
                "high": difference.high,
                "p": of.average.p,
            }
        )
        positions = [("position", f"{each.length}/{of.longest}", each, None) for each in of.positions]
        tasks = [("task", each.task, each, each.corrected_p) for each in of.tasks]
        for measure, name, each, corrected in (*(positions if of.longest > 1 else ()), *tasks):
            rows.append(
                {
                    **names,
                    "measure": measure,
                    "name": name,
                    "n": each.pairs.n,
                    "value_first": each.first.value,
                    "value_second": each.second.value,
                    "difference": each.pairs.difference.value,
                    "low": each.pairs.difference.low,
                    "high": each.pairs.difference.high,
                    "p": each.pairs.p,
                    "corrected_p": corrected,
                }
            )
    return rows


def ranking_rows(groups: Sequence[Mapping[str, ResultSet]]) -> list[dict[str, Any]]:
    """Rankings as rows of :data:`RANKED_COLUMNS`; ``table`` counts those that may not be compared with each other.

    Args:
        groups: each best first, as :func:`vla_bench.bench.records.overview.ranked_groups` makes them.
    """
    return [
        {"table": table, "rank": rank, "name": name, **_ranked(each, next(iter(group.values())))}
        for table, group in enumerate(groups, start=1)
        for rank, (name, each) in enumerate(group.items(), start=1)
    ]


def results_to_plain(of: ResultSet) -> dict[str, Any]:
    """What was measured, and what came out."""
    return {"folder": str(of.folder), **summary_to_plain(of.summary), "facts": of.header["protocol"]["facts"]}


def result_rows(of: ResultSet, row: str | None = None) -> list[dict[str, Any]]:
    """The numbers of a result set as rows of :data:`MEASURED_COLUMNS`."""
    summary = of.summary
    number = summary.chain.average if summary.chain else summary.overall
    rates = summary.chain.rates if summary.chain else ()
    name = "average_chain_length" if summary.chain else "success"
    found: list[tuple[str, str, str, Rate | Mean]] = [] if number is None else [("average", name, "", number)]
    found += [("position", f"{place}/{len(rates)}", "", each) for place, each in enumerate(rates, start=1)]
    found += [("task", each.task, each.scene, each.rate) for each in (*summary.tasks, *summary.cells)]
    about = {name: getattr(summary, name) for name in ("policy", "benchmark", "split", "protocol", "seed")}
    return [
        {
            **({} if row is None else {"row": row}),
            **about,
            **{"measure": measure, "name": name, "scene": scene or None, "n": each.n, "value": each.value},
            **{"low": each.low, "high": each.high},
        }
        for measure, name, scene, each in found
    ]


def _ranked(of: ResultSet, best: ResultSet) -> dict[str, Any]:
    from vla_bench.bench.errors import ResultSetError
    from vla_bench.bench.records.comparison import compare

    summary = of.summary
    number = summary.chain.average if summary.chain else summary.overall
    assert number is not None
    row: dict[str, Any] = {
        name: getattr(summary, name) for name in ("policy", "benchmark", "split", "protocol", "seed")
    }
    row["measure"] = "average_chain_length" if summary.chain else "success"
    row |= {name: getattr(number, name) for name in ("n", "value", "low", "high")}
    row["single_task_success"] = summary.chain.rates[0].value if summary.chain else None
    if of is best:
        return row
    try:
        found = compare(best, of, names=("best", "this"), anyway=True).average
    except ResultSetError:  # no episode in common
        return row
    difference = found.difference
    row |= {"difference_to_best": difference.value, "difference_low": difference.low}
    return row | {"difference_high": difference.high, "p": found.p}


def _rate(of: Rate) -> dict[str, Any]:
    return {"rate": of.value, "successes": of.successes, "n": of.n, "low": of.low, "high": of.high}


def _mean(of: Mean) -> dict[str, Any]:
    return {"value": of.value, "n": of.n, "low": of.low, "high": of.high}


def _pairs(of: Any) -> dict[str, Any]:
    return {"n": of.n, "only_first": of.first, "only_second": of.second, "difference": _mean(of.difference), "p": of.p}


def _finite(value: Any) -> Any:
    """NaN and infinity are None: neither JSON nor a table has them."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(name): _finite(each) for name, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value
