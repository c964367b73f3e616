"""What this machine can do, what is missing, and the exact command that mends it.

Every driver is asked in a child process: a bad one takes that process down, not this one.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vla_bench.bench.errors import UserError
from vla_bench.bench.families import families, find_family
from vla_bench.bench.families.family import BenchmarkConfig, Check
from vla_bench.bench.machine import checks as machine_checks


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    good: bool
    text: str
    """What there is, or one sentence on what is wrong and what to type."""
    needed: bool = False
    """Whether no evaluation can do without it."""


def findings(
    benchmark: BenchmarkConfig | None = None, tell: Callable[[Check], object] = lambda check: None
) -> Iterator[Finding]:
    """What every run needs, then what the families need; one by one, needed ones first.

    Args:
        benchmark: looked at alone, and everything of it is needed; None: all families.
        tell: called before each look.
    """
    for check in _checks(benchmark):
        tell(check)
        try:
            yield Finding(check.what, True, check.look(), check.needed)
        except (UserError, OSError, subprocess.SubprocessError) as error:
            yield Finding(check.what, False, str(error), check.needed)


def _checks(benchmark: BenchmarkConfig | None) -> list[Check]:
    if benchmark is None:
        of_families = [check for family in families() for check in family.checks]
        return sorted((*machine_checks.CHECKS, *of_families), key=lambda check: not check.needed)
    meant = [check for check in find_family(benchmark.family).checks if check.meant(benchmark)]
    return [*machine_checks.CHECKS, *(dataclasses.replace(check, needed=True) for check in meant)]


def cores() -> str:
    """The machine in a few words."""
    return f"Python {sys.version.split()[0]}, {len(os.sched_getaffinity(0))} cores, {Path.cwd()}"
