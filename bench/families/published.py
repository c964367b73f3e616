"""Published reference numbers (``results/published``), as rows of text."""

from __future__ import annotations

import csv
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "results" / "published"


def rows_of(name: str) -> list[dict[str, str]]:
    """The rows of a file; none where the package was installed without it."""
    path = FOLDER / name
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
