"""A training journal as curves and numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

Points = Sequence[tuple[float, float]]
WIDTH, HEIGHT = 720, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 16, 14, 34
MOST = 400
"""Points of a curve; more are averaged."""


def thinned(points: Points, most: int = MOST) -> list[tuple[float, float]]:
    """Means of neighbours, so that no more than ``most`` are left."""
    if len(points) <= most:
        return list(points)
    size = -(-len(points) // most)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(sum(x for x, _ in each) / len(each), sum(y for _, y in each) / len(each)) for each in groups]


def curve_of(lines: Sequence[Mapping[str, Any]], *path: str) -> list[tuple[float, float]]:
    """(step, value) of one number of every line that has it."""
    found = []
    for line in lines:
        value: Any = line
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        if isinstance(value, int | float):
            found.append((float(line["step"]), float(value)))
    return found


def sparkline(values: Sequence[float], width: int = 30) -> str:
    """A curve in one line of text."""
    marks = "▁▂▃▄▅▆▇█"
    means = [y for _, y in thinned([(float(place), value) for place, value in enumerate(values)], width)]
    if not means:
        return ""
    low, high = min(means), max(means)
    return "".join(marks[round((value - low) / (high - low or 1) * (len(marks) - 1))] for value in means)


def chart(curves: Mapping[str, Points], *, dots: bool = False) -> str:
    """Curves over steps as inline SVG, all from one axis; empty when there is nothing to show."""
    shown = {name: thinned(points) for name, points in curves.items() if points}
    if not shown:
        return ""
    everything = [point for points in shown.values() for point in points]
    right = max(x for x, _ in everything) or 1.0
    low, high = min(y for _, y in everything), max(y for _, y in everything)
    low = 0.0 if low > 0 and low < 0.5 * high else low
    high = high if high > low else low + 1.0

    def x(step: float) -> float:
        return round(_LEFT + (WIDTH - _LEFT - _RIGHT) * step / right, 1)

    def y(value: float) -> float:
        return round(_TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - (value - low) / (high - low)), 1)

    said = "; ".join(f"{name}: from {points[0][1]:.4g} to {points[-1][1]:.4g}" for name, points in shown.items())
    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(said)}">']
    for share in (0, 0.25, 0.5, 0.75, 1):
        value = low + share * (high - low)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y(value)}" y2="{y(value)}"/>'
            f'<text class="axis end" x="{_LEFT - 10}" y="{y(value)}" dy=".35em">{value:.3g}</text>'
        )
    for share in (0, 0.5, 1):
        parts.append(
            f'<text class="axis middle" x="{x(right * share)}" y="{HEIGHT - 10}">step {right * share:.0f}</text>'
        )
    for index, (name, points) in enumerate(shown.items()):
        path = " ".join(f"{x(step)},{y(value)}" for step, value in points)
        parts.append(f'<g class="s{index % 6}"><title>{escape(name)}</title><polyline points="{path}"/>')
        if dots or len(points) == 1:
            parts += [
                f'<circle cx="{x(step)}" cy="{y(value)}" r="4"><title>{escape(name)}, step {step:.0f}: {value:.4g}'
                "</title></circle>"
                for step, value in points
            ]
        parts.append("</g>")
    return "".join([*parts, "</svg>"])
