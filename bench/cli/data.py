"""Data sets of demonstrations: CALVIN's own layout, its packed form for training, and other people's forms.

vla-bench data record policy=expert output=demos     demonstrations, by any policy
vla-bench data check task_D_D                        known defects, and where they are
vla-bench data describe task_D_D --picture d.png     counts, tasks, lengths, quantiles, a look at it
vla-bench data pack task_D_D packed --size 224       for training: flat arrays, resumable
vla-bench data choose task_D_D --per-task 10 --to few.json
                                                           a part that is like the whole
vla-bench data import lerobot calvin_lerobot calvin_from_lerobot
vla-bench data export lerobot task_D_D calvin_lerobot
"""

from __future__ import annotations

import argparse
import importlib

from vla_bench.program import as_typed

ACTIONS = {
    "record": "record demonstrations: by the expert, by any policy, or from a result set",
    "check": "find defects, and say where",
    "describe": "counts, tasks, lengths, quantiles, a picture",
    "pack": "make the form that training reads fastest",
    "choose": "choose annotations over tasks, scenes and lengths",
    "import": "take a data set of another form",
    "export": "give a data set in another form",
    "finish": "close a data set whose writing was cut off",
}
"""Name and one line of help of each action; its module in ``bench/data`` has the name with ``_data`` added."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the actions."""
    actions = parser.add_subparsers(dest="action", metavar=" | ".join(ACTIONS), required=True)
    for name, text in ACTIONS.items():
        module = _module(name)
        action = actions.add_parser(
            name, help=text, description=as_typed(module.__doc__ or ""), formatter_class=parser.formatter_class
        )
        module.configure(action)
        action.set_defaults(run=module.run)


def run(arguments: argparse.Namespace) -> int:
    """Does one action."""
    return arguments.run(arguments)


def _module(name: str):  # type: ignore[no-untyped-def]
    return importlib.import_module(f"vla_bench.bench.data.{name}_data")
