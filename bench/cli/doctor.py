"""Looks at what evaluations need on this machine, and says what to type where something is missing.

vla-bench doctor                   what is here, what is not
vla-bench doctor --help            what it can bring or make
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vla_bench.bench.families.family import Mend


def _mends() -> list[Mend]:
    from vla_bench.bench.families import families

    return [mend for family in families() for mend in family.mends]


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds what the families can bring or make."""
    for mend in _mends():
        parser.add_argument(f"--{mend.name}", dest="mends", action="append_const", const=mend, help=mend.help)
    parser.set_defaults(mends=[])


def run(arguments: argparse.Namespace) -> int:
    """Exit code 1 when no evaluation would work here; what only some of them need may be missing."""
    if arguments.mends:
        for mend in arguments.mends:
            print(mend.run())
        return 0
    from vla_bench.bench.machine.doctor import cores, findings

    print(cores())
    broken = 0
    for finding in findings():
        mark = "ok" if finding.good else "!!" if finding.needed else "--"
        print(f"{mark}  {finding.what}: {finding.text}", flush=True)
        broken += mark == "!!"
    return 1 if broken else 0
