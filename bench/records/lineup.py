"""Result sets side by side, each with the name it goes by in tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vla_bench.bench.errors import ConfigError, ResultSetError, suggestion
from vla_bench.bench.records.result_set import JOURNAL, ResultSet
from vla_bench.bench.records.results import Results
from vla_bench.bench.records.rows import has_episodes, is_ablation, read_rows, row_of
from vla_bench.bench.records.several_runs import SeveralRuns
from vla_bench.program import evaluation

CONTROL = " (blind control)"
"""Added to the name of a policy that was kept from seeing, in every table."""


def open_sets(words: Sequence[str]) -> dict[str, ResultSet]:
    """Reads the result sets that were typed, as ``folder`` or ``name=folder``; by name, in order.

    The folder of an ablation stands for its rows, under their names: ``name/row`` where it was given a name.

    Raises:
        ResultSetError: a folder is not there or holds no result set; says which ones there are.
        ConfigError: two of them have the same name.
    """
    return named_sets([each for word in words for each in _rows_or_set(*_split(word))])


def named_sets(given: Sequence[tuple[str, Path]]) -> dict[str, ResultSet]:
    """Reads result sets by name and folder; without a name they are called what tells them apart.

    Raises:
        ResultSetError: a folder is not there or holds no result set; says which ones there are.
        ConfigError: two of them have the same name.
    """
    sets = [load_set(folder) for _, folder in given]
    names = [name or short for (name, _), short in zip(given, short_names(sets), strict=True)]
    names = [name + CONTROL * each.summary.control for name, each in zip(names, sets, strict=True)]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"two result sets are called {name!r}; name them apart, e.g. base={given[0][1]} "
                "(the same folder twice compares to nothing)"
            )
    return dict(zip(names, sets, strict=True))


def _rows_or_set(name: str, folder: Path) -> list[tuple[str, Path]]:
    if not is_ablation(folder):
        return [(name, folder)]
    rows = read_rows(folder)
    if evaluations := dict.fromkeys(row.evaluation for row in rows if row.evaluation):
        rows = [row for row in rows if row.evaluation == next(iter(evaluations))]
    there = [row for row in rows if has_episodes(folder, row)]
    if not there:
        raise ResultSetError(f"{folder}: no row of this ablation has a finished episode yet")
    return [(f"{name}/{row.name}" if name else row.name, folder / row.folder) for row in there]


def open_rows(words: Sequence[str]) -> dict[str, Results]:
    """As :func:`open_sets`, but ``name=folder,folder,…`` is a row of several runs.

    Raises:
        ConfigError: several runs have no name, or one is given twice.
        ProtocolMismatch: the runs of a row were not measured in the same way.
    """
    rows: dict[str, Results] = {}
    single = open_sets([word for word in words if "," not in word]) if words else {}
    left = iter(single.items())
    for word in words:
        found: list[tuple[str, Results]]
        if "," not in word:
            found = [next(left) for _ in _rows_or_set(*_split(word))]
        else:
            name, sign, folders = word.partition("=")
            if not sign or "/" in name:
                raise ConfigError(f"give the runs {word} a name: ours={word}")
            found = [(name, SeveralRuns([load_set(Path(folder)) for folder in folders.split(",") if folder]))]
        for name, each in found:
            if name in rows:
                raise ConfigError(f"two rows are called {name!r}; name them apart")
            rows[name] = each
    return rows


def short_names(sets: Sequence[Results]) -> list[str]:
    """What result sets are called in a table: their policies, or their rows of an ablation, or their folders, where
    those are alike."""
    policies = [each.summary.policy for each in sets]
    if len(set(policies)) == len(sets):
        return policies
    rows = [row_of(each.header) for each in sets]
    if all(rows) and len(set(rows)) == len(sets):
        return rows
    folders = [each.folder.resolve() for each in sets]
    names = [folder.name for folder in folders]
    return names if len(set(names)) == len(sets) else [f"{f.parent.name}/{f.name}" for f in folders]


def find_sets(folder: Path) -> list[Path]:
    """The result sets in a folder and the folders below it, by name; not those within another one, which are a few of
    its episodes once more.

    Raises:
        ResultSetError: there is no such folder, or no result set in it.
    """
    if not folder.is_dir():
        raise ResultSetError(f"there is no folder {folder}")
    every = {path.parent for path in folder.rglob(JOURNAL)}
    found = sorted(each for each in every if every.isdisjoint(each.parents))
    if not found:
        raise ResultSetError(f"no result set in {folder}; {evaluation()} makes some")
    return found


def _split(word: str) -> tuple[str, Path]:
    name, sign, folder = word.partition("=")
    return (name, Path(folder)) if sign and "/" not in name and not Path(word).exists() else ("", Path(word))


def load_set(folder: Path) -> ResultSet:
    """Reads a run's folder. ResultSetError: there is none; says which ones are near."""
    if not (folder / JOURNAL).is_file():
        parent = folder if folder.is_dir() else folder.parent
        near = sorted(path.parent.name for path in parent.glob(f"*/{JOURNAL}"))
        there = f" {parent} has {', '.join(near[:8])}{', …' if len(near) > 8 else ''}." if near else ""
        hint = suggestion(folder.name, near) if near else ""
        raise ResultSetError(f"{folder} is not a result set: it has no {JOURNAL}.{hint}{there}")
    return ResultSet.load(folder)
