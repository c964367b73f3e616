"""Stops an evaluation at random moments, and looks at how it ends.

python -m tools.stop_torture                                ten times SIGTERM on each backend
python -m tools.stop_torture --backend ray --stops 3 --signal HUP

Each time the same command is typed anew and gets the signal at a moment between its start and the end of an undisturbed
run, every other time at one before its first record: while it is read, plans, starts Ray and its workers. It must end
with exit code 130, with the tables of what was judged (or a word that nothing was), with the sentence that the same
command finishes the rest, without a traceback, and with none of its processes left, Ray's included.
After the last stop the command is typed once more and must finish, with the tables of the undisturbed run. A run that
had judged everything when the signal came counts as finished, and is begun again in a new folder.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

from vla_bench.bench.records.result_set import JOURNAL

MARK = "VLA_BENCH_STOP_TORTURE"
"""Variable by which the processes of a run are found."""
SCRIPT = Path(__file__).resolve().parents[1] / "run_benchmark.py"
SENTENCE = "interrupted; the same command finishes the rest"
TABLES = ("episodes.csv", "subtasks.csv")
EARLIEST = 0.3
"""Seconds; before, Python itself is still starting and no program's handler is there yet."""
LEFT_SECONDS = 15.0
"""What processes get to go after the command has returned."""
ENDING_SECONDS = 60.0
"""What a stopped command may take to end."""


def marked(mark: str) -> list[str]:
    """Command lines of the processes that carry the mark."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"{MARK}={mark}".encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:120])
        except OSError:
            continue
    return [line for line in found if line]


def left_after(mark: str) -> list[str]:
    """Processes that are there when their time to go is over."""
    deadline = time.monotonic() + LEFT_SECONDS
    while (left := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def typed(backend: str, folder: Path, name: str, episodes: int) -> list[str]:
    words = ["benchmark=fake", "policy=stub", f"benchmark.sequences={episodes}", f"run.backend={backend}"]
    return [sys.executable, str(SCRIPT), *words, "run.workers=2", f"run.results={folder}", f"run.name={name}"]


def start(command: list[str], mark: str) -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, start_new_session=True, env={**os.environ, MARK: mark}, **pipes)


def judged(folder: Path) -> int:
    """Records in the journal, whose first line is no record."""
    journal = folder / JOURNAL
    return max(0, journal.read_bytes().count(b"\n") - 1) if journal.is_file() else 0


def complaints(code: int, out: str, err: str, records: int) -> list[str]:
    """What is wrong with an ending."""
    found = [] if code == 130 else [f"exit code {code}"]
    if not err.rstrip().endswith(SENTENCE):
        found.append("the sentence is missing")
    if any(word in err + out for word in ("Traceback", "logging.cc", "*** SIG")):
        found.append("a stack on the screen")
    began = "to run" in err  # before, there is nothing but planning
    if records and began and "episodes judged" not in out:
        found.append(f"no tables of {records} records")
    return found


def undisturbed(backend: str, folder: Path, episodes: int) -> tuple[float, float]:
    """Seconds to the first record and to the end. SystemExit: it failed."""
    began, first = time.monotonic(), 0.0
    process = start(typed(backend, folder, "whole", episodes), uuid.uuid4().hex)
    while process.poll() is None:
        if not first and judged(folder / "whole"):
            first = time.monotonic() - began
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"the undisturbed run failed:\n{process.communicate()[1]}")
    return first, time.monotonic() - began


def stops(backend: str, number: signal.Signals, many: int, episodes: int, generator: random.Random) -> int:
    """Stops so often; returns how often something was wrong."""
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="stops-") as made:
        folder = Path(made)
        first, whole = undisturbed(backend, folder, episodes)
        print(f"{backend}: an undisturbed run takes {whole:.1f} s, its first record {first:.1f} s", flush=True)
        turn, slowest = 0, 0.0
        for attempt in range(many):
            name = f"stopped-{turn}"
            moment = generator.uniform(EARLIEST, whole if attempt % 2 else first)
            mark = uuid.uuid4().hex
            process = start(typed(backend, folder, name, episodes), mark)
            late = True
            try:
                out, err = process.communicate(timeout=moment)
            except subprocess.TimeoutExpired:
                late = judged(folder / name) >= episodes
                process.send_signal(number)
                sent = time.monotonic()
                try:
                    out, err = process.communicate(timeout=max(ENDING_SECONDS, 2 * whole))
                    slowest = max(slowest, time.monotonic() - sent)
                except subprocess.TimeoutExpired:
                    process.kill()
                    out, err = process.communicate()
            records = judged(folder / name)
            through = process.returncode == 0 and late
            found = [] if through else complaints(process.returncode, out, err, records)
            found += [f"left: {line}" for line in left_after(mark)]
            wrong += bool(found)
            state = "through already" if through else f"{records} of {episodes} judged"
            print(f"  {attempt + 1}: {number.name} at {moment:.2f} s, {state}: {'; '.join(found) or 'ok'}", flush=True)
            if found:
                print(f"--- out\n{out[-1500:]}\n--- err\n{err[-3000:]}", flush=True)
            turn += process.returncode == 0
        name = f"stopped-{turn}"
        mark = uuid.uuid4().hex
        last = start(typed(backend, folder, name, episodes), mark)
        _, err = last.communicate()
        alike = last.returncode == 0 and all(
            (folder / name / table).read_bytes() == (folder / "whole" / table).read_bytes() for table in TABLES
        )
        left = left_after(mark)
        wrong += not alike or bool(left)
        ending = "finishes, with the same tables" if alike else f"does not finish alike: {err[-500:]}"
        print(f"  the slowest ending took {slowest:.1f} s; the same command {ending}", flush=True)
        if left:
            print(f"  left: {', '.join(left)}", flush=True)
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", action="append", choices=("local", "ray"), help="default: both")
    parser.add_argument("--stops", type=int, default=10)
    parser.add_argument("--signal", default="TERM", choices=("TERM", "HUP", "INT"))
    parser.add_argument("--episodes", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    generator, number = random.Random(asked.seed), signal.Signals[f"SIG{asked.signal}"]
    wrong = sum(
        stops(backend, number, asked.stops, asked.episodes, generator) for backend in asked.backend or ("local", "ray")
    )
    print(f"{wrong} bad endings" if wrong else "every ending was right")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
