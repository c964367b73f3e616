"""Words and options of a command come in any order."""

from __future__ import annotations

import argparse
import importlib
import itertools

import pytest

from vla_bench.bench.cli.main import COMMANDS, RUN, Parser, commands_of_families, module_of
from vla_bench.bench.errors import ConfigError


def parser_of(name: str) -> Parser:
    parser = Parser(prog=name)
    importlib.import_module(module_of(name)).configure(parser)
    return parser


def with_several_words():
    """Each command and action that takes a number of words that is not fixed, with what it takes."""
    for name in sorted({*COMMANDS, *commands_of_families()} - {RUN}):
        parsers = [((), parser_of(name))]
        while parsers:
            words, parser = parsers.pop()
            for action in parser._get_positional_actions():
                if action.nargs == argparse.PARSER:
                    parsers += [((*words, word), of) for word, of in action.choices.items()]
                elif action.nargs in ("*", "+"):
                    yield name, words, parser, action.dest


def options_of(parser: Parser) -> list[list[str]]:
    """Those that must be given, and one more."""
    groups = [group._group_actions[0] for group in parser._mutually_exclusive_groups if group.required]
    other = [each for group in parser._mutually_exclusive_groups for each in group._group_actions]
    optional = [each for each in parser._get_optional_actions() if each.dest != "help"]
    needed = [each for each in optional if each.required or each in groups]
    more = [each for each in optional if each not in (*needed, *other)][:1]
    return [
        [each.option_strings[-1], *([] if each.nargs == 0 else [str(next(iter(each.choices or ["1"])))])]
        for each in (*needed, *more)
    ]


@pytest.mark.parametrize(
    ("name", "words", "parser", "dest"), list(with_several_words()), ids=lambda value: str(value)[:40]
)
def test_words_come_before_between_and_after_options(name, words, parser, dest):
    options = options_of(parser)
    words = (*words, *("there" for each in parser._get_positional_actions() if each.nargs is None))
    for parts in itertools.permutations([["a=1"], ["b=2"], *options]):
        typed = parser_of(name).parse_args([*words, *itertools.chain(*parts)])
        order = [part[0] for part in parts if part[0] in ("a=1", "b=2")]
        assert [str(each) for each in getattr(typed, dest)] == order


def test_actions_that_take_words_are_among_them():
    found = {(name, *words) for name, words, *_ in with_several_words()}
    assert found >= {("vectors", "extract"), ("vectors", "report"), ("data", "record"), ("train",), ("serve",)}


def test_a_policy_typed_after_an_option():
    typed = parser_of("vectors").parse_args(
        ["extract", "policy=x", "--data", "y", "policy.z=1", "--at", "a", "--output", "o", "--at", "b", "policy.w=-2"]
    )
    assert typed.words == ["policy=x", "policy.z=1", "policy.w=-2"] and typed.at == ["a", "b"]


def test_an_unknown_option_is_told_with_the_nearest():
    with pytest.raises(ConfigError, match=r"--sampels 5\. Did you mean '--samples'\? Type vectors extract --help"):
        parser_of("vectors").parse_args(["extract", "policy=x", "--data", "y", "--sampels", "5", "--output", "o"])
