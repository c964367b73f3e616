"""Several runs that differ in a few fields, on the same episodes, and one comparison of them all.

An ablation is a YAML file under ``configs/ablation`` (or anywhere) that names its rows and what each one
types on top of what was typed for all; the first row is the baseline::

    # What it is about, in a line.
    rows:
      base: [policy=vla_policy_head_lstm]
      one-step: [policy=vla_one_step, policy.window=1]
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_bench.bench.errors import ConfigError, ResultSetError, UserError, suggestion
from vla_bench.bench.setup.config import Config
from vla_bench.bench.setup.presets import FOLDER, load_config, presets
from vla_bench.bench.stopping import StopButton

if TYPE_CHECKING:
    from vla_bench.bench.records.comparison import Comparison
    from vla_bench.bench.records.result_set import ResultSet
    from vla_bench.bench.setup.preparation import Preparation

KEY = "ablation"
"""What is typed to run one: ``ablation=<name or file>``."""
EXTEND = "run.extend"
TABLE, REPORT = "comparison.md", "comparison.html"
_WORD = r"(?<![\w:'./])(?:benchmark|policy|run|stress)(?:\.\w+)*=(?:<[^>]*>|[\w./-]*\w)?"
"""A word of the command line within an error's message."""


@dataclass(frozen=True, slots=True)
class Ablation:
    """Rows and what distinguishes them."""

    name: str
    rows: Mapping[str, tuple[str, ...]]
    """Words of each row, as typed for a single run; the first row is the baseline."""


def load_ablation(choice: str) -> Ablation:
    """Reads a preset, or a file when ``choice`` ends in ``.yaml``.

    Raises:
        ConfigError: there is no such ablation, or it does not hold two rows of words or more.
    """
    import yaml

    path = Path(choice) if choice.endswith(".yaml") else FOLDER / KEY / f"{choice}.yaml"
    if not path.is_file():
        known = [preset.name for preset in presets(KEY)]
        raise ConfigError(
            f"there is no {KEY}={choice}.{suggestion(choice, known)} Presets: {', '.join(known)}; "
            "or give a .yaml file of your own"
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    rows = content.get("rows") if isinstance(content, dict) else None
    sound = isinstance(rows, dict) and all(
        isinstance(words, list) and all(isinstance(word, str) for word in words) for words in rows.values()
    )
    if not isinstance(rows, dict) or not sound or len(rows) < 2:
        raise ConfigError(f"{path}: `rows:` must name two rows or more, each with a list of words: base: [a=b]")
    return Ablation(path.stem, {str(name): tuple(words) for name, words in rows.items()})


def chosen_rows(typed: str | None, rows: Mapping[str, Any]) -> list[str]:
    """Names that ``rows=<row>|<row>`` chooses, in the order typed; all when nothing is typed.

    ConfigError: there is no such row.
    """
    chosen = list(rows) if typed is None else list(dict.fromkeys(each.strip() for each in typed.split("|")))
    for each in chosen:
        if each not in rows:
            raise ConfigError(f"rows={each}: there is no such row.{suggestion(each, rows)} Rows: {' | '.join(rows)}")
    return chosen


def narrowed(ablation: Ablation, typed: Sequence[str]) -> tuple[Ablation, list[str]]:
    """The ablation with the rows that ``rows=`` asks for, the first one typed its baseline, and the other words.

    ConfigError: there is no such row, fewer than two are left, or ``rows=`` is typed twice.
    """
    asked = [word for word in typed if word.startswith("rows=")]
    if not asked:
        return ablation, list(typed)
    if len(asked) > 1:
        raise ConfigError("rows= is given twice; keep one, with | between the rows")
    names = chosen_rows(asked[0].partition("=")[2], ablation.rows)
    if len(names) < 2:
        raise ConfigError(f"{asked[0]}: an ablation compares two rows or more, the first with each other")
    rest = [word for word in typed if word not in asked]
    return Ablation(ablation.name, {name: ablation.rows[name] for name in names}), rest


def extending(typed: Sequence[str]) -> tuple[list[str], bool]:
    """The words without ``run.extend``, and what that says: a row has no name to type, so it is for all rows.

    ConfigError: it is typed for a row alone, or is neither true nor false.
    """
    said = {"true": True, "false": False}
    extend, rest = False, []
    for word in typed:
        if _field(word) == EXTEND:
            value = word.partition("=")[2].lower()
            if value not in said:
                raise ConfigError(f"{word}: type {EXTEND}=true to add further episodes to all rows")
            extend = said[value]
        elif word.partition("=")[0].endswith(f":{EXTEND}"):
            raise ConfigError(f"{word}: rows are compared on the same episodes; type {EXTEND}=true, for all of them")
        else:
            rest.append(word)
    return rest, extend


def configurations(ablation: Ablation, typed: Sequence[str]) -> dict[str, Config]:
    """The configuration of each row.

    Args:
        ablation: the rows.
        typed: words for all rows; ``<row>:<word>`` is for that row alone.

    Raises:
        ConfigError: a word cannot be, is set by the rows themselves, or two rows are the same run.
    """
    common, own = [], {name: list(words) for name, words in ablation.rows.items()}
    for word in typed:
        row, colon, rest = word.partition(":")
        if colon and "=" not in row:
            if row not in own:
                raise ConfigError(
                    f"{word!r}: {ablation.name} has no row {row!r}.{suggestion(row, own)} Rows: {', '.join(own)}"
                )
            own[row].append(rest)
        else:
            common.append(word)
    made: dict[str, Config] = {}
    wrong: dict[str, ConfigError] = {}
    for name, words in own.items():
        for word in common:  # the rows' own words would win, and what was typed for all would be lost
            if (field := _field(word)) in map(_field, ablation.rows[name]):
                alone = _quoted(f"{name}:{word}")
                raise ConfigError(f"row {name}: {field} is given twice; type {alone} for that row alone")
        try:
            config = load_config([*common, *words])
        except ConfigError as error:
            wrong[name] = error
            continue
        if config.run.name is not None:
            raise ConfigError("run.name names one run; an ablation names its own. Type run.results=<folder>")
        results = str(folder_of(ablation, config))
        config = dataclasses.replace(config, run=dataclasses.replace(config.run, results=results))
        if twin := next((other for other, earlier in made.items() if earlier == config), None):
            raise ConfigError(f"rows {twin} and {name} are the same run")
        made[name] = config
    for name, found in wrong.items():
        if len(set(map(str, wrong.values()))) == 1 < len(wrong) == len(own):
            raise ConfigError(f"row {name}, like all others: {found}") from None
        raise told_of_row(name, found) from None
    return made


def folder_of(ablation: Ablation, config: Config) -> Path:
    """Where the rows' folders and the comparison are."""
    return Path(config.run.results) / f"{KEY}-{ablation.name}"


def told_of_row(name: str, error: UserError, common: Sequence[str] = ()) -> UserError:
    """The same error, saying of which row it is, and with the words to type as they are typed for that row alone.

    Args:
        name: the row.
        error: what went wrong with it.
        common: words that were typed for all rows; what is wrong with those is typed for all again.
    """
    everywhere = {_field(word) for word in common}

    def typed(found: re.Match[str]) -> str:
        word = found[0]
        return word if _field(word) in everywhere else _quoted(f"{name}:{word}")

    text = str(error).replace("run.name=<name>", "run.results=<folder>")
    said = re.sub(_WORD, typed, text)
    if said == text and not everywhere.intersection(map(_field, re.findall(_WORD, text))):
        said += f" What is for this row alone is typed as {_quoted(f'{name}:<group>.<field>=<value>')}"
    error.args = (f"row {name}: {said}", *error.args[1:])
    return error


def _quoted(word: str) -> str:
    """As a shell wants it; ``<value>`` stays readable."""
    return f"'{word}'" if " " in word else word


def _field(word: str) -> str:
    return word.partition("=")[0].lstrip("+")


def run(
    ablation: Ablation,
    configs: Mapping[str, Config],
    evaluate: Callable[[Preparation], ResultSet],
    begin: Callable[[str], object] = lambda name: None,
    typed: Sequence[str] = (),
    *,
    extend: bool = False,
) -> dict[str, ResultSet]:
    """Evaluates the rows one after the other; what they hold already is not run again.

    All rows are planned before the first one starts, so that the last one's mistake is known at once.

    Args:
        ablation: the rows.
        configs: of :func:`configurations`.
        evaluate: runs one that is planned.
        begin: told the name of each row before it is run.
        typed: words for all rows, which an error leaves as they are.
        extend: add further episodes to what the rows have, instead of beginning rows anew.

    Returns:
        The result sets by row; when one was interrupted it is the last.

    Raises:
        UserError: a row could not be run; says which, and what to type for it.
    """
    from vla_bench.bench.records.rows import Row, rows_beside, write_rows

    planned = plan_rows(ablation, configs, typed, extend=extend)
    folder = next(iter(planned.values())).folder.parent
    rows = [Row(name, ready.folder.name, ablation.rows[name]) for name, ready in planned.items()]
    write_rows(folder, [*rows, *rows_beside(folder, rows)])
    done: dict[str, ResultSet] = {}
    with StopButton() as stop:
        for name, ready in planned.items():
            begin(name)
            try:
                done[name] = evaluate(ready)
                if stop.asked or not done[name].has(ready.config.run.only):
                    break
            except UserError as error:
                raise told_of_row(name, error, typed) from None
            _check_one_state(done, configs)
    return done


def _check_one_state(done: Mapping[str, ResultSet], configs: Mapping[str, Config]) -> None:
    """Refuses the last row when another one of the same class was made by another state of it.

    Each row's folder belongs to one state; but one that was complete is not run again, and what only its workers
    read is not asked anew.
    """
    from vla_bench.bench.records.provenance import stated_by_workers, tries_of
    from vla_bench.bench.records.result_set import PROVENANCE
    from vla_bench.policies.identity.content import READ, named, shared_differences

    last = list(done)[-1]
    mine = stated_by_workers(tries_of(done[last].folder / PROVENANCE))
    for name in list(done)[:-1]:
        if configs[name].policy.target != configs[last].policy.target or configs[last].run.same_policy:
            continue
        theirs = stated_by_workers(tries_of(done[name].folder / PROVENANCE))
        edits = [line for line in shared_differences(theirs, mine, "now") if not line.startswith(f"{READ}…")]
        if edits:
            raise ResultSetError(
                f"rows {name} (there) and {last} (now) were made by two states of the policy: {named(edits)}. Type "
                "run.overwrite=true to make all rows anew, or run.same_policy=true if both are the same policy"
            )


def plan_rows(
    ablation: Ablation, configs: Mapping[str, Config], typed: Sequence[str] = (), *, extend: bool = False
) -> dict[str, Preparation]:
    """Every row as a run that could start, in a folder with the row's name, or in the one that it is to ``extend``.

    Raises:
        UserError: a row cannot be run; says which, and what to type.
    """
    from vla_bench.bench.setup.preparation import as_row, prepare

    planned: dict[str, Preparation] = {}
    for name, config in configs.items():
        try:
            ready = prepare(config)
        except UserError as error:
            raise told_of_row(name, error, typed) from None
        if twin := next((other for other, each in planned.items() if each.identity == ready.identity), None):
            raise ConfigError(f"rows {twin} and {name} of {ablation.name} are the same run")
        planned[name] = as_row(ready, name, extend=extend)
    return planned


def compare_rows(sets: Mapping[str, ResultSet]) -> list[Comparison]:
    """Each row with the baseline; rows that were measured in another way are marked, not refused."""
    from vla_bench.bench.records.comparison import compare

    (base, first), *others = sets.items()
    return [compare(first, second, names=(base, name), anyway=True) for name, second in others]


def write(folder: Path, sets: Mapping[str, ResultSet], found: Sequence[Comparison]) -> tuple[Path, Path]:
    """Leaves the comparison beside the rows' folders, as Markdown and as a report."""
    from vla_bench.bench.records.comparison_tables import to_markdown
    from vla_bench.bench.records.formats import markdown
    from vla_bench.bench.records.journal import write_atomically
    from vla_bench.bench.records.overview import side_by_side
    from vla_bench.bench.report import render

    table = "\n".join(markdown(each) for each in side_by_side(sets, anyway=True))
    texts = {TABLE: f"{to_markdown(found)}\n{table}", REPORT: render(sets, found)}
    try:
        for name, text in texts.items():
            write_atomically(folder / name, partial(_write_text, text))
    except OSError as error:
        raise ResultSetError(f"cannot write to {folder}: {error.strerror or error}") from error
    return folder / TABLE, folder / REPORT


def _write_text(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")
