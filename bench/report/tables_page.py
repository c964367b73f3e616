"""Tables alone as a page in the dress of the report: a ranking, an ablation whose rows were trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from vla_bench.bench.records.formats import html_rows
from vla_bench.bench.records.provenance import now
from vla_bench.bench.records.tables import Table


def tables_page(
    title: str, tables: Sequence[Table], eyebrow: str = "", figures: Mapping[str, str] | None = None
) -> str:
    """One HTML file that opens offline.

    Args:
        title: heading of the page.
        tables: each with its own title and caption below the heading.
        eyebrow: a few words above the heading.
        figures: pictures as SVG by their headings, after the first table.
    """
    style = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{escape(title)}</title><style>{style}</style></head>',
        f'<body class="wide"><header><p class="eyebrow">{escape(eyebrow)}</p><h1>{escape(title)}</h1></header>\n<main>',
    ]
    for number, table in enumerate(tables):
        head = f"<h2>{escape(table.title)}</h2>\n" if table.title != title else ""
        caption = f'<p class="caption">{escape(table.caption)}</p>\n' if table.caption else ""
        parts.append(
            f'<section>{head}<div class="scroll" tabindex="0"><table class="numbers">\n{html_rows(table)}</table></div>'
            f"\n{caption}</section>"
        )
        if number == 0:
            parts += [
                f"<section><h2>{escape(heading)}</h2>\n<figure>{drawn}</figure></section>"
                for heading, drawn in (figures or {}).items()
            ]
    made = now()[:16].replace("T", " ")
    parts.append(
        f"</main>\n<footer>Made {made} UTC with vla-bench. All intervals are at 95 %.</footer></body></html>\n"
    )
    return "\n".join(parts)
