"""Which words a run of CALVIN uses for its tasks: the official one of each, or those of another set.

Published numbers with "diverse" or "enriched" instructions rest on files that RoboFlamingo published and RoboVLMs
reads: ``enrich_lang_annotations.json`` (many texts for each task) and ``lang_annotation_cache.json`` (one for each
subtask of the 1000 sequences, drawn from the former with seed 123).
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_bench.bench.errors import ConfigError, suggestion
from vla_bench.bench.families.calvin_sequences import read_text
from vla_bench.envs.calvin.bundle import ALL_ANNOTATIONS, AssetBundle
from vla_bench.envs.calvin.tasks import TASKS

Texts = Mapping[str, tuple[str, ...]]
"""The texts of each task."""
Rows = tuple[tuple[str, ...], ...]
"""One text for each subtask of each sequence."""
Episodes = Iterable[tuple[str, tuple[str, ...]]]
"""Names of episodes, and their subtasks."""
WANTED = (
    "wanted is either {task: text or [texts]}, in JSON or YAML, or [[a text for each subtask] for each sequence] "
    "as in lang_annotation_cache.json"
)


@dataclass(frozen=True, slots=True)
class InstructionSet:
    """The instructions of a run, and what is to be said of them."""

    instructions: tuple[tuple[str, ...], ...]
    """One text for each subtask of each episode."""
    name: str = ""
    """Its fact; empty: the bundle's own text of each task."""
    note: str = ""
    """Stands beside every number."""


def instruction_set(
    file: str, seed: int | None, bundle: AssetBundle, episodes: Episodes, available: int | None
) -> InstructionSet:
    """The instructions of these episodes.

    Args:
        file: texts of its own, unless empty.
        seed: draws one of several texts of a task; None takes the first.
        bundle: has the official texts.
        episodes: names and subtasks, in the order of the protocol.
        available: sequences of the list that these are the first of; None: they are no chains.

    Raises:
        ConfigError: the file cannot be read, is something else, or lacks a text.
    """
    planned = tuple(episodes)
    usual = tuple(tuple(bundle.instructions[task] for task in subtasks) for _, subtasks in planned)
    if not file and seed is None:
        return InstructionSet(usual)
    if file:
        where = f"benchmark.instructions={file}"
        path = Path(file).expanduser()
        found, source = read_instructions(path, where), f"{path.name} ({{digest}})"
    else:
        found, source = _alternatives(bundle), "the annotation's alternatives"
        where = f"benchmark.instruction_seed={seed}"
    digest = hashlib.sha256(json.dumps(found, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:8]
    source = source.format(digest=digest)
    if isinstance(found, tuple):
        if seed is not None:
            raise ConfigError(f"{where} has one text for each subtask; drop benchmark.instruction_seed")
        if available is None:
            raise ConfigError(f"{where} has texts by sequence, and this is no benchmark of sequences: {WANTED}")
        texts = _of_rows(found, planned, available, where)
    else:
        texts = _of_tasks(found, planned, seed, where, in_row=available is not None)
    if texts == usual:
        return InstructionSet(usual)
    drawn = "" if seed is None else f", drawn with seed {seed}"
    name = (f"file {digest}" if file else "alternatives") + ("" if seed is None else f", seed {seed}")
    return InstructionSet(texts, name, f"instructions: {source}{drawn}, not the official one of each task")


def _of_rows(rows: Rows, planned: tuple[tuple[str, tuple[str, ...]], ...], available: int, where: str) -> Rows:
    if len(rows) not in (available, len(planned)):
        runs = f"{len(planned)} of {available}" if available != len(planned) else f"{available}"
        raise ConfigError(
            f"{where} has texts for {len(rows)} sequences, but {runs} are run: it belongs to another list"
        )
    for row, (name, subtasks) in zip(rows, planned, strict=False):
        if len(row) != len(subtasks):
            raise ConfigError(f"{where} has {len(row)} texts for {name}, which has {len(subtasks)} subtasks")
    return rows[: len(planned)]


def _of_tasks(
    texts: Texts, planned: tuple[tuple[str, tuple[str, ...]], ...], seed: int | None, where: str, *, in_row: bool
) -> tuple[tuple[str, ...], ...]:
    """Of chains drawn in a row, as RoboFlamingo drew its cache; of single tasks each for itself, so that a choice of
    tasks changes no other."""
    in_order, made = random.Random(seed), []
    for name, subtasks in planned:
        draw = in_order if in_row else random.Random(f"{seed}/{name}")
        for task in subtasks:
            if task not in texts:
                raise ConfigError(f"{where} has no text for {task}, which is run")
        made.append(tuple(texts[t][0] if seed is None else draw.choice(texts[t]) for t in subtasks))
    return tuple(made)


def _alternatives(bundle: AssetBundle) -> Texts:
    path = bundle.root / ALL_ANNOTATIONS
    if not path.is_file():
        raise ConfigError(
            f"benchmark.instruction_seed: the {bundle.name} assets have one text for each task. Name a file with "
            "several: benchmark.instructions=<file>, or type benchmark.assets=official"
        )
    found = read_instructions(path, f"{path}")
    assert isinstance(found, dict)
    return found


def read_instructions(path: Path, where: str) -> Texts | Rows:
    """Texts by task, or by sequence and subtask; of a text of several lines the first, as RoboFlamingo takes it.

    Raises:
        ConfigError: it cannot be read or is something else; names the first entry that is wrong.
    """
    plain = _parsed(read_text(path, where), where)
    if isinstance(plain, Mapping) and plain:
        return {_task(task, where): _several(texts, f"{where}: {task}") for task, texts in plain.items()}
    if isinstance(plain, list) and plain and all(isinstance(row, list) and row for row in plain):
        return tuple(
            tuple(_line(text, f"{where}: subtask {place} of sequence {number}") for place, text in enumerate(row))
            for number, row in enumerate(plain)
        )
    raise ConfigError(f"{where}: {WANTED}")


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    import yaml

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ConfigError(f"{where}: neither JSON nor YAML; {WANTED}") from None


def _task(name: Any, where: str) -> str:
    if name not in TASKS:
        raise ConfigError(f"{where}: CALVIN has no task {name!r}.{suggestion(str(name), TASKS)}")
    return str(name)


def _several(texts: Any, where: str) -> tuple[str, ...]:
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not texts:
        raise ConfigError(f"{where}: a text or a list of texts is wanted")
    return tuple(_line(text, where) for text in texts)


def _line(text: Any, where: str) -> str:
    lines = text.strip().splitlines() if isinstance(text, str) else []
    if not lines:
        raise ConfigError(f"{where}: {text!r} is no text")
    return str(lines[0]).rstrip()
