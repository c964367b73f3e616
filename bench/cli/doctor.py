"""Looks at what evaluations need on this machine, and says what to type where something is missing.

vla-bench doctor                   what is here, what is not
vla-bench doctor <benchmark>        for that benchmark alone; exit code 0 when it can be run
vla-bench doctor --format json     for programs
vla-bench doctor --help            what it can bring or make
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vla_bench.bench.families.family import BenchmarkConfig, Check, Mend
    from vla_bench.bench.machine.doctor import Finding

PATIENCE_SECONDS = 1.0
"""Of a look, after which is said what it is about."""
REPEAT_SECONDS = 10.0
"""How often it is said again where no line can be redrawn."""


def _mends() -> list[Mend]:
    from vla_bench.bench.families import families

    return [mend for family in families() for mend in family.mends]


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds what the families can bring or make."""
    parser.add_argument("benchmark", nargs="?", help="a preset, looked at alone; without one, everything")
    parser.add_argument("--format", choices=("screen", "json"), default="screen", help="screen unless given")
    for mend in _mends():
        parser.add_argument(f"--{mend.name}", dest="mends", action="append_const", const=mend, help=mend.help)
    parser.set_defaults(mends=[])


def run(arguments: argparse.Namespace) -> int:
    """Exit code 1 when no evaluation would work here, or not the one of the benchmark that is named."""
    if arguments.mends:
        for mend in arguments.mends:
            print(mend.run())
        return 0
    from vla_bench.bench.machine.doctor import cores, findings

    benchmark = _benchmark(arguments.benchmark) if arguments.benchmark else None
    if arguments.format == "screen":
        print(cores(), flush=True)
    found: list[Finding] = []
    with _Waiting() as waiting:
        for finding in findings(benchmark, waiting.begin):
            waiting.end()
            found.append(finding)
            if arguments.format == "screen":
                mark = "ok" if finding.good else "!!" if finding.needed else "--"
                print(f"{mark}  {finding.what}: {finding.text}", flush=True)
    broken = any(finding.needed and not finding.good for finding in found)
    if arguments.format == "json":
        from vla_bench.bench.records.for_programs import as_json

        plain = [dataclasses.asdict(finding) for finding in found]
        print(as_json({"benchmark": arguments.benchmark, "ready": not broken, "findings": plain}), end="")
    elif arguments.benchmark:
        print(f"{arguments.benchmark} {'cannot be run here yet' if broken else 'can be run here'}")
    return 1 if broken else 0


def _benchmark(name: str) -> BenchmarkConfig:
    from vla_bench.bench.setup.presets import load_config

    return load_config([f"benchmark={name}"]).benchmark


class _Waiting:
    """Says what is looked at when that takes a while, and how long it has taken: in a terminal in one line."""

    def __init__(self) -> None:
        self._over: threading.Event | None = None
        self._thread: threading.Thread | None = None

    def begin(self, check: Check) -> None:
        """Starts to wait for a look."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=_speak, args=(check, self._over), daemon=True)
        self._thread.start()

    def end(self) -> None:
        """It is over."""
        if self._over is not None and self._thread is not None:
            self._over.set()
            self._thread.join()
            self._over = self._thread = None

    def __enter__(self) -> _Waiting:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def _speak(check: Check, over: threading.Event) -> None:
    began, terminal, spoke = time.monotonic(), sys.stderr.isatty(), False
    wait = PATIENCE_SECONDS
    while not over.wait(wait):
        took = f", {time.monotonic() - began:.0f} s so far" if spoke else ""
        line = f"..  {check.what}: still looking{took}{f' ({check.slow})' if check.slow else ''}"
        print(f"\r\x1b[K{line}" if terminal else line, end="" if terminal else "\n", file=sys.stderr, flush=True)
        spoke, wait = True, 1.0 if terminal else REPEAT_SECONDS
    if spoke and terminal:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
