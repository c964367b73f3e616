"""Makes docs/python_reference.md from the docstrings: ``python -m tools.make_reference``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[1] / "docs" / "python_reference.md"
_CROSS = re.compile(r":(?:class|func|meth|mod|attr|data):`~?([^`]+)`")


def text() -> str:
    """The whole page."""
    import vla_bench
    from vla_bench.bench.records.comparison import Comparison
    from vla_bench.bench.records.opening import Runs
    from vla_bench.bench.records.paired import PairedMean
    from vla_bench.bench.records.result_set import ResultSet
    from vla_bench.bench.records.statistics import Mean, Rate
    from vla_bench.policies.base import Policy

    parts = ["# Python reference", "", "Made from the docstrings by `python -m tools.make_reference`.", ""]
    for function in (vla_bench.evaluate, vla_bench.load, vla_bench.compare):
        parts += _function(f"vla_bench.{function.__name__}", function, "##")
    for kind in (ResultSet, Runs, Comparison, Mean, Rate, PairedMean, Policy):
        parts += [f"## {kind.__name__}", "", f"`{kind.__module__}.{kind.__qualname__}`", "", *_prose(kind), ""]
        for name, member in _members(kind):
            if inspect.isfunction(member):
                parts += _function(name, member, "###")
            else:
                parts += [f"### {name}", "", *_prose(member), ""]
    return "\n".join(parts).rstrip() + "\n"


def _members(kind: type) -> Iterator[tuple[str, Any]]:
    seen: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.startswith("vla_bench"):
            seen |= vars(base)
    for name, member in seen.items():
        plain = getattr(member, "__func__", member)
        kinds = inspect.isfunction(plain) or isinstance(plain, property) or hasattr(plain, "func")
        if not name.startswith("_") and kinds and inspect.getdoc(plain):
            yield name, plain


def _function(name: str, function: Any, mark: str) -> list[str]:
    signature = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(inspect.signature(function)))  # annotations are texts
    return [f"{mark} {name}", "", "```python", f"{name}{signature}", "```", "", *_prose(function), ""]


def _prose(of: Any) -> list[str]:
    """A docstring as Markdown: sections are bold, what belongs to them is shown as it is written."""
    lines: list[str] = []
    inside = False
    for line in (inspect.getdoc(of) or "").splitlines():
        if re.fullmatch(r"(Args|Returns|Raises|Example):", line):
            while inside and not lines[-1].strip():
                lines.pop()
            lines += ["```", ""] if inside else []
            lines += [f"**{line[:-1]}**", "", "```text"]
            inside = True
        else:
            plain = _CROSS.sub(r"`\1`", line)
            lines.append(plain.removeprefix("    ").replace("`", "") if inside else plain.replace("``", "`"))
    while lines and not lines[-1].strip():
        lines.pop()
    return [*lines, *(["```"] if inside else [])]


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
