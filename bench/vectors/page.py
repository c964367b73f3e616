"""The report of one extraction, or of two: one HTML file, and Markdown to paste."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vla_bench.bench.records.conditions import flat as flat_facts
from vla_bench.bench.records.formats import markdown
from vla_bench.bench.records.provenance import now
from vla_bench.bench.records.tables import Table
from vla_bench.bench.vectors import charts
from vla_bench.bench.vectors.comparison import Compared, compare
from vla_bench.bench.vectors.comparison import enough as enough_to_compare
from vla_bench.bench.vectors.embedding import Map, chosen, maps
from vla_bench.bench.vectors.intervals import Estimate
from vla_bench.bench.vectors.statistics import FEW, curve, dimensions, effective_rank, enough, flat, overall
from vla_bench.bench.vectors.store import Extraction
from vla_bench.bench.vectors.tables import comparison_tables, description, names_of

_HERE = Path(__file__).parent
_STYLES = (_HERE.parent / "report" / "report.css", _HERE / "vectors.css")
PICTURES_BUDGET = 6_000_000
"""Bytes of pictures, as text, that a page holds; points beyond have none."""
SHOWN = 12
"""Dimensions whose distributions are drawn."""
LONG_TABLE = 12


def report(
    found: Sequence[Extraction],
    place: str,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[str, str]:
    """HTML and Markdown of one place of one extraction, or of two of the same frames. Errors as :func:`compare`."""
    names, steps = names_of(found), len(found) + 1
    on_progress(0, steps)
    compared = compare(found[0], found[1], place) if len(found) > 1 else None
    values = [flat(each.vectors(place)) for each in found]
    tables = comparison_tables(found[0], found[1], place, compared) if compared else []
    described = [description(each, place) for each in found]
    verdicts = _verdicts(names, values, found, compared)
    kept, made = chosen(len(values[0]), seed), []
    for number, each in enumerate(values, start=1):
        on_progress(number, steps)
        made.append(maps(each[kept], seed))
    on_progress(steps, steps)
    shown = [*tables, *(table for of in described for table in of)]
    page = _page(found, names, place, values, compared, shown, verdicts, kept, made)
    text = [f"# Context vectors of {' and '.join(names)} at {place}", "", *(f"{each}\n" for each in verdicts)]
    text += [markdown(table) for table in (*tables, *(t for of in described for t in of))]
    text += [f"- {name}: {_made(each)}" for name, each in zip(names, found, strict=True)]
    return page, "\n".join(text) + "\n"


def _verdicts(
    names: Sequence[str], values: Sequence[np.ndarray], found: Sequence[Extraction], compared: Compared | None
) -> list[str]:
    if compared is None:
        return [enough(overall(values[0], list(found[0].rows["episode"])), len(values[0]))]
    cka, angle = compared.cka, compared.cosine
    first = f"{names[0]} and {names[1]} have {_told('a linear CKA', cka)}"
    if compared.p is None or angle is None:
        widths = " and ".join(str(each.shape[1]) for each in values)
        return [
            f"{first}. Their widths differ ({widths}), so nothing is said by dimension or by frame.",
            enough_to_compare(compared, len(values[0])),
        ]
    changed = int((compared.p < 0.05).sum())
    return [
        f"{first}; a frame's two vectors have {_told('a mean cosine', angle)}, "
        f"and {changed} of {values[0].shape[1]} dimensions differ.",
        enough_to_compare(compared, len(values[0])),
    ]


def _told(what: str, of: Estimate) -> str:
    if math.isnan(of.value):
        return "no linear CKA, since one of them does not vary"
    ends = f" [{of.low:.3f}, {of.high:.3f}]" if math.isfinite(of.half) else ""
    return f"{what} of {of.value:.3f}{ends}"


def _page(
    found: Sequence[Extraction],
    names: Sequence[str],
    place: str,
    values: Sequence[np.ndarray],
    compared: Compared | None,
    tables: Sequence[Table],
    verdicts: Sequence[str],
    kept: np.ndarray,
    made: Sequence[Sequence[Map]],
) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    data = json.dumps(_data(found[0], names, kept, made), separators=(",", ":"), ensure_ascii=False)
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    same = len({each.shape[1] for each in values}) == 1
    return environment.get_template("vectors.html.jinja").render(
        title=f"Context vectors of {' and '.join(names)}",
        names=names,
        place=place,
        verdicts=verdicts,
        sets=[
            {
                "name": name,
                "cards": _cards(each, of),
                "made": _made(of),
                "facts": list(flat_facts(dict(of.about)).items()),
            }
            for name, each, of in zip(names, values, found, strict=True)
        ],
        frames=len(values[0]),
        points=len(kept),
        methods=[(each.method, each.told, each.places is not None) for each in made[0]],
        whole=[Markup(charts.all_values([each], [name])) for each, name in zip(values, names, strict=True)]
        if not same
        else [Markup(charts.all_values(values, names))],
        small=[Markup(each) for each in _distributions(values, names, compared)] if same else [],
        why="changed most" if compared else "carry most",
        heat=[(name, Markup(drawn)) for name, drawn in _heat(values, names, found[0], same=same)],
        curves=[Markup(each) for each in _curves(values, names, found, compared)],
        tables=tables,
        long_table=LONG_TABLE,
        compared=compared is not None,
        stamp=now()[:16].replace("T", " "),
        style=Markup("\n".join(each.read_text(encoding="utf-8") for each in _STYLES)),
        script=Markup((_HERE / "vectors.js").read_text(encoding="utf-8")),
        data=Markup(data.replace("<", "\\u003c")),
    )


def _cards(values: np.ndarray, of: Extraction) -> list[tuple[str, str, str]]:
    whole, broken = overall(values, list(of.rows["episode"])), dimensions(values)
    cards = [
        (name, f"{whole[name].value:.3f}", f"{whole[name].low:.3f} – {whole[name].high:.3f}")
        for name in ("mean", "deviation")
    ]
    cards.append(("largest value", f"{values.max():.2f}", f"smallest {values.min():.2f}"))
    cards.append(("effective rank", f"{effective_rank(values):.1f}", f"of {values.shape[1]} dimensions"))
    kinds = {name: len(getattr(broken, name)) for name in ("dead", "constant", "saturated", "outlier")}
    told = ", ".join(f"{count} {name}" for name, count in kinds.items() if count)
    looked_for = "none dead, constant, saturated, outlier" if len(values) >= FEW else "too few frames to tell"
    cards.append(("dimensions out of order", str(sum(kinds.values())), told or looked_for))
    return cards


def _made(of: Extraction) -> str:
    about, identity = of.about, of.about["identity"]
    plan = about.get("plan") or {}
    source = about.get("source") or {}
    return (
        f"{about.get('policy', 'a policy')}, {len(of.rows)} frames of {source.get('name', 'a source')} "
        f"(digest {source.get('digest', 'unknown')}), stratified by {', '.join(plan.get('by') or ()) or 'nothing'}, "
        f"seed {plan.get('seed', 0)}; frames {identity['frames']}"
    )


def _data(of: Extraction, names: Sequence[str], kept: np.ndarray, made: Sequence[Sequence[Map]]) -> dict[str, Any]:
    rows = of.rows.iloc[kept]
    words = {
        name: sorted({str(each) for each in rows[name]}) for name in ("task", "scene", "instruction") if name in rows
    }
    number = {name: {word: place for place, word in enumerate(found)} for name, found in words.items()}
    room = PICTURES_BUDGET
    points = []
    for row in rows.to_dict("records"):
        picture = ""
        if row.get("picture"):
            picture = base64.b64encode(row["picture"]).decode()
            room -= len(picture)
            picture = picture if room >= 0 else ""
        success = row.get("success")
        points.append(
            [
                str(row["episode"]),
                int(row["frame"]),
                *(number[name][str(row[name])] if name in number else -1 for name in ("task", "scene", "instruction")),
                -1 if success is None or success != success else int(success),
                round(float(row.get("position") or 0), 3),
                picture,
            ]
        )
    return {
        "names": list(names),
        "words": words,
        "points": points,
        "maps": {
            one.method: [_placed(of_method.places) for of_method in each]
            for each in zip(*made, strict=True)
            for one in each[:1]
            if all(of_method.places is not None for of_method in each)
        },
    }


def _placed(places: np.ndarray | None) -> list[list[int]]:
    """Whole numbers from 0 to 1000, both axes on one scale."""
    assert places is not None
    middle = (places.max(0) + places.min(0)) / 2
    reach = float((places.max(0) - places.min(0)).max()) / 2 or 1.0
    return np.rint(500 + 470 * (places - middle) / reach).astype(int).tolist()


def _distributions(values: Sequence[np.ndarray], names: Sequence[str], compared: Compared | None) -> list[str]:
    if compared is not None and compared.by_dimension is not None:
        most = (-compared.by_dimension.wasserstein).argsort(kind="stable")[:SHOWN].tolist()
    else:
        most = (-(values[0] ** 2).mean(0)).argsort(kind="stable")[:SHOWN].tolist()
    return [charts.one_dimension([each[:, one] for each in values], names, f"dimension {one}") for one in most]


def _heat(values: Sequence[np.ndarray], names: Sequence[str], of: Extraction, *, same: bool) -> list[tuple[str, str]]:
    tasks = of.rows["task"].to_numpy().astype(str)
    first = charts.order_of(values[0], tasks)
    orders = [first if same else (charts.order_of(each, tasks)[0], first[1]) for each in values]
    return [
        (name, charts.by_task(each, tasks, order, name))
        for name, each, order in zip(names, values, orders, strict=True)
    ]


def _curves(
    values: Sequence[np.ndarray], names: Sequence[str], found: Sequence[Extraction], compared: Compared | None
) -> list[str]:
    of: list[Mapping[int, Any]] = [
        dict(curve(each, list(one.rows["episode"]))) for each, one in zip(values, found, strict=True)
    ]
    drawn = []
    for statistic in ("mean", "deviation", "length"):
        lines = [
            (number, name, [(n, numbers[statistic]) for n, numbers in points.items()])
            for number, (name, points) in enumerate(zip(names, of, strict=True))
        ]
        drawn.append(charts.against_n(statistic, lines))
    if compared is not None:
        drawn.append(charts.against_n("linear CKA", [(2, "both", [(n, cka) for n, cka, _ in compared.curve])]))
        angles = [(n, angle) for n, _, angle in compared.curve if angle is not None]
        if angles:
            drawn.append(charts.against_n("mean cosine", [(2, "both", angles)]))
    return drawn
