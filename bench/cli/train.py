"""Trains a VLA on recorded data and leaves a training run; the same command goes on exactly where it was.

vla-bench train policy=vla_policy_head_lstm train.data=data/table
vla-bench train policy=vla_one_step train=released train.data=data/table train.learning_rate=1e-4,2e-5
vla-bench train policy=vla_one_step train.data=data/table train.evaluate_every=500 benchmark=<preset>
vla-bench train --help-fields                   every field of train=, with its meaning

policy=<preset> and policy.model.<field>= say what is trained, policy.checkpoint= what it starts from, train=<preset>
and train.<field>= how, run.name= and run.results= where it is kept. Of train.learning_rate and train.weight_decay
several values may be given, with commas: each combination is a run, and a table says which was best.

A run's folder holds last/ and best/, checkpoints that run at once: policy=vla policy.checkpoint=<folder>/best
"""

from __future__ import annotations

import argparse
import sys


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the words."""
    parser.add_argument("words", nargs="*", metavar="WORD", help="<group>=<preset> or <group>.<field>=<value>")
    parser.add_argument("--help-fields", action="store_true", help="every field of train=, with its meaning")
    parser.add_argument("--show-config", action="store_true", help="what would be trained, without doing it")


def run(arguments: argparse.Namespace) -> int:
    """Trains; exit code 0 when all steps are done, 130 when interrupted."""
    if arguments.help_fields:
        print(_fields(), end="")
        return 0
    from vla_bench.bench.training.rates import expand
    from vla_bench.bench.training.setup import load_training

    rows = expand(arguments.words)
    setups = [load_training(row.words) for row in rows]
    if arguments.show_config:
        import yaml

        for setup in setups:
            print(yaml.safe_dump(setup.to_plain(), sort_keys=False, allow_unicode=True))
        return 0
    results = []
    for row, setup in zip(rows, setups, strict=True):
        result = _train(setup, row.choice)
        if result is None:
            return 130
        results.append(result)
    if len(rows) > 1:
        _print_grid([row.choice for row in rows], results, setups[0].evaluates)
    return 0


def _train(setup, choice):
    from vla_bench.bench.training.screen import make_training_screen
    from vla_bench.bench.training.session import SilentTrainingScreen, is_first, train

    if choice and is_first():
        print(f"row {choice}", file=sys.stderr)
    result = train(setup, make_training_screen() if is_first() else SilentTrainingScreen())
    if not is_first():
        return result if result.complete else None
    if not result.complete:
        print(
            f"interrupted at step {result.step} of {result.steps}; the same command goes on from here", file=sys.stderr
        )
        return None
    if result.best is not None:
        what = "success" if setup.evaluates else "validation loss"
        print(f"best {what}: {result.best:.4g} at step {result.best_step}")
    print(f"training run: {result.folder}")
    print(f"evaluate it: run_benchmark.py policy=vla policy.checkpoint={result.checkpoint}")
    return result


def _print_grid(choices, results, evaluates):
    from rich.console import Console
    from rich.table import Table

    table = Table("run", "success" if evaluates else "validation loss", "at step", "folder", box=None)
    known = [each.best for each in results if each.best is not None]
    top = (max if evaluates else min)(known) if known else None
    for choice, each in zip(choices, results, strict=True):
        best = "none" if each.best is None else f"{each.best:.4g}{' *' if each.best == top else ''}"
        table.add_row(choice, best, str(each.best_step), str(each.folder))
    Console(highlight=False, width=None if sys.stdout.isatty() else 160).print(table)


def _fields() -> str:
    from vla_bench.bench.cli.run import entries, field_entry
    from vla_bench.bench.setup.config import field_help
    from vla_bench.bench.setup.presets import presets
    from vla_bench.policies.vla.training.config import TrainingConfig

    lines = ["train=<preset>", *(f"  {each.name:<22} {each.text}" for each in presets("train")), ""]
    return "\n".join([*lines, "train.<field>=<value>", *entries(map(field_entry, field_help(TrainingConfig)))]) + "\n"
