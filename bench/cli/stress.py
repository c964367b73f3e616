"""Where policies break: result sets under stress against their unchanged twins.

vla-bench stress results/ablation-stress         what ablation=stress has left, finished or not
vla-bench stress mine=results/a/ablation-stress theirs=results/b/ablation-stress
                                                 two policies side by side

Leaves stress.md, stress.html (with both clips of broken episodes, where run.video= made them) and stress.svg in the
first folder.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vla_bench.bench.errors import ConfigError, ResultSetError

if TYPE_CHECKING:
    from vla_bench.bench.stress.comparing import Level

MARKDOWN, PAGE, PICTURE = "stress.md", "stress.html", "stress.svg"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the folders."""
    parser.add_argument("folders", nargs="+", metavar="[NAME=]FOLDER", help="one folder of result sets for each policy")


def run(arguments: argparse.Namespace) -> int:
    """Prints the tables and leaves them beside the result sets."""
    named: dict[str, Path] = {}
    for word in arguments.folders:
        name, equals, folder = word.rpartition("=")
        path = Path(folder)
        if not path.is_dir():
            raise ConfigError(f"there is no folder {folder}")
        if (name if equals else "") in named:
            raise ConfigError(f"{word}: give each folder a name of its own, <name>=<folder>")
        named[name] = path
    show(named)
    return 0


def show(folders: Mapping[str, Path]) -> None:
    """Prints the tables of these folders, by the name of their policy, and writes them into the first."""
    from rich.console import Console
    from rich.text import Text

    from vla_bench.bench.records.screen_tables import screen_table
    from vla_bench.bench.stress import comparing, tables

    policies: dict[str, Sequence[Level]] = {}
    for name, folder in folders.items():
        levels = comparing.levels_of(comparing.open_folder(folder), str(folder))
        called = name or levels[0].twin.summary.policy
        if called in policies:
            raise ConfigError(f"both are {called}: give each folder a name, <name>=<folder>")
        policies[called] = levels
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 130)
    for note in tables.warnings(policies):
        console.print(Text(note, style="yellow"))
    for table in tables.tables_of(policies):
        console.print(Text(f"\n{table.title}", style="bold"), screen_table(table), Text(table.caption, style="dim"))
    for line in tables.verdicts(policies):
        console.print(Text(line, style="bold"))
    written = write(next(iter(folders.values())), policies)
    console.print(f"stress: {' and '.join(map(str, written))}", soft_wrap=True, markup=False)


def write(folder: Path, policies: Mapping[str, Sequence[Level]]) -> list[Path]:
    """Leaves the tables, the page and the picture. ResultSetError: they cannot be written."""
    from vla_bench.bench.records.journal import write_atomically
    from vla_bench.bench.stress import page, tables

    texts = {
        MARKDOWN: tables.to_markdown(policies),
        PAGE: page.render(policies, folder),
        PICTURE: page.picture(policies),
    }
    try:
        for name, text in texts.items():
            write_atomically(folder / name, partial(_write_text, text))
    except OSError as error:
        raise ResultSetError(f"cannot write to {folder}: {error.strerror or error}") from error
    return [folder / name for name in texts]


def _write_text(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")
