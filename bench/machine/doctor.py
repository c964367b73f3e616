"""What this machine can do, what is missing, and the exact command that mends it.

Every driver is asked in a child process: a bad one takes that process down, not this one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vla_bench.bench.errors import UserError
from vla_bench.bench.families import families
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


def findings() -> Iterator[Finding]:
    """What every run needs, then what the families need; one by one, needed ones first."""
    of_families = [check for family in families() for check in family.checks]
    for check in sorted((*machine_checks.CHECKS, *of_families), key=lambda check: not check.needed):
        try:
            yield Finding(check.what, True, check.look(), check.needed)
        except (UserError, OSError, subprocess.SubprocessError) as error:
            yield Finding(check.what, False, str(error), check.needed)


def cores() -> str:
    """The machine in a few words."""
    return f"Python {sys.version.split()[0]}, {len(os.sched_getaffinity(0))} cores, {Path.cwd()}"
