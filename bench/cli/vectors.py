"""What a policy holds inside: its context vectors, taken at chosen frames, described and compared.

vla-bench vectors plan --data packed --samples 500             which frames, and why
vla-bench vectors extract policy=vla policy.checkpoint=results/laptop/best --data packed --output vectors/a
vla-bench vectors describe vectors/a                           statistics with intervals, probes, are n enough
vla-bench vectors compare vectors/a vectors/b                  two policies on the same frames
vla-bench vectors report vectors/a vectors/b                   the same as a page with maps, and as Markdown

docs/vectors.md has the definitions.
"""

from __future__ import annotations

import argparse
import importlib

from vla_bench.program import as_typed

ACTIONS = {
    "plan": "which frames are looked at, and why",
    "extract": "show a policy these frames and keep what it holds",
    "describe": "statistics with intervals, broken dimensions, probes",
    "compare": "two extractions of the same frames",
    "report": "one offline HTML page of one or two, and Markdown",
}
"""Name and one line of help of each action; its module in ``bench/vectors`` has the name with ``_vectors`` added."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the actions."""
    actions = parser.add_subparsers(dest="action", metavar=" | ".join(ACTIONS), required=True)
    for name, text in ACTIONS.items():
        module = importlib.import_module(f"vla_bench.bench.vectors.{name}_vectors")
        action = actions.add_parser(
            name, help=text, description=as_typed(module.__doc__ or ""), formatter_class=parser.formatter_class
        )
        module.configure(action)
        action.set_defaults(run=module.run)


def run(arguments: argparse.Namespace) -> int:
    """Does one action."""
    return arguments.run(arguments)
