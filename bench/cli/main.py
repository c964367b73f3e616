"""The commands of ``vla-bench``.

A command is a module here with ``configure(parser)``, which adds its options, and
``run(arguments) -> int``, which returns the exit code; its line in :data:`COMMANDS` makes it known.
Only the module that was asked for is imported.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from vla_bench.bench.cli.run import main as run_evaluation
from vla_bench.bench.cli.run import print_whatever_it_is
from vla_bench.bench.errors import ConfigError, UserError, suggestion
from vla_bench.bench.stopping import answer_signals
from vla_bench.program import as_typed, evaluation, introduce, program, version

if TYPE_CHECKING:
    from vla_bench.bench.families.family import Command

RUN = "run"
COMMANDS = {
    RUN: "evaluate a policy on a benchmark",
    "assets": "fetch, check and list the files that scenes are made of",
    "compare": "which of two result sets is better, by how much, on which tasks",
    "data": "data sets: record, check, describe, pack, choose, import, export",
    "describe": "what a checkpoint or a result set is",
    "doctor": "what this machine has, and the command that mends what it lacks",
    "export": "a trained checkpoint under RoboVLMs' names",
    "join": "one result set out of slices of a run that were made on several machines",
    "leaderboard": "all result sets of a folder, best first, by protocol",
    "power": "how many episodes it takes to show a difference",
    "serve": "let other people's clients use a policy of ours, over a websocket",
    "stress": "where a policy breaks: result sets under stress against their unchanged twins",
    "report": "one HTML file of a result set or a comparison, to read or to send",
    "vectors": "what a policy holds inside: context vectors, described and compared",
    "video": "clips of the episodes of a result set, from what they executed",
    "train": "train a VLA on recorded data, beside its validation and success",
    "watch": "a run that goes on elsewhere, as it goes on",
    "table": "result sets beside published numbers, for a paper or a page",
}
"""Name and one line of help of each command; families add some."""

INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """Argparse, but words and options come in any order, and a mistake is a :class:`UserError` that names what was
    nearest."""

    _in_any_order = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, which refuses words after an option where it takes several: here options are read first."""
        actions = any(each.nargs == argparse.PARSER for each in self._get_positional_actions())
        if actions or self._in_any_order:  # actions have parsers of their own, of this kind
            return super().parse_known_args(args, namespace)
        self._in_any_order = True
        try:
            parsed, unknown = self.parse_known_intermixed_args(args, namespace)
        finally:
            self._in_any_order = False
        if unknown:
            option = next((word.partition("=")[0] for word in unknown if word.startswith("--")), "")
            self.error(f"unrecognized arguments: {' '.join(unknown)}.{suggestion(option, self._option_string_actions)}")
        return parsed, unknown

    def error(self, message: str) -> NoReturn:
        """Turns argparse's own exit into an error of ours."""
        end = "" if message.endswith((".", "?")) else "."
        raise ConfigError(f"{message}{end} Type {self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; user errors are printed, never raised."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:
        introduce()
        if words[:1] == [RUN]:
            answer_signals()
    if words[:1] == [RUN]:
        return run_evaluation(words[1:])
    print_whatever_it_is()
    try:
        return _answer(words)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, e.g. `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _answer(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(help_text(), end="")
        return 0
    if words[0] in ("-V", "--version"):
        print(f"vla-bench {version()}")
        return 0
    name = words[0]
    command = importlib.import_module(module_of(name))
    parser = Parser(prog=f"{program()} {name}", description=as_typed(command.__doc__ or ""), formatter_class=_Formatter)
    command.configure(parser)
    try:
        parsed = parser.parse_args(words[1:])
    except SystemExit as exit:  # after --help
        return int(exit.code or 0)
    return command.run(parsed)


def module_of(name: str) -> str:
    """The module of a command, ours or a family's. ConfigError: there is none of that name."""
    if name in COMMANDS:
        return f"vla_bench.bench.cli.{name}"
    found = commands_of_families()
    if name not in found:
        if "=" in name or name.startswith("--"):
            raise ConfigError(f"there is no command {name!r}. For an evaluation type: {evaluation()} {name} ...")
        known = [*COMMANDS, *found]
        raise ConfigError(f"there is no command {name!r}.{suggestion(name, known)} Commands: {', '.join(known)}")
    return found[name].module


def is_command(word: str) -> bool:
    """Whether a word names a command rather than a part of an evaluation."""
    return word in COMMANDS or ("=" not in word and not word.startswith("-") and word in commands_of_families())


def commands_of_families() -> dict[str, Command]:
    """What families add, by name."""
    from vla_bench.bench.families import families

    return {command.name: command for family in families() for command in family.commands}


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the description's lines, and gives the options' names room."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=100)


def help_text() -> str:
    """What commands there are."""
    lines = [f"usage: {program()} <command> ...", "", "commands"]
    known = COMMANDS | {name: command.help for name, command in commands_of_families().items()}
    lines += [f"  {name:<12} {text}" for name, text in known.items()]
    lines += ["", "options", f"  {'--version':<12} of this program", ""]
    lines += [f"{program()} <command> --help says more"]
    return "\n".join(lines) + "\n"
