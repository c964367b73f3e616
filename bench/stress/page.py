"""One HTML page: where a policy breaks at a glance, the tables, and broken episodes with both clips side by side."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from vla_bench.bench.records.formats import html
from vla_bench.bench.stress.comparing import Broken, Level
from vla_bench.bench.stress.tables import LISTED, difference_text, tables_of, verdicts, warnings
from vla_bench.bench.video.clips import VIDEOS, read_index

COLOURS = ("#2266aa", "#cc5522", "#228855", "#884499")
_LABELS, _WIDTH, _ROW, _TOP, _SIDE = 330, 860, 20, 34, 20
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .6rem;text-align:right;border-bottom:1px solid #8884}
td:first-child,th:first-child{text-align:left}caption{font-weight:600;text-align:left}
figure{display:inline-block;margin:.5rem 1rem .5rem 0}video{width:24rem;max-width:100%}"""


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
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Under stress</title>',
        f"<style>{STYLE}</style><h1>Under stress</h1>",
        *(f"<p><b>{escape(each)}</b></p>" for each in verdicts(policies)),
        *(f"<p>{escape(note)}</p>" for note in warnings(policies)),
        picture(policies),
        "<p><small>Difference to the unchanged twin with its 95 % interval; filled: below 0.05 after Holm's "
        "correction.</small></p>",
        *(html(table) for table in tables_of(policies)),
        "<h2>Episodes that broke</h2>",
    ]
    for name, levels in policies.items():
        for level in levels:
            if level.broken:
                parts.append(f"<h3>{escape(name)}, {escape(level.name)}</h3>")
                parts += [_episode(level, broken, folder) for broken in level.broken[:LISTED]]
                if len(level.broken) > LISTED:
                    parts.append(f"<p>and {len(level.broken) - LISTED} more</p>")
    return "\n".join([*parts, "</html>"])


def _episode(level: Level, broken: Broken, folder: Path) -> str:
    clips = []
    for what, of in (("unchanged", level.twin), ("changed", level.stressed)):
        clip = next((each for each in read_index(of.folder) if each.episode == broken.episode), None)
        if clip is not None:
            source = os.path.relpath(of.folder / VIDEOS / clip.file, folder)
            clips.append(
                f'<figure><video controls preload="none" src="{escape(source)}"></video>'
                f"<figcaption>{what}, “{escape(clip.instruction)}”</figcaption></figure>"
            )
    said = f"{escape(broken.episode)}: {broken.solved} solved unchanged, {broken.under_stress} changed; "
    return f"<p>{said}failed in {escape(broken.subtask)}</p>{''.join(clips)}"
