"""Pictures as inline SVG, in the colours of the reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

import numpy as np

from vla_bench.bench.vectors.intervals import Estimate
from vla_bench.bench.vectors.sampling import Plan

Scale = Callable[[float], float]
WIDTH = 720
SMALL = (230, 150)
"""Width and height of one of several small charts."""
DIMENSIONS = 48
"""Columns of a heat map."""


def plan_picture(plan: Plan) -> str:
    """A file of its own: share of each stratum among the episodes (outline) and among the frames (filled)."""
    row, name = 18, 330
    height = row * len(plan.strata) + 40
    most = max(max(each.share, each.samples / len(plan.samples)) for each in plan.strata)
    scale = (WIDTH - name - 70) / most
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        'font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        '<text x="10" y="18" font-size="13">Filled: share of the chosen frames; outline: share of the episodes</text>',
    ]
    for number, each in enumerate(plan.strata):
        y, taken = 30 + row * number, each.samples / len(plan.samples)
        parts.append(
            f'<text x="{name - 8}" y="{y + 11}" text-anchor="end">{escape(each.name)}</text>'
            f'<rect x="{name}" y="{y + 2}" width="{taken * scale:.1f}" height="12" fill="#2c66d3"/>'
            f'<rect x="{name}" y="{y + 2}" width="{each.share * scale:.1f}" height="12" fill="none" stroke="#d9730d"/>'
            f'<text x="{name + max(taken, each.share) * scale + 6:.1f}" y="{y + 11}">{each.samples}</text>'
        )
    return "".join([*parts, "</svg>\n"])


def all_values(values: Sequence[np.ndarray], names: Sequence[str]) -> str:
    """Histograms of all numbers of each (n, d), over each other; counts on a logarithmic axis, so that tails show."""
    low, high = min(float(each.min()) for each in values), max(float(each.max()) for each in values)
    edges = np.linspace(low, high if high > low else low + 1, 81)
    shares = [np.histogram(each, edges)[0] / each.size for each in values]
    least = min(float(each[each > 0].min()) for each in shares)
    bottom, top = min(np.floor(np.log10(least)), -1.0), 0.0
    left, right, above, below, height = 108, 16, 14, 40, 300

    def x(value: float) -> float:
        return left + (WIDTH - left - right) * (value - edges[0]) / (edges[-1] - edges[0])

    def y(share: float) -> float:
        at = (np.log10(share) - bottom) / (top - bottom) if share > 0 else 0.0
        return above + (height - above - below) * (1 - at)

    said = "; ".join(
        f"{name}: from {each.min():.4g} to {each.max():.4g}" for name, each in zip(names, values, strict=True)
    )
    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="All values. {escape(said)}">']
    for power in range(int(bottom), 1):
        at = y(10.0**power)
        parts.append(
            f'<line class="grid" x1="{left}" x2="{WIDTH - right}" y1="{at:.1f}" y2="{at:.1f}"/>'
            f'<text class="end" x="{left - 8}" y="{at:.1f}" dy=".35em">{_share(power)}</text>'
        )
    for value in _ticks(float(edges[0]), float(edges[-1]), 5):
        parts.append(f'<text class="middle" x="{x(value):.1f}" y="{height - 12}">{value:g}</text>')
    for number, share in enumerate(shares):
        parts.append(_steps(edges, share, x, y, y(0), f"s{number % 6}", names[number]))
    return "".join([*parts, "</svg>"])


def one_dimension(values: Sequence[np.ndarray], names: Sequence[str], title: str) -> str:
    """Histograms of one dimension of each, (n,), over each other."""
    width, height = SMALL
    low, high = min(float(each.min()) for each in values), max(float(each.max()) for each in values)
    edges = np.linspace(low, high if high > low else low + 1, 31)
    shares = [np.histogram(each, edges)[0] / len(each) for each in values]
    most = max(float(each.max()) for each in shares)

    def x(value: float) -> float:
        return 8 + (width - 16) * (value - edges[0]) / (edges[-1] - edges[0])

    def y(share: float) -> float:
        return 26 + (height - 50) * (1 - share / most)

    parts = [
        f'<svg class="chart small" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
        f'<text class="name" x="8" y="15">{escape(title)}</text>'
        f'<line class="grid" x1="8" x2="{width - 8}" y1="{y(0):.1f}" y2="{y(0):.1f}"/>'
        f'<text x="8" y="{height - 7}">{low:.3g}</text>'
        f'<text class="end" x="{width - 8}" y="{height - 7}">{high:.3g}</text>'
    ]
    for number, share in enumerate(shares):
        parts.append(_steps(edges, share, x, y, y(0), f"s{number % 6}", names[number]))
    return "".join([*parts, "</svg>"])


def against_n(title: str, series: Sequence[tuple[int, str, Sequence[tuple[int, Estimate]]]]) -> str:
    """A statistic of the first n frames, with intervals: by number of colour, name, and points; n doubles."""
    width, height = 340, 220
    left, right, above, below = 58, 14, 34, 30
    points = [point for _, _, line in series for point in line]
    sizes = sorted({n for n, _ in points})
    ends = [end for _, each in points for end in (each.low, each.high) if np.isfinite(end)]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    if not high - low > 1e-9 * max(abs(low), abs(high)):
        low, high = low - 0.5, high + 0.5
    left = max(left, 14 + 8 * max(len(f"{value:g}") for value in _ticks(low, high, 4)))
    first, last = np.log2(sizes[0]), np.log2(sizes[-1]) if len(sizes) > 1 else np.log2(sizes[0]) + 1

    def x(n: int, number: int) -> float:
        return left + 8 + (width - left - right - 16) * (np.log2(n) - first) / (last - first) + 6 * number

    def y(value: float) -> float:
        return above + (height - above - below) * (1 - (value - low) / (high - low))

    parts = [
        f'<svg class="chart small" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)} against n">'
        f'<text class="name" x="8" y="16">{escape(title)}</text>'
    ]
    for value in _ticks(low, high, 4):
        parts.append(
            f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
            f'<text class="end" x="{left - 6}" y="{y(value):.1f}" dy=".35em">{value:g}</text>'
        )
    told: float = -99
    for n in sizes:
        if x(n, 0) - told > 34:
            told = x(n, 0)
            parts.append(f'<text class="middle" x="{told:.1f}" y="{height - 8}">{n}</text>')
    for place, (colour, name, line) in enumerate(series):
        path = " ".join(f"{x(n, place):.1f},{y(each.value):.1f}" for n, each in line)
        parts.append(f'<g class="s{colour % 6}"><polyline points="{path}"/>')
        for n, each in line:
            at = f"{x(n, place):.1f}"
            parts.append(
                f"<g><title>{escape(name)}, n = {n}: {each.value:.4g} [{each.low:.4g}, {each.high:.4g}]</title>"
            )
            if np.isfinite(each.half):
                parts.append(f'<line x1="{at}" x2="{at}" y1="{y(each.low):.1f}" y2="{y(each.high):.1f}"/>')
            parts.append(f'<circle cx="{at}" cy="{y(each.value):.1f}" r="3.5"/></g>')
        parts.append("</g>")
    return "".join([*parts, "</svg>"])


def by_task(values: np.ndarray, tasks: np.ndarray, order: tuple[np.ndarray, list[str]], name: str) -> str:
    """Mean of each dimension in each task, in deviations of the dimension from its mean; orange above, blue below."""
    columns, rows = order
    mean, deviation = values.mean(0), values.std(0)
    scaled = (values[:, columns] - mean[columns]) / np.where(deviation[columns] > 0, deviation[columns], 1)
    left, cell, row = 200, (WIDTH - 210) / max(len(columns), 1), 15
    height = 26 + row * len(rows)
    parts = [
        f'<svg class="chart heatmap" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(name)}: means of dimensions by task">'
    ]
    for number, column in enumerate(columns.tolist()):
        if number % max(1, round(34 / cell)) == 0:
            parts.append(f'<text class="middle" x="{left + (number + 0.5) * cell:.1f}" y="14">{column}</text>')
    for place, task in enumerate(rows):
        at = 20 + row * place
        found = scaled[tasks == task]
        parts.append(f'<text class="end" x="{left - 8}" y="{at + 11}">{escape(task)}</text>')
        for number, value in enumerate(found.mean(0).tolist() if len(found) else []):
            parts.append(
                f'<rect x="{left + number * cell:.1f}" y="{at}" width="{cell:.2f}" height="{row}" '
                f'class="{"above" if value > 0 else "below"}" fill-opacity="{min(abs(value) / 2, 1):.2f}">'
                f"<title>{escape(task)}, dimension {columns[number]}: {value:+.2f} deviations, n = {len(found)}</title>"
                "</rect>"
            )
    return "".join([*parts, "</svg>"])


def order_of(values: np.ndarray, tasks: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Dimensions whose mean differs most between tasks, and tasks, each beside those like it.

    Dimensions are ranked by the share of their variance that lies between tasks; both are ordered by the leaves of an
    average linkage of their means.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage

    names = sorted(set(tasks.tolist()))
    deviation = values.std(0)
    scaled = (values - values.mean(0)) / np.where(deviation > 0, deviation, 1)
    means = np.stack([scaled[tasks == name].mean(0) for name in names])
    counts = np.array([(tasks == name).sum() for name in names])
    between = (counts[:, None] * means**2).sum(0)
    columns = np.sort(np.argsort(-between, kind="stable")[:DIMENSIONS])
    means = means[:, columns]
    if len(columns) > 2:
        columns = columns[leaves_list(linkage(means.T, "average"))]
    if len(names) > 2:
        names = [names[place] for place in leaves_list(linkage(means, "average"))]
    return columns, names


def _steps(edges: np.ndarray, shares: np.ndarray, x: Scale, y: Scale, ground: float, style: str, name: str) -> str:
    points = [f"{x(edges[0]):.1f},{ground:.1f}"]
    for low, high, share in zip(edges[:-1], edges[1:], shares, strict=True):
        points += [f"{x(low):.1f},{y(share):.1f}", f"{x(high):.1f},{y(share):.1f}"]
    points.append(f"{x(edges[-1]):.1f},{ground:.1f}")
    return f'<g class="{style} area"><title>{escape(name)}</title><polyline points="{" ".join(points)}"/></g>'


def _ticks(low: float, high: float, about: int) -> list[float]:
    raw = (high - low) / about
    power = 10.0 ** np.floor(np.log10(raw))
    step = next(power * each for each in (1, 2, 5, 10) if power * each >= raw)
    return [
        float(f"{number * step:.10g}") for number in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)
    ]


def _share(power: int) -> str:
    return f"{100 * 10.0**power:g} %"
