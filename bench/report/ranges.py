"""Numbers with their intervals, one row each below the other, as inline SVG in the colours of the report's page."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from math import floor, log10

from vla_bench.bench.records.statistics import Mean, Rate

WIDTH, ROW = 720, 34
_LEFT, _RIGHT, _TOP, _BOTTOM = 170, 24, 10, 34
_LONGEST = 22
"""Letters of a name that fit beside the axis; the rest is in its tooltip."""


def ranges(rows: Mapping[str, Mean | Rate], control: str = "", *, percent: bool = False) -> str:
    """Each row's value as a dot on its interval; a dashed line goes up and down from the control's.

    Args:
        rows: by name, in the order they are drawn.
        control: name of the row that the others should beat; "" for none.
        percent: the values are shares, and the axis goes to 100 %; else as far as the widest interval. It begins at 0.
    """
    height = _TOP + ROW * len(rows) + _BOTTOM
    end = 1.0 if percent else max((each.high for each in rows.values() if each.n), default=0.0) or 1.0
    step = _step(end)
    end = step * -(-end // step)

    def x(value: float) -> float:
        return round(_LEFT + (WIDTH - _LEFT - _RIGHT) * min(value, end) / end, 1)

    said = "; ".join(f"{name}: {_spoken(each, percent)}" for name, each in rows.items())
    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(said)}">']
    bottom = height - _BOTTOM
    for count in range(round(end / step) + 1):
        at = x(count * step)
        parts.append(
            f'<line class="grid" x1="{at}" x2="{at}" y1="{_TOP}" y2="{bottom}"/>'
            f'<text class="axis middle" x="{at}" y="{height - 12}">{_written(count * step, percent)}</text>'
        )
    if control in rows and rows[control].n:
        at = x(rows[control].value)
        parts.append(f'<g class="t4"><line x1="{at}" x2="{at}" y1="{_TOP}" y2="{bottom}" stroke-dasharray="5 4"/></g>')
    for place, (name, each) in enumerate(rows.items()):
        y = _TOP + ROW * place + ROW // 2
        short = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
        parts.append(
            f'<g class="{"t4" if name == control else "s0"}"><title>{escape(name)}: {_spoken(each, percent)}</title>'
            f'<text class="axis end" x="{_LEFT - 12}" y="{y}" dy=".35em">{escape(short)}</text>'
        )
        if each.n:
            low, high = x(each.low), x(each.high)
            parts.append(
                f'<line x1="{low}" x2="{high}" y1="{y}" y2="{y}"/>'
                f'<line x1="{low}" x2="{low}" y1="{y - 4}" y2="{y + 4}"/>'
                f'<line x1="{high}" x2="{high}" y1="{y - 4}" y2="{y + 4}"/>'
                f'<circle cx="{x(each.value)}" cy="{y}" r="5"/>'
            )
        parts.append("</g>")
    return "".join([*parts, "</svg>"])


def _written(value: float, percent: bool) -> str:
    return f"{100 * value:.3g} %" if percent else f"{value:.3g}"


def _spoken(each: Mean | Rate, percent: bool) -> str:
    value, low, high = (_written(number, percent) for number in (each.value, each.low, each.high))
    return f"{value} [{low}, {high}], n = {each.n}" if each.n else "nothing judged"


def _step(end: float) -> float:
    """Distance of marks: 1, 2 or 5 times a power of ten, so that there are three to seven of them."""
    unit = 10.0 ** floor(log10(end))
    return next(times * unit for times in (0.2, 0.5, 1.0, 2.0) if end / (times * unit) <= 6)
