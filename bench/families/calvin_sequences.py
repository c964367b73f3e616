"""Which sequences a run of CALVIN's chains has: the official 1000, those of a file, or newly drawn ones.

Whatever begins like the official list is the official list, from where ever it was read: the protocol, its facts and
its hash are the same. Anything else is named in the facts, so that no table mixes the two.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from vla_bench.bench.errors import ConfigError, suggestion
from vla_bench.envs.calvin.sequence_generator import MOST, generated_sequences, impossible, is_placement
from vla_bench.envs.calvin.sequences import Condition, Sequence, official_sequences
from vla_bench.envs.calvin.tasks import TASKS

OFFICIAL = 1000
"""Sequences of every published evaluation (the official protocol), and what is run when no number is typed."""
BLOCKS = ("red_block", "blue_block", "pink_block")


@dataclass(frozen=True, slots=True)
class SequenceSet:
    """The sequences of a run, and what is to be said of them."""

    sequences: tuple[Sequence, ...]
    available: int
    """Sequences of the whole list that these are the first of."""
    name: str = ""
    """Its fact; empty: the official list."""
    note: str = ""
    """Stands beside every number."""


def sequence_set(which: str, file: str, seed: int, count: int) -> SequenceSet:
    """The first ``count`` of the list that was asked for.

    Args:
        which: ``official`` or ``generated``.
        file: read instead, unless empty.
        seed: of the generator.
        count: how many; with a file that has fewer, :data:`OFFICIAL` means all of it.

    Raises:
        ConfigError: there are not so many, or the file cannot be read or is no list of sequences.
    """
    official = official_sequences()
    if file:
        path = Path(file).expanduser()
        whole = read_sequences(path)
        if count > len(whole) and count != OFFICIAL:
            raise ConfigError(f"benchmark.sequences={count}: {file} has {len(whole)} sequences")
        chosen = whole[:count]
        digest = _digest(whole)
        name = f"file {digest}"
        text = f"{len(chosen)} of the {len(whole)}" if len(chosen) < len(whole) else f"the {len(whole)}"
        note = f"sequences: {text} of {path.name} ({digest}), not the official ones"
        wrong = [(place, subtask) for place, each in enumerate(chosen) if (subtask := impossible(each))]
        if wrong:
            place, subtask = wrong[0]
            note += f"; {len(wrong)} cannot be solved by CALVIN's rules, e.g. {subtask} in the one at place {place}"
    elif which == "generated":
        whole = chosen = _generated(count, seed)
        name = f"get_sequences({count})" + (f", seed {seed}" if seed else "")
        note = f"sequences: {name}, not the first {count} of the official 1000"
    else:
        if count > len(official):
            raise ConfigError(
                f"benchmark.sequences={count}: there are {OFFICIAL} sequences; to draw more with their "
                "generator, type benchmark.sequence_set=generated as well"
            )
        whole, chosen, name, note = official, official[:count], "", ""
    if chosen == official[: len(chosen)]:
        return SequenceSet(chosen, len(whole))
    return SequenceSet(chosen, len(whole), name, note)


def _digest(sequences: Iterable[Sequence]) -> str:
    plain = [[dataclasses.asdict(each.condition), list(each.subtasks)] for each in sequences]
    return hashlib.sha256(json.dumps(plain, separators=(",", ":")).encode()).hexdigest()[:8]


def _generated(count: int, seed: int) -> tuple[Sequence, ...]:
    """Drawn once and kept, since drawing takes a minute and the same command asks again."""
    if count > MOST:
        raise ConfigError(f"benchmark.sequences={count}: at most {MOST} are drawn")
    if seed == 0 and count <= OFFICIAL:
        return generated_sequences(count)
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    kept = base / "vla-bench" / "calvin-sequences" / f"{count}-{seed}.json"
    try:
        found = read_sequences(kept)
        if len(found) == count:
            return found
    except ConfigError:
        pass  # not there, or cut off: drawn anew
    from vla_bench.bench.live.progress import ProgressLine

    with ProgressLine("initial states given their sequences") as line:
        found = generated_sequences(count, seed, told=line)
    _keep(kept, found)
    return found


def _keep(path: Path, sequences: tuple[Sequence, ...]) -> None:
    """In the form of the published lists; nothing is lost where it cannot be written."""
    plain = [[dataclasses.asdict(each.condition), list(each.subtasks)] for each in sequences]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".new", delete=False) as file:
            json.dump(plain, file)
        os.replace(file.name, path)
    except OSError:
        pass


def read_sequences(path: Path) -> tuple[Sequence, ...]:
    """A list in the form in which the original's ``get_sequences`` is stored by those who store it, RoboVLMs and
    RoboFlamingo among them: JSON, ``[[{initial state}, [tasks]], …]``.

    Raises:
        ConfigError: it cannot be read or is something else; names the first entry that is wrong.
    """
    where = f"benchmark.sequence_file={path}"
    plain = _read_json(path, where)
    if not isinstance(plain, list) or not plain:
        raise ConfigError(
            f"{where}: a JSON list of sequences is wanted, each [{{initial state}}, [tasks]], as in eval_sequences.json"
        )
    found = tuple(_sequence(entry, f"{where}: entry {place}") for place, entry in enumerate(plain))
    lengths = sorted({len(each.subtasks) for each in found})
    if len(lengths) > 1:
        raise ConfigError(
            f"{where}: sequences of {' and '.join(map(str, lengths))} tasks; chain lengths can only be averaged over "
            "sequences of one length"
        )
    return found


def read_text(path: Path, where: str) -> str:
    """What is in a file. ConfigError: it is not there, or is no text."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{where}: there is no such file (looked from {Path.cwd()})") from None
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError(f"{where}: cannot be read: {said}") from None
    if text.startswith("version https://git-lfs"):
        raise ConfigError(f"{where}: only a Git-LFS pointer; fetch the file itself with: git lfs pull")
    return text


def _read_json(path: Path, where: str) -> Any:
    text = read_text(path, where)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: no JSON ({str(error) or 'nested too deeply'})") from None


def _sequence(entry: Any, where: str) -> Sequence:
    if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], Mapping) and entry[1]):
        raise ConfigError(f"{where} must be [{{initial state}}, [tasks]], e.g. {_EXAMPLE}")
    subtasks = entry[1]
    if not isinstance(subtasks, list) or not all(isinstance(each, str) for each in subtasks):
        raise ConfigError(f"{where}: the tasks must be a list of names, e.g. {_EXAMPLE}")
    for subtask in subtasks:
        if subtask not in TASKS:
            raise ConfigError(f"{where}: CALVIN has no task {subtask!r}.{suggestion(subtask, TASKS)}")
    return Sequence(_condition(entry[0], where), tuple(subtasks))


_EXAMPLE = (
    '[{"led": 0, "lightbulb": 1, "slider": "left", "drawer": "open", "red_block": "table", "blue_block": "table", '
    '"pink_block": "slider_left", "grasped": 0}, ["open_drawer", …]]'
)


def _condition(plain: Mapping[str, Any], where: str) -> Condition:
    hints = get_type_hints(Condition)
    names = [each.name for each in dataclasses.fields(Condition)]
    for name in plain:
        if name not in names:
            raise ConfigError(f"{where}: the initial state has no {name!r}.{suggestion(str(name), names)}")
    values: dict[str, Any] = {}
    for name in names:
        if name not in plain and name != "grasped":
            raise ConfigError(f"{where}: the initial state lacks {name!r}; it has {', '.join(names)}")
        value, allowed = plain.get(name, 0), get_args(hints[name]) or ((0,) if name == "grasped" else (0, 1))
        if value not in allowed or isinstance(value, float):
            raise ConfigError(f"{where}: {name} is {value!r}; it can be {', '.join(map(repr, allowed))}")
        values[name] = int(value) if isinstance(value, int) else value
    if not is_placement((values["red_block"], values["blue_block"], values["pink_block"])):
        raise ConfigError(
            f"{where}: {', '.join(f'{block} {values[block]}' for block in BLOCKS)}: one or two blocks must be on the "
            "table, and each side of the slider has place for one"
        )
    return Condition(**values)
