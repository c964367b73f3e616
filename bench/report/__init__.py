"""Result sets as one HTML file that opens offline: numbers, charts, episodes, provenance."""

from __future__ import annotations

from vla_bench.bench.report.page import render

__all__ = ["render"]
