"""A table as Markdown, CSV, LaTeX or HTML: the same cells everywhere."""

from __future__ import annotations

import csv
import html as escaping
import io
import re
import sys
from collections.abc import Callable, Mapping, Sequence

from vla_bench.bench.records.screen_tables import screen_table
from vla_bench.bench.records.tables import Cell, Table, in_line

_LATEX = {
    **{symbol: f"\\{symbol}" for symbol in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "−": "$-$",
    "–": "--",
    "→": r"$\to$",
    "≥": r"$\geq$",
    "†": r"\textdagger{}",
    "…": r"\dots{}",
    "·": r"$\cdot$",
    "<": r"$<$",
    ">": r"$>$",
}


def markdown(table: Table) -> str:
    """A table under a heading, with its caption."""
    lines = [f"## {table.title}", "", "| " + " | ".join(map(_piped, table.columns)) + " |"]
    lines.append("|:--" + "|--:" * (len(table.columns) - 1) + "|")
    lines += ["| " + " | ".join(_bold(cell, _piped(in_line(cell))) for cell in row) + " |" for row in table.rows]
    if table.caption:
        lines += ["", table.caption]
    return "\n".join(lines) + "\n"


def comma_separated(*tables: Table) -> str:
    """Tables as one that programs read: a column with intervals is followed by ``… low`` and ``… high``; what has no
    number is empty. Of several, ``table`` says which; footnotes stand in ``remarks``."""
    rows: list[dict[str, str]] = []
    for table in tables:
        for row in table.rows:
            found = {"table": table.title} if len(tables) > 1 else {}
            for column, cell in zip(table.columns, row, strict=True):
                found[column] = _plain_number(cell.name or cell.text)
                if any(each[table.columns.index(column)].interval for each in table.rows):
                    low, high = cell.interval or ("", "")
                    found |= {f"{column} low": _plain_number(low), f"{column} high": _plain_number(high)}
            if any(each.remarks for other in tables for line in other.rows for each in line):
                found["remarks"] = "; ".join(text for cell in row for text in cell.remarks)
            rows.append(found)
    columns = list(dict.fromkeys(name for row in rows for name in row if name != "remarks"))
    columns += ["remarks"] if any("remarks" in row for row in rows) else []
    text = io.StringIO()
    writer = csv.DictWriter(text, columns or (tables[0].columns if tables else ()), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def latex(table: Table) -> str:
    r"""A ``table`` float in the manner of booktabs; needs ``\usepackage{booktabs}``."""
    columns = "l" + "r" * (len(table.columns) - 1)
    lines = [r"\begin{table}[t]", r"  \centering", rf"  \caption{{{to_latex_text(table.title)}}}"]
    lines += [rf"  \begin{{tabular}}{{{columns}}}", r"    \toprule"]
    lines += ["    " + " & ".join(map(to_latex_text, table.columns)) + r" \\", r"    \midrule"]
    lines += ["    " + " & ".join(map(_latex_cell, row)) + r" \\" for row in table.rows]
    lines += [r"    \bottomrule", r"  \end{tabular}"]
    if table.caption:
        lines += [r"  \par\smallskip", rf"  {{\footnotesize {to_latex_text(table.caption)}}}"]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def html(table: Table) -> str:
    """A ``<table>`` with caption, without styles of its own."""
    note = f"<p><small>{escaping.escape(table.caption)}</small></p>\n" if table.caption else ""
    return f"<table>\n<caption>{escaping.escape(table.title)}</caption>\n{html_rows(table)}</table>\n{note}"


def html_rows(table: Table) -> str:
    """Head and body of a ``<table>``; a column without a name has no header cell."""
    head = "".join(f"<th>{escaping.escape(column)}</th>" if column else "<td></td>" for column in table.columns)
    rows = "".join("<tr>" + "".join(map(_html_cell, row)) + "</tr>\n" for row in table.rows)
    return f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n"


FORMATS: Mapping[str, Callable[[Table], str]] = {
    "md": markdown,
    "csv": comma_separated,
    "latex": latex,
    "html": html,
}
"""How a table can be written, by the name that is typed."""


def to_latex_text(text: str) -> str:
    """Text with everything escaped that LaTeX would take for a command."""
    return "".join(_LATEX.get(letter, letter) for letter in text)


def _latex_cell(cell: Cell) -> str:
    text = to_latex_text(cell.text)
    text = rf"\textbf{{{text}}}" if cell.best else text
    if not cell.interval:
        return text
    return rf"{text} {{\scriptsize [{', '.join(map(to_latex_text, cell.interval))}]}}"


def _html_cell(cell: Cell) -> str:
    text = escaping.escape(cell.text)
    text = f"<b>{text}</b>" if cell.best else text
    if cell.interval:
        text += f" <small>[{escaping.escape(', '.join(cell.interval))}]</small>"
    return f"<td>{text}</td>"


def _bold(cell: Cell, text: str) -> str:
    return f"**{text}**" if cell.best else text


def _piped(text: str) -> str:
    return text.replace("|", r"\|")


def _plain_number(text: str) -> str:
    """A number as programs read it: a plain minus, no plus sign; other text as it is."""
    if text == "–":
        return ""
    plain = text.replace("−", "-").removeprefix("+")
    return plain if re.fullmatch(r"-?\d+(\.\d+)?", plain) else text


def print_tables(tables: Sequence[Table], form: str) -> None:
    """Prints tables in a format of :data:`FORMATS`, or drawn for the ``screen``."""
    if form == "csv":
        print(comma_separated(*tables), end="")
        return
    if form != "screen":
        print("\n".join(FORMATS[form](table) for table in tables), end="")
        return
    from rich.console import Console, Group
    from rich.text import Text

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    for table in tables:
        caption = [Text(table.caption, style="dim")] if table.caption else []
        console.print(Group(Text(table.title, style="bold"), screen_table(table), *caption, Text("")))
