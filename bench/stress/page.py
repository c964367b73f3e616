"""One HTML page: where a policy breaks at a glance, the tables, and broken episodes with both clips side by side."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from vla_bench.bench.records.formats import html_rows
from vla_bench.bench.stress.comparing import Broken, Level
from vla_bench.bench.stress.tables import LISTED, difference_text, tables_of, verdicts, warnings
from vla_bench.bench.video.clips import VIDEOS, read_index

COLOURS = ("#2266aa", "#cc5522", "#228855", "#884499")
_TOP, _SIDE, _TICKS = 34, 20, (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
STYLE = """.stress { overflow-x: auto; padding: 12px }
.stress svg { width: 100%; height: auto }
.stress .wide { display: block } .stress .narrow { display: none }
@media (max-width: 640px) { .stress .wide { display: none } .stress .narrow { display: block } }
.clips figure { margin: 0 }
summary small { margin-left: 8px }"""
"""Beside the report's."""
_SVG_STYLE = (
    "text{fill:#1d1f24}.soft{fill:#5d636f}.ground{fill:#fff}.grid{stroke:#e4e2dd}.zero{stroke:#888}.hollow{fill:#fff}"
    "@media (prefers-color-scheme:dark){text{fill:#e8e9ec}.soft{fill:#9aa1ad}.ground{fill:#1c1f25}.grid{stroke:#2d3139}"
    ".hollow{fill:#1c1f25}.c0{--own:#76a3f5}.c1{--own:#f2a154}.c2{--own:#55c7a9}.c3{--own:#b994ee}}"
    + "".join(f".c{index}{{--light:{colour}}}" for index, colour in enumerate(COLOURS))
    + ".own{stroke:var(--own,var(--light))}.solid{fill:var(--own,var(--light))}"
)


class _Shape(NamedTuple):
    """How a picture is laid out, in its own units."""

    name: str
    width: int
    labels: int
    """Where marks begin."""
    row: int
    text: int
    """From a row's top to its text."""
    marks: int
    """And to its marks."""
    legend: int
    """Between policies."""
    ticks: int
    """At most."""


WIDE = _Shape("wide", 860, 300, 20, 14, 10, 160, 8)
NARROW = _Shape("narrow", 400, 16, 40, 14, 27, 120, 5)
"""For a telephone: a label stands above its marks."""


def picture(policies: Mapping[str, Sequence[Level]], shape: _Shape = WIDE) -> str:
    """An SVG with a row for each level: the difference to the twin with its interval, filled where it counts."""
    names = list(dict.fromkeys(level.name for levels in policies.values() for level in levels))
    every = [level.comparison.average.difference for levels in policies.values() for level in levels]
    low = min(0.0, *(each.low for each in every), -0.1)
    high = max(0.0, *(each.high for each in every), 0.1)
    height = _TOP + shape.row * len(names) + 30

    def x(value: float) -> float:
        return round(shape.labels + (shape.width - shape.labels - _SIDE) * (value - low) / (high - low), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{shape.name}" viewBox="0 0 {shape.width} {height}" '
        f'width="{shape.width}" role="img" '
        f'aria-label="Difference to the unchanged twin by level, with 95 % intervals; the numbers are in the table" '
        f'font-family="system-ui,sans-serif" font-size="12"><style>{_SVG_STYLE}</style>'
        f'<rect class="ground" width="{shape.width}" height="{height}"/>',
    ]
    step = next((each for each in _TICKS if (high - low) / each <= shape.ticks), _TICKS[-1])
    for number in range(math.ceil(low / step), math.floor(high / step) + 1):
        at, kind = x(number * step), "grid" if number else "zero"
        parts.append(f'<line class="{kind}" x1="{at}" x2="{at}" y1="{_TOP - 8}" y2="{height - 26}"/>')
        text = f"{number * step:+g}".replace("-", "−") if number else "0"
        parts.append(f'<text class="soft" x="{at}" y="{height - 10}" text-anchor="middle">{text}</text>')
    for index, name in enumerate(policies):
        at = shape.labels + shape.legend * index
        parts.append(
            f'<g class="c{index % len(COLOURS)}"><circle class="own solid" cx="{at}" cy="14" r="4.5"/>'
            f'<text x="{at + 10}" y="18">{escape(name)}</text></g>'
        )
    axis = ""
    for row, name in enumerate(names):
        top = _TOP + shape.row * row
        here = name.partition(":")[0]
        if here != axis and row:
            parts.append(f'<line class="grid" x1="4" x2="{shape.width - 4}" y1="{top}" y2="{top}"/>')
        axis = here
        place = f'x="{shape.labels - 10}" text-anchor="end"' if shape is WIDE else 'x="8"'
        parts.append(f'<text {place} y="{top + shape.text}">{escape(name)}</text>')
        for index, levels in enumerate(policies.values()):
            level = next((each for each in levels if each.name == name), None)
            if level is None:
                continue
            of = level.comparison.average.difference
            y = top + shape.marks + (index - (len(policies) - 1) / 2) * 6
            kind = "solid" if level.corrected_p < 0.05 else "hollow"
            parts.append(
                f'<g class="c{index % len(COLOURS)} mark"><title>{escape(name)}: {escape(difference_text(level))}, '
                f"n = {level.comparison.pairs}</title>"
                f'<line class="own" x1="{x(of.low)}" x2="{x(of.high)}" y1="{y}" y2="{y}" stroke-width="2"/>'
                f'<circle class="own {kind}" cx="{x(of.value)}" cy="{y}" r="4" stroke-width="1.5"/></g>'
            )
    return "".join([*parts, "</svg>"])


def render(policies: Mapping[str, Sequence[Level]], folder: Path) -> str:
    """The page, to lie in ``folder``: clips are linked from there."""
    style = (Path(__file__).parents[1] / "report" / "report.css").read_text(encoding="utf-8")
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><title>Under stress</title>'
        f"<style>{style}{STYLE}</style></head>",
        f'<body><header><p class="eyebrow">{escape(", ".join(filter(None, policies)))}</p><h1>Under stress</h1>',
        *(f'<p class="verdict">{escape(each)}</p>' for each in verdicts(policies)),
        *(f'<p class="note">{escape(note)}</p>' for note in warnings(policies)),
        "</header>\n<main><section>",
        f'<figure class="stress" tabindex="0">{picture(policies)}{picture(policies, NARROW)}</figure>',
        '<p class="caption">Difference to the unchanged twin with its 95 % interval; filled: below 0.05 after Holm\'s '
        "correction.</p></section>",
    ]
    for table in tables_of(policies):
        caption = f'<p class="caption">{escape(table.caption)}</p>' if table.caption else ""
        rows = f'<div class="scroll" tabindex="0"><table>{html_rows(table)}</table></div>'
        parts.append(f"<section><h2>{escape(table.title)}</h2>{rows}{caption}</section>")
    parts.append("<section><h2>Episodes that broke</h2>")
    for name, levels in policies.items():
        broken = sorted((level for level in levels if level.broken), key=lambda level: -len(level.broken))
        parts += [f"<h3>{escape(name)}</h3>"] if broken else []
        for place, level in enumerate(broken):
            parts.append(
                f"<details{'' if place else ' open'}><summary>{escape(level.name)}"
                f"<small>{len(level.broken)} of {level.comparison.pairs}</small></summary>"
            )
            parts += [_episode(level, each, folder) for each in level.broken[:LISTED]]
            if len(level.broken) > LISTED:
                parts.append(f"<p>and {len(level.broken) - LISTED} more</p>")
            parts.append("</details>")
    return "\n".join([*parts, "</section></main></body></html>"])


def _episode(level: Level, broken: Broken, folder: Path) -> str:
    clips = []
    sets = ("unchanged", level.twin), ("changed", level.stressed)
    for (what, of), text in zip(sets, broken.instructions, strict=True):
        clip = next((each for each in read_index(of.folder) if each.episode == broken.episode), None)
        if clip is not None:
            source = os.path.relpath(of.folder / VIDEOS / clip.file, folder)
            still = escape(os.path.relpath(of.folder / VIDEOS / clip.poster, folder)) if clip.poster else ""
            poster = f'poster="{still}" preload="none"' if still else 'preload="metadata"'
            clips.append(
                f'<figure><video controls muted playsinline {poster} src="{escape(source)}" '
                f'aria-label="{escape(broken.episode)}, {what}"></video>'
                f"<figcaption>{what}, “{escape(text)}”</figcaption></figure>"
            )
    said = f"{escape(broken.episode)}: {broken.solved} solved unchanged, {broken.under_stress} changed; "
    shown = f'<div class="clips">{"".join(clips)}</div>' if clips else ""
    return f"<p>{said}failed in {escape(broken.subtask)}</p>{shown}"
