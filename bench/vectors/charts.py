"""Pictures as inline SVG, in the colours of the reports."""

from __future__ import annotations

from html import escape

from vla_bench.bench.vectors.sampling import Plan

WIDTH = 720


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
