"""The command line of an evaluation: words in, tables out, an exit code.

Imports nothing heavy; ``--help`` is text from the presets' first lines and the fields' docstrings.
"""

from __future__ import annotations

import difflib
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

from vla_bench.bench.cli.compare import below, parse_least
from vla_bench.bench.errors import ConfigError, RunFailed, UserError
from vla_bench.bench.setup.config import GROUPS, Config, FieldHelp, field_help
from vla_bench.bench.setup.presets import presets
from vla_bench.bench.setup.presets import registered_names as names
from vla_bench.bench.stopping import INTERRUPTED, INTERRUPTION, StopButton, interrupting
from vla_bench.program import evaluation

if TYPE_CHECKING:
    from vla_bench.bench.records.result_set import ResultSet

DONE, USAGE, FAILED, TOO_LOW = 0, 1, 2, 3

EXIT_CODES = {
    DONE: "every episode is judged (or given up within run.max_error_rate)",
    USAGE: "something typed or set up is wrong; the message says what to type",
    FAILED: "no worker could start, or more errors than run.max_error_rate allows",
    TOO_LOW: "--fail-under: the number is not surely that good",
    INTERRUPTED: INTERRUPTION,
}

OPTIONS = {
    "--help": "this text; --help policy: that group alone",
    "--list": "the presets of every group",
    "--show-config": "what would be run, and where to, without running it",
}
ASKED = {
    "--junit": "<file>: each episode as a test case of JUnit's XML, for a CI service",
    "--github-summary": "add the tables to the summary of this GitHub Actions step",
    "--fail-under": "average=2.5, single=0.8 or success=0.4: exit code 3 when the interval begins below it",
}
"""Options of what is done with the results."""

EXAMPLES = (
    ("see it work: nothing to download, about a minute", "policy=expert"),
    ("two workers, no Ray", "policy=stub run.workers=2 run.backend=local"),
    ("debug your class: breakpoint() stops here", "policy=my_module.py:MyPolicy run.backend=inline"),
    ("your own class in my_module.py", "policy=my_module.py:MyPolicy policy.checkpoint=model.pt"),
    ("several policies on the same sequences, compared", "ablation=smoke benchmark.sequences=20"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code; user errors are printed, never raised."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    print_whatever_it_is()
    try:
        return _answer(words)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(INTERRUPTION, file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, e.g. `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def print_whatever_it_is() -> None:
    """A terminal that lacks a character (PYTHONIOENCODING, an old locale) shows ``?`` in its place."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def _answer(words: list[str]) -> int:
    flags = [word for word in words if word.startswith("-")]
    typed = [word for word in words if not word.startswith("-")]
    asked: dict[str, str] = {}
    for flag in list(flags):
        name, _, value = flag.partition("=")
        if name in ASKED:
            if (name == "--github-summary") == bool(value):
                raise ConfigError(f"type {name}{'' if value else '=<value>'}: {ASKED[name]}")
            asked[name] = value
            flags.remove(flag)
        elif flag not in (*OPTIONS, "-h"):
            raise ConfigError(_unknown_option(flag))
    if "--help" in flags or "-h" in flags or not words:
        groups = [word.rstrip("=") for word in typed]
        for group in groups:
            if group not in GROUPS:
                raise ConfigError(f"--help {group}: there is no such group. Groups: {', '.join(GROUPS)}")
        print("\n".join("\n".join(group_help(group)[1:]) for group in groups) + "\n" if groups else help_text(), end="")
        return DONE
    if "--list" in flags:
        print(preset_text(), end="")
        return DONE

    from vla_bench.bench.setup.presets import load_config, overridden

    for word in overridden(typed):
        print(f"note: {word} does not count, it is typed again later", file=sys.stderr)
    if ablations := [word for word in typed if word.startswith("ablation=")]:
        if len(ablations) > 1:
            raise ConfigError("ablation is given twice; keep one")
        sys.path.insert(0, os.getcwd())
        rest = [word for word in typed if word not in ablations]
        if asked:
            raise ConfigError(f"{next(iter(asked))} is of one run, and an ablation has several; leave it out")
        from vla_bench.bench.cli.ablation import run_ablation

        try:
            return run_ablation(ablations[0].partition("=")[2], rest, show="--show-config" in flags)
        except RunFailed as failure:
            if failure.result_set is not None and failure.result_set.records:
                print_tables(failure.result_set)
            raise
    config = load_config(typed)
    sys.path.insert(0, os.getcwd())  # a policy of the user's, beside the user
    if "--show-config" in flags:
        return _show(config)
    return _run(config, asked)


def _run(config: Config, asked: Mapping[str, str]) -> int:
    from vla_bench.bench.cli.finishing import make_more
    from vla_bench.bench.live.screen import make_screen
    from vla_bench.bench.runner import evaluate, plan_run

    least = parse_least(asked.get("--fail-under"))
    ready = plan_run(config)
    with StopButton() as stop:  # from here on tables are printed, whatever comes
        try:
            result_set = evaluate(config, make_screen(plain=config.run.backend == "inline"), ready)
        except RunFailed as failure:
            if failure.result_set is not None and failure.result_set.records:
                print_tables(failure.result_set)
                _hand_over(failure.result_set, asked)
            raise
        print_tables(result_set)
        _hand_over(result_set, asked)
    more = config.run.tracking != "none" or config.run.video != "none"
    if not result_set.has(config.run.only) or (stop.asked and more):
        print(INTERRUPTION, file=sys.stderr)
        return INTERRUPTED
    with interrupting():
        make_more(config, result_set)
    if least and (line := below(result_set.summary.policy, result_set, *least)):
        print(line, file=sys.stderr)
        return TOO_LOW
    return DONE


def _hand_over(result_set: ResultSet, asked: Mapping[str, str]) -> None:
    """Writes what a CI service wants of the results."""
    if path := asked.get("--junit"):
        from vla_bench.bench.records.for_ci import junit

        try:
            Path(path).write_text(junit(result_set), encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"--junit: cannot write {path}: {error.strerror or error}") from error
    if "--github-summary" in asked:
        from vla_bench.bench.records.for_ci import append_step_summary
        from vla_bench.bench.records.tables import to_markdown

        append_step_summary(to_markdown(result_set.summary))


def print_tables(result_set: ResultSet) -> None:
    """Prints the tables of a result set, and where it is."""
    from rich.console import Console

    from vla_bench.bench.records.screen_tables import to_screen

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    console.print(to_screen(result_set.summary))
    console.print(f"result set: {result_set.folder}", soft_wrap=True, markup=False)


def _show(config: Config) -> int:
    import yaml

    from vla_bench.bench.setup.config import config_to_plain
    from vla_bench.bench.setup.preparation import prepare

    print(yaml.safe_dump(config_to_plain(config), sort_keys=False, allow_unicode=True))
    ready = prepare(config)
    protocol = ready.plan.protocol
    print(f"# protocol {protocol.hash}: {len(protocol.episodes)} episodes")
    for name, value in protocol.facts.items():
        print(f"#   {name}: {value}")
    for note in ready.plan.notes:
        print(f"# {note}")
    print(f"# result set: {ready.folder}{' (exists)' if ready.folder.exists() else ''}")
    return DONE


def _unknown_option(flag: str) -> str:
    name = flag.lstrip("-").partition("=")[0].replace("-", "_")
    from vla_bench.bench.families import families

    homes = {each.name: "benchmark" for family in families() for each in field_help(family.options)}
    homes |= {each.name: group for group, cls in GROUPS.items() for each in field_help(cls)}
    typed = {field: f"{group}.{field}=<value>" for field, group in homes.items()}
    typed |= {group: f"{group}=<preset>" for group in GROUPS} | {option[2:]: option for option in OPTIONS}
    near = difflib.get_close_matches(name, typed, n=1, cutoff=0.6)
    hint = f" Did you mean {typed[near[0]]}?" if near else ""
    return f"there is no option {flag}.{hint} Options: {', '.join(OPTIONS)}"


def preset_text() -> str:
    """The presets of every group, one line each; ablations with their rows."""
    from vla_bench.bench.cli.ablation import listed

    blocks = [*([f"{group}=", *entries(choices(group))] for group in GROUPS), ["ablation=", *entries(listed())]]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def choices(group: str) -> list[tuple[str, str]]:
    """What may be typed after ``group=``, with a line of help: presets, then policies that need none."""
    listed = [(each.name, each.text) for each in presets(group)]
    if group != "policy":
        return listed
    known = [name for name, _ in listed]
    return listed + [
        (name, WITHOUT_PRESET.get(name, "of an installed package")) for name in names() if name not in known
    ]


def help_text() -> str:
    """The whole help."""
    from vla_bench.bench.families import families

    known = list(families())
    command = evaluation()
    lines = [
        f"usage: {command} [<group>=<preset>] [<group>.<field>=<value>] ...",
        "",
        "Evaluates a policy on a benchmark and leaves a result set.",
        "Running the same command again finishes what is missing and redoes nothing.",
        "",
        "examples",
    ]
    for text, words in (*EXAMPLES, *(example for family in known for example in family.examples)):
        lines += [f"  # {text}", f"  {command} {words}"]
    lines += ["", "options", *entries((OPTIONS | ASKED).items())]
    for group in GROUPS:
        lines += group_help(group)
    lines += [
        "",
        "ablation=<preset or file.yaml>   several runs and one comparison; <row>:<word> is for one row,",
        "                                 rows=<row>|<row> for some of them",
    ]
    lines += entries((each.name, each.text) for each in presets("ablation"))
    lines += ["", "exit codes", *entries((str(code), text) for code, text in EXIT_CODES.items())]
    return "\n".join(lines) + "\n"


def group_help(group: str) -> list[str]:
    """Lines of help on one group: what may be chosen, and its fields."""
    from vla_bench.bench.families import families

    lines = ["", f"{group}=<preset>", *entries(choices(group)), "", f"{group}.<field>=<value>"]
    lines += entries(POLICY_FIELDS if group == "policy" else map(field_entry, field_help(GROUPS[group])))
    for family in families() if group == "benchmark" else ():
        lines += ["", f"benchmark.<field>=<value> of the family {family.name}"]
        lines += entries(map(field_entry, field_help(family.options)))
    return lines


WITHOUT_PRESET = {
    "vla": "A trained VLA of any structure: policy.checkpoint=model.pt, fields of its structure (docs/vla.md).",
    "remote": "A policy that is served elsewhere: policy.protocol=, policy.address= (docs/remote.md).",
}
POLICY_FIELDS = (
    ("_target_", "Your class as package.module.Class; the preset may be left out."),
    ("<argument>", "Handed to the class as a keyword argument."),
)


def field_entry(field: FieldHelp) -> tuple[str, str]:
    """Name and help of a field, for :func:`entries`."""
    choices = " | ".join(f"{choice}*" if choice == field.default else choice for choice in field.choices)
    shown = choices or field.default
    return field.name, field.text + (f" [{shown}]" if shown else "")


def entries(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Names and what they mean, in two columns that fit the terminal."""
    listed = list(pairs)
    column = max(18, *(len(name) for name, _ in listed)) + 3
    width = min(110, max(60, shutil.get_terminal_size().columns - 1))
    return [
        textwrap.fill(
            text,
            width,
            initial_indent=f"  {name}".ljust(column),
            subsequent_indent=" " * column,
            break_on_hyphens=False,
        )
        for name, text in listed
    ]
