"""Runs an evaluation under fire, and compares its tables with those of an undisturbed one.

python -m tools.torture                                200 faults over 500 toy episodes
python -m tools.torture --backend ray --faults 20 --episodes 60
python -m tools.torture --server --faults 40 --episodes 100    decisions made by a policy server
python -m tools.torture --nodes 3 --faults 20 --episodes 60    a Ray cluster, whose nodes are lost
python -m tools.torture --benchmark calvin_smoke --policy expert --faults 20 --episodes 20
python -m tools.torture --benchmark simpler_bridge --policy expert --faults 10 --episodes 16

The command line is started again and again, as a user would, until the run is complete. Meanwhile its
processes (simulations, Ray's, the policy server) are killed and stopped, its journal is torn and damaged, its
disk is full, and (toy environment) simulations crash, hang and raise; nodes of a cluster are lost, its head
among them, and others join. In the end ``episodes.csv`` and ``subtasks.csv`` must be those of the undisturbed
run, to the last byte, and no simulation or policy server may be left.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from vla_bench.bench.records.result_set import JOURNAL

MARK = "VLA_BENCH_TORTURE"
"""Variable by which the processes of a driver are found."""
SCRIPT = Path(__file__).resolve().parents[1] / "run_benchmark.py"
TABLES = ("episodes.csv", "subtasks.csv")
DEADLINES = {"fake": 2.0, "calvin": 10.0, "simpler": 40.0}
"""Seconds after which a stopped process is taken for hung, by family: SimplerEnv compiles shaders at
first."""
START_DEADLINES = {"fake": 30.0, "calvin": 60.0, "simpler": 300.0}
"""Likewise, while simulation and policy are built."""
LEFT_SECONDS = 20.0
"""What simulations and policy servers get to go when their run has ended."""
CUE_SHARE = 0.15
"""Of the faults, those that the toy environment commits itself."""
CUES = ("abort", "segfault", "exit", "hang", "raise", "garble")

CHILD, SERVER = "vla_bench.bench.dispatch.child", "vla_bench.bench.policy_server.server"
ACTOR, RAYLET, GCS = "ray::RayWorker", "raylet/raylet", "gcs_server"
EXCUSES = ("File too large", "Failed to connect to GCS")
"""What a driver may refuse with: a full disk; and Ray ends a process itself when a cluster's head goes away
while the process is joining."""
NAMES = {
    CHILD: "simulation",
    SERVER: "policy server",
    ACTOR: "Ray actor",
    RAYLET: "raylet",
    GCS: "Ray's head",
}
_KILLS = (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGSTOP)


@dataclass
class Outcome:
    """What a torture came to."""

    faults: Counter[str] = field(default_factory=Counter)
    drivers: int = 0
    """How often the command was typed."""
    differing: list[str] = field(default_factory=list)
    """Tables that are not those of the undisturbed run."""
    left: int = 0
    """Simulations and policy servers that had not gone when the run had ended."""
    seconds: float = 0.0


class Nodes:
    """A Ray cluster on this machine: a head that only hands out, and nodes of one core that come and go."""

    def __init__(self, count: int, mark: str) -> None:
        self._count = count
        os.environ[MARK] = mark  # by which the processes of its nodes are found
        self._start()

    def _start(self) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        for _ in range(self._count):
            self._cluster.add_node(num_cpus=1)
        self._whole = True

    @property
    def address(self) -> str:
        """Of a head that lives; another cluster is started in the place of one that is lost."""
        if not self._whole:
            self._start()
        return self._cluster.address

    def lose_one(self, rng: random.Random) -> None:
        """Kills all of a node's processes; another one joins."""
        nodes = [node for node in self._cluster.list_all_nodes() if node is not self._cluster.head_node]
        self._cluster.remove_node(rng.choice(nodes), allow_graceful=False)
        self._cluster.add_node(num_cpus=1)  # returns when it is there

    def lose_all(self) -> None:
        """Kills the head and with it the cluster, and the driver's connection."""
        self._cluster.shutdown()
        self._whole = False

    def close(self) -> None:
        """Ends the cluster."""
        if self._whole:
            self.lose_all()
        os.environ.pop(MARK, None)


class Torture:
    """One run, the command it is typed with, and what is done to it."""

    def __init__(
        self, words: Sequence[str], episodes: int, faults: int, folder: Path, seed: int, nodes: int = 0
    ) -> None:
        self._rng = random.Random(seed)
        self._episodes, self._faults = episodes, faults
        self._results = folder
        self._journal = folder / "torture" / JOURNAL
        self._mark = uuid.uuid4().hex
        self._outcome = Outcome()
        self._nodes = Nodes(nodes, self._mark) if nodes else None
        family = next(name for name in DEADLINES if words[0].startswith(f"benchmark={name}"))
        self._ray = "run.backend=ray" in words
        self._server = "run.inference=server" in words
        self._own_faults = round(CUE_SHARE * faults) if family == "fake" else 0
        self._words = [
            *words,
            "run.name=torture",
            f"run.results={folder}",
            "run.max_error_rate=1",
            "run.max_attempts=5",
            f"run.step_deadline={DEADLINES[family]}",
            f"run.decision_deadline={DEADLINES[family]}",
            f"run.start_deadline={START_DEADLINES[family]}",
            *(self._cues(folder / "counter") if self._own_faults else ()),
        ]

    def close(self) -> None:
        """Ends the cluster, if there is one."""
        if self._nodes is not None:
            self._nodes.close()

    def run(self, undisturbed: Path) -> Outcome:
        """Torments the run until it is complete; RuntimeError when it fails in a way it must not."""
        started, full = time.monotonic(), False
        while True:
            self._outcome.drivers += 1
            driver = self._start(full)
            full = self._torment(driver)
            said, code = driver.communicate()[1], driver.returncode
            if "Traceback" in said and "Fatal Python error" not in said:
                raise RuntimeError(f"the driver ended with a traceback:\n{said}")
            if code == 1 and not any(reason in said for reason in EXCUSES):
                raise RuntimeError(f"the driver refused:\n{said}")
            if code == 0 and self._judged_all():
                break
            if self._outcome.drivers > 3 * self._faults + 20:
                raise RuntimeError(f"no end after {self._outcome.drivers} drivers; the last said:\n{said}")
        self._outcome.seconds = time.monotonic() - started
        self._outcome.left = self._left()
        self._outcome.faults["in the simulation"] = len(list((self._results / "counter").glob("*")))
        theirs = self._journal.parent
        self._outcome.differing = [
            name for name in TABLES if (theirs / name).read_bytes() != (undisturbed / name).read_bytes()
        ]
        return self._outcome

    def _cues(self, counter: Path) -> list[str]:
        counter.mkdir(parents=True)
        cues = [
            f"{{do: {what}, episode: {self._rng.randrange(self._episodes)}, "
            f"when: {'observe' if what == 'garble' else 'step'}, step: {self._rng.randrange(20)}, times: 1}}"
            for what in (self._rng.choice(CUES) for _ in range(self._own_faults))
        ]
        return [f"benchmark.options.cues=[{','.join(cues)}]", f"benchmark.options.counter={counter}"]

    def _start(self, full: bool) -> subprocess.Popen[str]:
        limit = None
        if full:
            size = self._journal.stat().st_size if self._journal.exists() else 0
            limit = partial(_limit_files, size + self._rng.randrange(200, 3000))
        return subprocess.Popen(
            [sys.executable, str(SCRIPT), *self._words, *self._where()],
            env={**os.environ, MARK: self._mark},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=limit,
            start_new_session=True,
        )

    def _where(self) -> list[str]:
        return [] if self._nodes is None else [f"run.address={self._nodes.address}"]

    def _torment(self, driver: subprocess.Popen[str]) -> bool:
        """Strikes whenever a fault is due until the driver has ended; True: the next one's disk is full."""
        done = sum(self._outcome.faults.values())
        while driver.poll() is None:
            time.sleep(0.02)
            if done >= self._faults - self._own_faults or self._finished() < done * self._pace():
                continue
            kind = self._strike(driver)
            if kind:
                self._outcome.faults[kind] += 1
                done += 1
                if driver.poll() is None and kind.startswith(("driver", "head")):
                    driver.wait(120)
                    return self._between()
        return False

    def _pace(self) -> float:
        return 0.9 * self._episodes / max(self._faults - self._own_faults, 1)

    def _strike(self, driver: subprocess.Popen[str]) -> str:
        """Does one thing; the name of it, or nothing when its victim was not there."""
        chance = self._rng.random()
        if chance < 0.3:
            number = self._rng.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
            driver.send_signal(number)
            return f"driver: {number.name}"
        shares = {CHILD: 1.0}
        if self._nodes is not None:
            shares = {CHILD: 0.5, ACTOR: 0.2, "node": 0.25, "head": 0.05}
        elif self._ray:
            shares = {CHILD: 0.6, ACTOR: 0.25, RAYLET: 0.1, GCS: 0.05}
        if self._server:
            shares[SERVER] = shares[CHILD]
        (what,) = self._rng.choices([*shares], [*shares.values()])
        if self._nodes is not None and what in ("node", "head"):
            self._nodes.lose_one(self._rng) if what == "node" else self._nodes.lose_all()
            return f"{what} of the cluster lost"
        number = self._rng.choice(_KILLS) if what in (CHILD, SERVER) else signal.SIGKILL
        found = self._processes(what)
        if not found:
            return ""
        try:
            os.kill(self._rng.choice(found), number)
        except ProcessLookupError:
            return ""
        return f"{NAMES[what]}: {number.name}"

    def _between(self) -> bool:
        """While no driver lives: damages the journal, or has the next one find its disk full."""
        chance = self._rng.random()
        if chance < 0.3 and self._journal.exists():
            content = bytearray(self._journal.read_bytes())
            header = content.find(b"\n") + 1
            if header and len(content) > header + 1:
                place = self._rng.randrange(header, len(content))
                if chance < 0.1:
                    del content[max(header, len(content) - self._rng.randrange(1, 300)) :]
                    self._outcome.faults["journal: torn"] += 1
                elif chance < 0.2:
                    content[place] ^= 1 << self._rng.randrange(8)
                    self._outcome.faults["journal: a bit flipped"] += 1
                else:
                    content += self._rng.randbytes(self._rng.randrange(1, 100))
                    self._outcome.faults["journal: garbage at its end"] += 1
                self._journal.write_bytes(content)
        elif chance < 0.5:
            self._outcome.faults["disk full"] += 1
            return True
        return False

    def _finished(self) -> int:
        try:
            return self._journal.read_bytes().count(b"\n") - 1
        except FileNotFoundError:
            return -1

    def _judged_all(self) -> bool:
        summary = json.loads((self._journal.parent / "summary.json").read_text())
        return summary["complete"] and not summary["episodes"]["errors"]

    def _left(self) -> int:
        end = time.monotonic() + LEFT_SECONDS
        while (left := self._processes(CHILD) + self._processes(SERVER)) and time.monotonic() < end:
            time.sleep(0.1)
        return len(left)

    def _processes(self, what: str) -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if (
                    entry.name.isdigit()
                    and what in (entry / "cmdline").read_text().replace("\0", " ")
                    and f"{MARK}={self._mark}".encode() in (entry / "environ").read_bytes()
                ):
                    found.append(int(entry.name))
            except OSError:
                continue
        return found


def _limit_files(size: int) -> None:
    """No file may grow beyond ``size`` bytes: the kernel writes a part and refuses the rest, as a full
    disk does."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def torture(words: Sequence[str], *, episodes: int, faults: int, seed: int = 0, nodes: int = 0) -> Outcome:
    """Runs the command undisturbed in plain processes, then under fire; with ``nodes``, on a Ray cluster of
    so many on this machine (``words`` then say ``run.backend=ray``)."""
    with tempfile.TemporaryDirectory(prefix="torture-") as made:
        folder = Path(made)
        calm = [word for word in words if not word.startswith("run.backend=")] + ["run.backend=local"]
        plain = [sys.executable, str(SCRIPT), *calm, "run.name=undisturbed", f"run.results={folder}"]
        done = subprocess.run(plain, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"the undisturbed run ended with {done.returncode}:\n{done.stderr}")
        with closing(Torture(words, episodes, faults, folder, seed, nodes)) as tortured:
            return tortured.run(folder / "undisturbed")


def main() -> int:
    """Prints what was done and whether the tables are the same."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # behind a & in a shell; drivers would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--episodes", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backend", choices=("local", "ray"), default="local")
    parser.add_argument("--server", action="store_true", help="run.inference=server, the server a victim too")
    parser.add_argument("--nodes", type=int, default=0, help="of a Ray cluster; 0: no cluster")
    parser.add_argument("--benchmark", default="fake")
    parser.add_argument("--policy", default="random")
    given: Any = parser.parse_args()
    words = [
        f"benchmark={given.benchmark}",
        f"policy={given.policy}",
        f"benchmark.options.trials={given.episodes // 4}"  # of each of its tasks
        if given.benchmark.startswith("simpler")
        else f"benchmark.sequences={given.episodes}",
    ]
    backend = "ray" if given.nodes else given.backend
    words += [f"run.backend={backend}", f"run.workers={given.workers}"]
    words += ["run.inference=server"] if given.server else []
    words += ["benchmark.options.step_seconds=0.001"] if given.benchmark == "fake" else []
    outcome = torture(words, episodes=given.episodes, faults=given.faults, seed=given.seed, nodes=given.nodes)
    for kind, count in sorted(outcome.faults.items()):
        print(f"{count:5}  {kind}")
    print(f"{sum(outcome.faults.values())} faults, {outcome.drivers} drivers, {outcome.seconds:.0f} s")
    print(f"differing tables: {', '.join(outcome.differing) or 'none'}; processes left: {outcome.left}")
    return 3 if outcome.differing or outcome.left else 0


if __name__ == "__main__":
    sys.exit(main())
