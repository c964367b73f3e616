"""Record demonstrations as a data set of CALVIN's layout.

Words are typed as for an evaluation: policy=<preset> and policy.<argument>=<value>, run.<field>=<value> for
workers and deadlines, and what is recorded without a group. The same command goes on where it was stopped.

  vla-bench data record policy=expert output=demos/abc scenes=A,B,C count=20 run.workers=2
  vla-bench data record policy=expert output=demos/lifts tasks=lift_red_block_table count=100
      static=100 gripper=42 labels=commanded bursts=0.7 policy.tolerance=0.003
  vla-bench data record policy=expert output=demos/chains chain=5 count=10
  vla-bench data record output=demos/mine result_set=results/mine
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vla_bench.bench.errors import ConfigError, suggestion

if TYPE_CHECKING:
    from vla_bench.bench.families.calvin_demonstrations.options import RecordingConfig
    from vla_bench.bench.families.calvin_demonstrations.record import Recorded
    from vla_bench.bench.setup.config import Config

GROUPS = ("policy", "run")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the words and, to the end of the help, what they can be."""
    parser.add_argument("words", nargs="*", metavar="word=value", help="what is recorded, by whom, and how")
    parser.epilog = _fields_text()


def run(arguments: argparse.Namespace) -> int:
    """Records, and says what there is."""
    import os

    recording, config = parse(arguments.words)
    sys.path.insert(0, os.getcwd())  # a policy of the user's, beside the user
    from vla_bench.bench.families.calvin_demonstrations.record import record
    from vla_bench.bench.live.screen import make_screen

    recorded = record(recording, config.policy, config.run, make_screen())
    print(_told(recorded))
    if not recorded.complete:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 2 if recorded.lacking else 0


def parse(words: Sequence[str]) -> tuple[RecordingConfig, Config]:
    """What is recorded, and the policy and run that were typed with it.

    Raises:
        ConfigError: a word is unknown or cannot be read.
    """
    import yaml

    from vla_bench.bench.families.calvin_demonstrations.options import RecordingConfig
    from vla_bench.bench.setup.config import build, field_help
    from vla_bench.bench.setup.presets import load_config

    known = {each.name: each for each in field_help(RecordingConfig)}
    mine: dict[str, Any] = {}
    others: list[str] = []
    for word in words:
        name, equals, raw = word.partition("=")
        if name.partition(".")[0] in GROUPS:
            others.append(word)
            continue
        if not equals:
            raise ConfigError(f"{word!r}: type it as <name>=<value>, e.g. output=demos/abc")
        if name not in known:
            hint = suggestion(name, (*known, *GROUPS))
            raise ConfigError(f"data record has no {name!r}.{hint} It has {', '.join(known)}; policy and run")
        if name in mine:
            raise ConfigError(f"{name} is given twice; keep one")
        try:
            value = yaml.safe_load(raw) if name not in ("output", "result_set") else raw
        except yaml.YAMLError:
            raise ConfigError(f"{word!r}: cannot read the value") from None
        if isinstance(value, str) and "," in value:
            value = [each.strip() for each in value.split(",")]
        mine[name] = value
    for name in (
        "run.seed",
        "run.name",
        "run.results",
        "run.overwrite",
        "run.extend",
        "run.only",
        "run.video",
        "run.vectors",
    ):
        if any(word.startswith(f"{name}=") for word in others):
            raise ConfigError(f"{name} is of evaluations; data record has output=<folder> and seed=<number>")
    return build(RecordingConfig, mine, ""), load_config(others)


def _told(recorded: Recorded) -> str:
    lines = [
        f"{recorded.demonstrations} demonstrations of {recorded.tried} episodes, {recorded.frames} frames: "
        f"{recorded.folder}"
    ]
    if recorded.lacking:
        lines.append("fewer than wanted, after all tries:")
        lines += [f"  {cell}: {number} missing" for cell, number in recorded.lacking.items()]
    return "\n".join(lines)


def _fields_text() -> str:
    from vla_bench.bench.cli.run import entries, field_entry
    from vla_bench.bench.families.calvin_demonstrations.options import RecordingConfig
    from vla_bench.bench.setup.config import field_help

    return "\n".join(["words", *entries(field_entry(each) for each in field_help(RecordingConfig))])
