"""Data sets of demonstrations."""

from __future__ import annotations

import argparse
import importlib
from typing import TYPE_CHECKING

from vla_bench.program import as_typed

if TYPE_CHECKING:
    from vla_bench.bench.families.family import Command


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the actions of all families, and to the description what each family says of its data sets."""
    from vla_bench.bench.families import families

    about = [family.data.about for family in families() if family.data is not None]
    parser.description = as_typed("\n\n".join([(__doc__ or "").strip(), *about]))
    actions = actions_of_families()
    added = parser.add_subparsers(dest="action", metavar=" | ".join(actions), required=True)
    for name, command in actions.items():
        module = importlib.import_module(command.module)
        action = added.add_parser(
            name, help=command.help, description=as_typed(module.__doc__ or ""), formatter_class=parser.formatter_class
        )
        module.configure(action)
        action.set_defaults(run=module.run)


def run(arguments: argparse.Namespace) -> int:
    """Does one action."""
    return arguments.run(arguments)


def actions_of_families() -> dict[str, Command]:
    """What families do with their data sets, by what is typed."""
    from vla_bench.bench.families import families

    found: dict[str, Command] = {}
    for family in families():
        for command in family.data.actions if family.data is not None else ():
            found[command.name if command.name not in found else f"{family.name}-{command.name}"] = command
    return found
