"""One HTML page: where a policy breaks at a glance, the tables, and broken episodes with both clips side by side."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from vla_bench.bench.records.formats import html_rows
from vla_bench.bench.stress.comparing import Broken, Level
from vla_bench.bench.stress.tables import LISTED, difference_text, tables_of, verdicts, warnings
from vla_bench.bench.video.clips import VIDEOS, read_index

COLOURS = ("#2266aa", "#cc5522", "#228855", "#884499")
_LABELS, _WIDTH, _ROW, _TOP, _SIDE = 330, 860, 20, 34, 20
STYLE = """.stress { overflow-x: auto; padding: 12px }
.stress svg { display: block; width: 100%; min-width: 620px; height: auto }
.clips figure { margin: 0 }"""
"""Beside the report's."""


def picture(policies: Mapping[str, Sequence[Level]]) -> str:
    """An SVG with a row for each level: the difference to the twin with its interval, filled where it counts."""
    names = list(dict.fromkeys(level.name for levels in policies.values() for level in levels))
    every = [level.comparison.average.difference for levels in policies.values() for level in levels]
    low = min(0.0, *(each.low for each in every), -0.1)
    high = max(0.0, *(each.high for each in every), 0.1)
    height = _TOP + _ROW * len(names) + 30

    def x(value: float) -> float:
        return round(_LABELS + (_WIDTH - _LABELS - _SIDE) * (value - low) / (high - low), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" role="img" '
        f'aria-label="Difference to the unchanged twin by level, with 95 % intervals; the numbers are in the table" '
        f'font-family="system-ui,sans-serif" font-size="12"><rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
        f'<line x1="{x(0)}" x2="{x(0)}" y1="{_TOP - 8}" y2="{height - 26}" stroke="#888"/>',
    ]
    for value in (low, 0.0, high):
        parts.append(f'<text x="{x(value)}" y="{height - 10}" text-anchor="middle" fill="#555">{value:+.2f}</text>')
    for index, name in enumerate(policies):
        colour = COLOURS[index % len(COLOURS)]
        at = _LABELS + 160 * index
        parts.append(
            f'<circle cx="{at}" cy="14" r="5" fill="{colour}"/><text x="{at + 10}" y="18">{escape(name)}</text>'
        )
    axis = ""
    for row, name in enumerate(names):
        middle = _TOP + _ROW * row + _ROW / 2
        here = name.partition(":")[0]
        if here != axis and row:
            top = _TOP + _ROW * row
            parts.append(f'<line x1="4" x2="{_WIDTH - 4}" y1="{top}" y2="{top}" stroke="#ddd"/>')
        axis = here
        parts.append(f'<text x="{_LABELS - 10}" y="{middle + 4}" text-anchor="end">{escape(name)}</text>')
        for index, levels in enumerate(policies.values()):
            level = next((each for each in levels if each.name == name), None)
            if level is None:
                continue
            colour, of = COLOURS[index % len(COLOURS)], level.comparison.average.difference
            y = middle + (index - (len(policies) - 1) / 2) * 6
            fill = colour if level.corrected_p < 0.05 else "#fff"
            parts.append(
                f"<g><title>{escape(name)}: {escape(difference_text(level))}, n = {level.comparison.pairs}</title>"
                f'<line x1="{x(of.low)}" x2="{x(of.high)}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="2"/>'
                f'<circle cx="{x(of.value)}" cy="{y}" r="4" fill="{fill}" stroke="{colour}" stroke-width="1.5"/></g>'
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
        f'<figure class="stress" tabindex="0">{picture(policies)}</figure>',
        '<p class="caption">Difference to the unchanged twin with its 95 % interval; filled: below 0.05 after Holm\'s '
        "correction.</p></section>",
    ]
    for table in tables_of(policies):
        caption = f'<p class="caption">{escape(table.caption)}</p>' if table.caption else ""
        rows = f'<div class="scroll" tabindex="0"><table>{html_rows(table)}</table></div>'
        parts.append(f"<section><h2>{escape(table.title)}</h2>{rows}{caption}</section>")
    parts.append("<section><h2>Episodes that broke</h2>")
    for name, levels in policies.items():
        for level in levels:
            if level.broken:
                parts.append(f"<h3>{escape(name)}, {escape(level.name)}</h3>")
                parts += [_episode(level, broken, folder) for broken in level.broken[:LISTED]]
                if len(level.broken) > LISTED:
                    parts.append(f"<p>and {len(level.broken) - LISTED} more</p>")
    return "\n".join([*parts, "</section></main></body></html>"])


def _episode(level: Level, broken: Broken, folder: Path) -> str:
    clips = []
    for what, of in (("unchanged", level.twin), ("changed", level.stressed)):
        clip = next((each for each in read_index(of.folder) if each.episode == broken.episode), None)
        if clip is not None:
            source = os.path.relpath(of.folder / VIDEOS / clip.file, folder)
            still = escape(os.path.relpath(of.folder / VIDEOS / clip.poster, folder)) if clip.poster else ""
            poster = f'poster="{still}" preload="none"' if still else 'preload="metadata"'
            clips.append(
                f'<figure><video controls muted playsinline {poster} src="{escape(source)}" '
                f'aria-label="{escape(broken.episode)}, {what}"></video>'
                f"<figcaption>{what}, “{escape(clip.instruction)}”</figcaption></figure>"
            )
    said = f"{escape(broken.episode)}: {broken.solved} solved unchanged, {broken.under_stress} changed; "
    shown = f'<div class="clips">{"".join(clips)}</div>' if clips else ""
    return f"<p>{said}failed in {escape(broken.subtask)}</p>{shown}"
