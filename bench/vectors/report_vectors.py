"""Writes what an extraction is like, or how two differ, as one HTML file that opens offline, and as Markdown to paste.

vla-bench vectors report vectors/a
vla-bench vectors report vectors/early vectors/late --output early-late.html

The page has maps of the frames (t-SNE and UMAP) whose points tell which frame they are, dimensions by task,
distributions, statistics against the number of frames, and every table of describe and compare.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the folders and the files."""
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="one extraction, or two")
    parser.add_argument("--at", metavar="PLACE", help="the place that is shown (the first that both have)")
    parser.add_argument("--seed", type=int, default=0, help="of the maps (0)")
    parser.add_argument(
        "--output", type=Path, metavar="FILE.html", help="vectors.html in the extraction's folder, or of two here"
    )


def run(arguments: argparse.Namespace) -> int:
    """Writes both files and says where they are."""
    from vla_bench.bench.errors import ConfigError
    from vla_bench.bench.live.progress import ProgressLine
    from vla_bench.bench.records.journal import write_atomically
    from vla_bench.bench.vectors.page import report
    from vla_bench.bench.vectors.store import VectorsError, common_places, needs_analysis, read, writing

    needs_analysis()
    if len(arguments.folders) > 2:
        raise ConfigError(f"{len(arguments.folders)} extractions: a report is of one, or of two and how they differ")
    found = [read(folder) for folder in arguments.folders]
    place = arguments.at or common_places(found)[0]
    path = arguments.output or (Path("vectors.html") if len(found) > 1 else arguments.folders[0] / "vectors.html")
    if path.suffix == ".md":
        raise VectorsError(f"--output {path}: names the HTML file; the Markdown is written beside it")
    with ProgressLine("parts of the report") as progress:
        page, markdown = report(found, place, arguments.seed, progress)
    beside = path.with_suffix(".md")
    with writing(path.parent):
        write_atomically(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))
        write_atomically(beside, lambda temporary: temporary.write_text(markdown, encoding="utf-8"))
    print(f"{path} ({len(page.encode()) / 1e6:.1f} MB)\n{beside}")
    return 0
