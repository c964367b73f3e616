"""How many small faults the unit tests notice: ``python -m tools.mutation``.

Plants one fault after another in a copy of the checkout and runs the unit tests nearest to it, without the recordings
of the original environments. Most faults are those of cosmic-ray; three kinds are our own: a call left out, two
arguments swapped, a keyword left out. Type annotations and decorators are left alone. Every verdict is kept in
``results/mutation.jsonl``, so the command goes on where it was ended; a survivor is tried again when its tests change.

``--planted`` plants the faults that were once overlooked, each by name, instead (:mod:`tools.planted`).
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import hashlib
import importlib.util
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from tools.mutation_operators import OPERATORS, OURS, Range, operator_named
from tools.planted import PLANTED

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "results/mutation.jsonl"
TARGETS = {
    "bench/protocol.py": "protocol score",
    "bench/score.py": "score",
    "bench/episode/rollout.py": "rollout seed preflight",
    "bench/episode/actions.py": "inference rollout",
    "policies/vla/actions/commands.py": "vla_actions",
    "policies/vla/actions/frames.py": "vla_actions",
    "policies/vla/actions/normalisation.py": "vla_actions",
    "envs/calvin/oracle.py": "oracle_edges",
    "envs/calvin/tasks.py": "oracle_edges",
    "bench/records/journal.py": "journal old_journals",
    "bench/records/statistics.py": "statistics",
    "bench/records/early_stop.py": "early_stop",
    "bench/records/clusters.py": "clusters statistics",
    "bench/records/paired.py": "paired clusters",
}
"""Nearest unit tests (``tests/unit/test_<name>.py``) by module, those that kill most first."""
PRELOADED = (
    *("pytest", "hypothesis", "numpy", "scipy.stats", "scipy.special", "scipy.spatial.transform", "asyncio"),
    *("pandas", "pyarrow", "yaml"),
)
"""Imported once, before the processes that run tests are forked."""
SLOWEST = 5.0
"""A fault that makes its tests take so many times the CPU time, and three seconds, is noticed, too."""
ASLEEP = 180.0
"""Seconds after which tests that have not ended count as stuck."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault."""

    file: str
    operator: str
    occurrence: int
    line: int
    source: str
    """Digest of the file it is made from."""

    def code(self) -> str | None:
        """The file with the fault; None: nothing that runs, or nothing else."""
        from cosmic_ray.mutating import mutate_code

        source = (ROOT / self.file).read_text()
        mutated = mutate_code(source, operator_named(self.operator), self.occurrence)
        try:
            same = mutated is None or ast.dump(ast.parse(mutated)) == ast.dump(ast.parse(source))
        except SyntaxError:
            return None
        return None if same else mutated


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant."""

    outcome: Literal["killed", "survived", "none"]
    was: str
    """The line as it is."""
    now: str
    """The line with the fault."""
    tests: str
    """Digest of the tests."""


def left_alone(source: str) -> list[Range]:
    """Annotations and decorators: a fault there changes nothing, or what the type check sees."""
    spared: list[ast.expr | None] = []
    for node in ast.walk(ast.parse(source)):
        spared += [getattr(node, name, None) for name in ("annotation", "returns")]
        spared += getattr(node, "decorator_list", [])
    return [
        ((node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0)) for node in spared if node
    ]


def mutants_of(file: str) -> list[Mutant]:
    """Every fault that the operators make of a file."""
    from cosmic_ray.ast import get_ast

    source = (ROOT / file).read_text()
    spared, digest = left_alone(source), hashlib.sha256(source.encode()).hexdigest()[:12]
    lines = source.splitlines()

    def nodes(node: Any) -> Iterator[Any]:
        yield node
        for child in getattr(node, "children", ()):
            yield from nodes(child)

    tree = list(nodes(get_ast(source)))
    found = []
    for name in (*OPERATORS, *OURS):
        operator = operator_named(name)
        for occurrence, (start, end) in enumerate(
            place for node in tree for place in operator.mutation_positions(node)
        ):
            sign = lines[start[0] - 1][start[1] :].startswith("*,")  # of keyword-only parameters, no product
            if not sign and not any(first <= start and end <= last for first, last in spared):
                found.append(Mutant(file, name, occurrence, start[0], digest))
    return found


def copied(folder: Path) -> Path:
    """A copy of the checkout as it is, without what git ignores."""
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in names.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def passes(checkout: Path, tests: Sequence[str], limit: float) -> bool:
    """Whether the tests pass within so many seconds of CPU time, in a process of their own."""
    pid = os.fork()
    if not pid:
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time() + limit) + 1,) * 2)
            silence = os.open(os.devnull, os.O_RDWR)
            for descriptor in range(3):
                os.dup2(silence, descriptor)
            os.chdir(checkout)
            sys.path[0] = str(checkout)
            for name in [name for name in sys.modules if name.partition(".")[0] == "tools"]:
                del sys.modules[name]
            for name in [name for name in os.environ if name.endswith(("_GOLDEN", "_ASSETS"))]:
                del os.environ[name]
            import pytest

            os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:faulthandler", *tests]))
        except BaseException:
            os._exit(99)
    end = time.monotonic() + ASLEEP
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.01)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return False


class Plot:
    """The copy in which faults are planted."""

    def __init__(self, folder: Path) -> None:
        self._checkout = copied(folder)
        self._limits: dict[str, float] = {}
        self._time = int(time.time())

    def survives(self, file: str, source: str, tests: str) -> bool:
        """Whether the tests pass with ``source`` in the place of the file."""
        paths = [f"tests/unit/test_{name}.py" for name in tests.split()]
        if tests not in self._limits:
            passes(self._checkout, paths, 600)  # compiles
            began = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
            if not passes(self._checkout, paths, 600):
                raise SystemExit(f"these tests fail without any fault: {' '.join(paths)}")
            self._limits[tests] = 3 + SLOWEST * (resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - began)
        path = self._checkout / file
        sound = path.read_text()
        try:
            self._write(path, source)
            return passes(self._checkout, paths, self._limits[tests])
        finally:
            self._write(path, sound)

    def _write(self, path: Path, source: str) -> None:
        self._time += 1  # else bytecode of the fault before might be taken for this one's
        path.write_text(source)
        os.utime(path, (self._time, self._time))


def digest_of(tests: str) -> str:
    """Of the tests' files."""
    texts = b"".join((ROOT / f"tests/unit/test_{name}.py").read_bytes() for name in tests.split())
    return hashlib.sha256(texts).hexdigest()[:12]


def known(anew: bool) -> dict[Mutant, Verdict]:
    """What became of the mutants that were tried before."""
    if anew or not KEPT.exists():
        return {}
    entries = [json.loads(line) for line in KEPT.read_text().splitlines()]
    return {Mutant(**entry["mutant"]): Verdict(**entry["verdict"]) for entry in entries}


def judge(plot: Plot, mutant: Mutant, digest: str) -> Verdict:
    """Plants it and runs its tests, which have that digest."""
    code = mutant.code()
    if code is None:
        return Verdict("none", "", "", digest)
    before, after = (text.splitlines() for text in ((ROOT / mutant.file).read_text(), code))
    line = next(i for i, (a, b) in enumerate(zip_longest(before, after)) if a != b)
    survives = plot.survives(mutant.file, code, TARGETS[mutant.file])
    was, now = before[line].strip(), after[line].strip()
    return Verdict("survived" if survives else "killed", was, now, digest)


def judge_all(files: Sequence[str], sample: int | None, seed: int, anew: bool) -> dict[Mutant, Verdict]:
    """What becomes of each mutant, by file and line; says how far it is."""
    before = known(anew)
    chosen: list[Mutant] = []
    for file in files:
        mutants = mutants_of(file)
        random.Random(seed).shuffle(mutants)  # so that a larger sample goes on where a smaller one ended
        chosen += sorted(mutants[:sample], key=lambda each: (each.line, each.operator, each.occurrence))
    digests = {file: digest_of(TARGETS[file]) for file in files}
    verdicts = {
        mutant: before[mutant]
        for mutant in chosen
        if mutant in before and (before[mutant].outcome != "survived" or before[mutant].tests == digests[mutant.file])
    }
    waiting = [mutant for mutant in chosen if mutant not in verdicts]
    print(f"{len(chosen)} mutants, {len(waiting)} of them to be tried", flush=True)
    KEPT.parent.mkdir(exist_ok=True)
    began = shown = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder, KEPT.open("w" if anew else "a") as kept:
        plot = Plot(Path(folder))
        for number, mutant in enumerate(waiting, 1):
            verdicts[mutant] = judge(plot, mutant, digests[mutant.file])
            print(json.dumps({"mutant": asdict(mutant), "verdict": asdict(verdicts[mutant])}), file=kept, flush=True)
            now = time.monotonic()
            if now - shown > 10 or number == len(waiting):
                left = (now - began) / number * (len(waiting) - number) / 60
                print(f"{number} of {len(waiting)}, {mutant.file}, {left:.0f} min left", flush=True)
                shown = now
    return {mutant: verdicts[mutant] for mutant in chosen}


def show(verdicts: dict[Mutant, Verdict]) -> None:
    """Survivors with their lines, and a table."""
    counts: dict[str, Counter[str]] = {}
    for mutant, verdict in verdicts.items():
        counts.setdefault(mutant.file, Counter())[verdict.outcome] += 1
        if verdict.outcome == "survived":
            print(f"{mutant.file}:{mutant.line} {mutant.operator}\n  - {verdict.was}\n  + {verdict.now}")
    print(f"\n{'module':<42}{'mutants':>8}{'killed':>8}{'score':>9}")
    for file, count in (*counts.items(), ("all", sum(counts.values(), Counter()))):
        tried = count["killed"] + count["survived"]
        print(f"{file:<42}{tried:>8}{count['killed']:>8}{100 * count['killed'] / max(tried, 1):>8.1f}%")


def plant() -> int:
    """Plants the named faults; the number that survive."""
    survivors = 0
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        plot = Plot(Path(folder))
        for number, fault in enumerate(PLANTED, 1):
            source = (ROOT / fault.file).read_text()
            if source.count(fault.was) != 1:
                raise SystemExit(f"{fault.file} has not one place that says: {fault.was}")
            survives = plot.survives(fault.file, source.replace(fault.was, fault.now), fault.tests)
            survivors += survives
            print(f"{number:>3} of {len(PLANTED)}  {'SURVIVES' if survives else 'killed':<9} {fault.name}", flush=True)
    return survivors


def main(arguments: list[str] | None = None) -> None:
    """Plants, judges and prints."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutation", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("files", nargs="*", metavar="file", help="modules, e.g. bench/protocol.py; default: all")
    parser.add_argument("--sample", type=int, help="at most so many mutants of each module; default: all")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--anew", action="store_true", help="forget the verdicts of earlier runs")
    parser.add_argument("--planted", action="store_true", help="the faults that were once overlooked, by name")
    given = parser.parse_args(arguments)
    if unknown := [file for file in given.files if file not in TARGETS]:
        parser.error(f"no tests are named for {unknown[0]}; there are: {', '.join(TARGETS)}")
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    for name in PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    if given.planted:
        raise SystemExit(1 if plant() else 0)
    if importlib.util.find_spec("cosmic_ray") is None:
        parser.error("cosmic-ray is missing: pip install -e '.[mutation]'")
    show(judge_all(given.files or tuple(TARGETS), given.sample, given.seed, given.anew))


if __name__ == "__main__":
    main()
