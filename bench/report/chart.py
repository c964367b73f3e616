"""The chain-survival chart as inline SVG; colours and sizes of text are the page's style sheet's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from vla_bench.bench.records.statistics import Rate

WIDTH, HEIGHT = 720, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 16, 18, 44
_APART, _SPREAD = 9, 96
"""Units between the points of two sets, so that their intervals do not cover each other; and of all together at most,
which is less than from one length to the next."""


def survival(series: Mapping[str, Sequence[Rate]]) -> str:
    """Share of sequences with at least 1, 2, … subtasks solved in a row, one line per set.

    Args:
        series: by name, the rates of :class:`vla_bench.bench.records.statistics.ChainTable`; all of one length.
    """
    longest = max(len(rates) for rates in series.values())

    def x(length: int, index: int = 0) -> float:
        aside = (index - (len(series) - 1) / 2) * min(_APART, _SPREAD / len(series))
        inner = WIDTH - _LEFT - _RIGHT
        return round(_LEFT + inner * (length - 0.5) / longest + aside, 1)

    def y(share: float) -> float:
        return round(_TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - share), 1)

    said = "; ".join(
        f"{name}: {', '.join(f'{100 * each.value:.1f} %' for each in rates)}" for name, rates in series.items()
    )
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="Share of sequences by subtasks solved in a row. {escape(said)}">'
    ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y(share)}" y2="{y(share)}"/>'
            f'<text class="axis end" x="{_LEFT - 10}" y="{y(share)}" dy=".35em">{100 * share:.0f} %</text>'
        )
    for length in range(1, longest + 1):
        middle = (x(length) + x(length, len(series) - 1)) / 2
        parts.append(f'<text class="axis middle" x="{middle:.1f}" y="{HEIGHT - 14}">{length}/{longest}</text>')
    for index, (name, rates) in enumerate(series.items()):
        points = [(x(k, index), each) for k, each in enumerate(rates, start=1)]
        path = " ".join(f"{at},{y(each.value)}" for at, each in points)
        parts.append(f'<g class="s{index % 6} v{index // 6 % 3}"><polyline points="{path}"/>')
        for k, (at, each) in enumerate(points, start=1):
            low, high = y(each.low), y(each.high)
            parts.append(
                f"<g><title>{escape(name)}, {k}/{longest}: {100 * each.value:.1f} % "
                f"[{100 * each.low:.1f}, {100 * each.high:.1f}], n = {each.n}</title>"
                f'<line x1="{at}" x2="{at}" y1="{low}" y2="{high}"/>'
                f'<line x1="{at - 4}" x2="{at + 4}" y1="{low}" y2="{low}"/>'
                f'<line x1="{at - 4}" x2="{at + 4}" y1="{high}" y2="{high}"/>'
                f'<circle cx="{at}" cy="{y(each.value)}" r="4.5"/></g>'
            )
        parts.append("</g>")
    return "".join([*parts, "</svg>"])
