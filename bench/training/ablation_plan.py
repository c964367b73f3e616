"""An ablation whose rows are trained first: what is typed, as trainings and evaluations. Imports no torch.

A preset of ``ablation=`` with ``learned: true`` names rows by the words that tell them apart, for any size or for one;
a file of ``configs/ablation/sizes`` says what is trained and how it is evaluated in that size (``rows_of: laptop``:
with the rows as they are in another)::

    learned: true
    rows:
      one step:
        words: [policy.model.structure=one_step, policy.model.head=fc, policy.model.window=1]
        laptop: [train.batch=64]
        published: {table: III, setting: KosMos one-step continuous}
      all tokens:
        sizes: [laptop]
        words: [policy.model.readout=all, policy.model.latent=40]
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_bench.bench.ablation import chosen_rows
from vla_bench.bench.errors import ConfigError, suggestion
from vla_bench.bench.setup import blind
from vla_bench.bench.setup.config import Config
from vla_bench.bench.setup.presets import FOLDER, load_config

KEY = "ablation"
BLIND = "blind control"
"""Name of the row that every table of trained policies has: the first row, with its cameras black."""
_OWN_WORDS = ("size", "seeds", "rate_steps", "rows", "launch")
_TRAINED_ONLY = (
    "policy.model.",
    "policy.checkpoint=",
    "policy.config=",
    "policy.backbone_path=",
    "policy.seed=",
    "policy.trust_checkpoint=",
    "policy.allow_",
)
"""Words of the policy that say what is trained; the others say how it is run."""


@dataclass(frozen=True, slots=True)
class LearnedRow:
    """One row: what is trained, and how it is evaluated."""

    name: str
    train: tuple[str, ...]
    """Words of ``train``, without data that the seed or the rate changes."""
    evaluate: tuple[str, ...]
    """Words of its evaluations, beside the benchmark's and the checkpoint's."""
    published: tuple[str, str] | None
    """Table and setting of ``results/published/robovlms_ablations.csv``."""
    control: bool = False


@dataclass(frozen=True, slots=True)
class LearnedAblation:
    """Rows, seeds, rates, and on what they are evaluated."""

    name: str
    size: str
    rows: tuple[LearnedRow, ...]
    """The first is the baseline; the last is the blind control."""
    seeds: tuple[int, ...]
    rates: tuple[float, ...]
    """Tried for each row; a single one is not tried but taken."""
    rate_steps: int
    evaluations: Mapping[str, tuple[str, ...]]
    """Words of each by its name: ``chains``, ``varied``."""
    results: Path
    launch: str
    """What the command of a training is put behind, e.g. ``torchrun --nproc-per-node 8 --no-python``."""

    @property
    def folder(self) -> Path:
        """Where the table and the evaluations are."""
        return self.results / f"{KEY}-{self.name}-{self.size}"

    @property
    def trainings(self) -> Path:
        """Where training runs are, of all ablations: rows that are alike are trained once."""
        return self.results / "trained"


def read_preset(choice: str) -> dict[str, Any] | None:
    """The content of a preset or file; None when it is of the kind that trains nothing.

    Raises:
        ConfigError: it is no YAML.
    """
    import yaml

    path = Path(choice) if choice.endswith(".yaml") else FOLDER / KEY / f"{choice}.yaml"
    if not path.is_file():
        return None
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    return content if isinstance(content, dict) and content.get("learned") else None


def plan(choice: str, typed: Sequence[str]) -> LearnedAblation:
    """Rows and what is done with them, from what was typed.

    Args:
        choice: a preset that :func:`read_preset` reads.
        typed: ``size=``, ``seeds=0,1``, ``rows=<row>|<row>``, ``rate_steps=``, ``launch=``, and words of ``train``,
            ``policy``, ``benchmark`` and ``run``; ``<row>:<word>`` is for one row, ``chains:<word>`` or
            ``varied:<word>`` for one evaluation. Several values of ``train.learning_rate`` are those tried.

    Raises:
        ConfigError: a word cannot be.
    """
    content = read_preset(choice)
    assert content is not None
    name = Path(choice).stem
    own, rest = _own_words(typed)
    size = _size(own.get("size", "laptop"))
    alike = size.get("rows_of", size["name"])
    described = _rows(content, name, alike)
    chosen = chosen_rows(own.get("rows"), described)
    evaluations = {key: tuple(words) for key, words in size["evaluations"].items()}
    common, per_row, per_evaluation = _sorted_words(rest, [*chosen, BLIND], list(evaluations))
    rates, common = _rates(common, size["rates"])
    results = next((word.partition("=")[2] for word in reversed(common) if word.startswith("run.results=")), "results")
    if any(word.startswith("run.name=") for word in common):
        raise ConfigError("run.name names one run; an ablation names its own. Type run.results=<folder>")
    if any(word.rpartition(":")[2].startswith("run.extend=") for word in rest):
        raise ConfigError(
            "run.extend is for result sets alone; a trained ablation is evaluated on more sequences by typing "
            "chains:benchmark.sequences=<n> without it: they get a folder of their own, and nothing is trained again"
        )
    common = [word for word in common if not word.startswith("run.results=")]
    rows = []
    for row, said in {**{key: described[key] for key in chosen}, BLIND: described[chosen[0]]}.items():
        words = [*size["train"], *said.get("words", ()), *said.get(alike, ())]
        words += [blind.WORD] if row == BLIND else []
        everything = [*words, *common, *per_row[row]]
        published = said.get("published") if row != BLIND else None
        rows.append(
            LearnedRow(
                row,
                tuple(word for word in everything if _trains(word)),
                tuple([*size["evaluate"], *(word for word in everything if _evaluates(word))]),
                (str(published["table"]), str(published["setting"])) if published else None,
                control=row == BLIND,
            )
        )
    return LearnedAblation(
        name,
        size["name"],
        tuple(rows),
        _whole_numbers("seeds", own.get("seeds"), size["seeds"]),
        rates,
        _whole_numbers("rate_steps", own.get("rate_steps"), [size["rate_steps"]])[0],
        {key: (*words, *per_evaluation[key]) for key, words in evaluations.items()},
        Path(results),
        own.get("launch", ""),
    )


def evaluation_of(ablation: LearnedAblation, row: LearnedRow, name: str, checkpoint: Path) -> Config:
    """The run that evaluates a checkpoint of the row.

    Raises:
        ConfigError: a word cannot be.
    """
    words = [*ablation.evaluations[name], *row.evaluate, "policy=vla", f"policy.checkpoint={checkpoint}"]
    config = load_config(words)
    return dataclasses.replace(config, run=dataclasses.replace(config.run, results=str(ablation.folder)))


def described(ablation: LearnedAblation) -> str:
    """What would be done, row by row, as the words of single commands."""
    lines = [
        f"# {ablation.name}, size {ablation.size}: {len(ablation.rows)} rows, seeds "
        f"{', '.join(map(str, ablation.seeds))}, rates {', '.join(f'{rate:g}' for rate in ablation.rates)}"
        + (f" tried for {ablation.rate_steps} steps" if len(ablation.rates) > 1 else "")
    ]
    for row in ablation.rows:
        lines += [f"# row {row.name}", f"train {' '.join(row.train)}"]
    for name, words in ablation.evaluations.items():
        lines += [f"# evaluation {name}", f"run {' '.join([*words, 'policy=vla'])}"]
    return "\n".join([*lines, f"# results in {ablation.folder}, trainings in {ablation.trainings}"])


def slug(text: str) -> str:
    """A row's name as part of a folder's."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _own_words(typed: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    own: dict[str, str] = {}
    rest = []
    for word in typed:
        key, _, value = word.partition("=")
        if key in _OWN_WORDS:
            own[key] = value
        else:
            rest.append(word)
    return own, rest


def _size(choice: str) -> dict[str, Any]:
    import yaml

    known = sorted(path.stem for path in (FOLDER / KEY / "sizes").glob("*.yaml"))
    path = Path(choice) if choice.endswith(".yaml") else FOLDER / KEY / "sizes" / f"{choice}.yaml"
    if not path.is_file():
        raise ConfigError(f"there is no size={choice}.{suggestion(choice, known)} Sizes: {', '.join(known)}")
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    wanted = ("train", "evaluate", "seeds", "rates", "rate_steps", "evaluations")
    if not isinstance(content, dict) or (lacking := [key for key in wanted if key not in content]):
        raise ConfigError(f"{path} says no {', '.join(lacking) if isinstance(content, dict) else 'rows'}")
    return {**content, "name": path.stem}


def _rows(content: Mapping[str, Any], name: str, size: str) -> dict[str, dict[str, Any]]:
    """Those of the preset that are for this size."""
    rows = content.get("rows")
    if not isinstance(rows, dict) or not rows or not all(isinstance(row, dict) for row in rows.values()):
        raise ConfigError(f"{KEY}={name}: `rows:` must name rows, each with `words:`")
    return {str(key): dict(row) for key, row in rows.items() if size in row.get("sizes", [size])}


def _sorted_words(
    typed: Sequence[str], rows: Sequence[str], evaluations: Sequence[str]
) -> tuple[list[str], dict[str, list[str]], dict[str, list[str]]]:
    common: list[str] = []
    per_row: dict[str, list[str]] = {row: [] for row in rows}
    per_evaluation: dict[str, list[str]] = {each: [] for each in evaluations}
    for word in typed:
        before, colon, after = word.partition(":")
        if not colon or "=" in before:
            common.append(word)
        elif before in per_row:
            per_row[before].append(after)
        elif before in per_evaluation:
            per_evaluation[before].append(after)
        else:
            known = [*rows, *evaluations]
            raise ConfigError(f"{word!r}: there is no {before!r}.{suggestion(before, known)} Known: {', '.join(known)}")
    for word in [*common, *(each for words in per_row.values() for each in words)]:
        if not (_trains(word) or _evaluates(word)):
            raise ConfigError(
                f"{word!r} belongs to no part of a trained ablation; type train.…, policy.…, benchmark.…, run.…, or "
                f"one of {', '.join(f'{each}=' for each in _OWN_WORDS)}"
            )
    return common, per_row, per_evaluation


def _trains(word: str) -> bool:
    return word.startswith(("train.", "train=", "policy=", *_TRAINED_ONLY))


def _evaluates(word: str) -> bool:
    return word.startswith(("benchmark.", "run.")) or (
        word.startswith("policy.") and not word.startswith(_TRAINED_ONLY)
    )


def _rates(words: Sequence[str], given: Sequence[float]) -> tuple[tuple[float, ...], list[str]]:
    typed = [word.partition("=")[2] for word in words if word.startswith("train.learning_rate=")]
    rest = [word for word in words if not word.startswith("train.learning_rate=")]
    values = typed[-1].strip("[]").split(",") if typed else list(given)
    try:
        return tuple(float(value) for value in values), rest
    except ValueError:
        raise ConfigError(f"train.learning_rate={typed[-1]}: numbers are wanted, e.g. 1e-4,2e-5") from None


def _whole_numbers(name: str, typed: str | None, given: Sequence[int]) -> tuple[int, ...]:
    try:
        found = tuple(int(value) for value in (typed.split(",") if typed is not None else given))
    except ValueError:
        raise ConfigError(f"{name}={typed}: whole numbers are wanted, e.g. {name}=0,1") from None
    if len(set(found)) < len(found) or any(value < 0 for value in found):
        raise ConfigError(f"{name}={typed}: each once, none below 0")
    return found
