"""One policy for all workers: the same records, and what its own mishaps cost."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_dispatch import Run, episodes

from vla_bench.bench.dispatch import EpisodeRetried, Job, PolicyChoice
from vla_bench.bench.errors import ConfigError
from vla_bench.bench.policy_server import watch
from vla_bench.bench.setup.preparation import prepare
from vla_bench.bench.setup.presets import load_config
from vla_bench.bench.setup.run_config import RunConfig
from vla_bench.envs.errors import UserError
from vla_bench.envs.observation import Sensors
from vla_bench.envs.simulation import SimulationSpec

POLICIES = """
import ctypes, os, pathlib, signal
import numpy as np
from vla_bench.envs.observation import Sensors
from vla_bench.policies.base import PolicySpec, SubtaskContext

class Remembers:
    '''What it does depends on all it has seen in a slot, and on nothing else.'''
    together = False

    def __init__(self, environment, fault="", flag=""):
        self.spec = PolicySpec("remembers", environment.action("relative"), Sensors.of("front"),
                               batched=self.together, ends=True)
        self.seen, self.fault, self.flag, self.lost = {}, fault, pathlib.Path(flag), False

    def reset(self, slot, instruction, context):
        self.seen[slot] = np.zeros(3), context

    def act(self, slots, observations):
        chunks = []
        for slot, observation in zip(slots, observations, strict=True):
            memory, context = self.seen[slot]
            memory = 0.9 * memory + observation["rgb_front"].mean(axis=(0, 1)) / 255
            self.seen[slot] = memory, context
            if self.fault and context.episode == "seq-0002" and memory.sum() > 5 and not self.flag.exists():
                self.flag.touch()
                if self.fault == "die": os.kill(os.getpid(), signal.SIGKILL)
                if self.fault == "hang": ctypes.PyDLL(None).sleep(3600)
                if self.fault == "raise": raise KeyError("missing")
                self.lost = self.fault == "lose"
            if self.lost: raise RuntimeError("CUDA error: an illegal memory access was encountered")
            way = np.sin(10 * memory + context.seed % 97)
            chunks.append(np.array([[*way, 1.0]], dtype=np.float32))
        return chunks

    def ended(self, slot):
        memory, context = self.seen[slot]
        return memory.sum() > 4 + context.seed % 6

    def close(self): pass

class Together(Remembers):
    together = True

class Plain(Remembers):
    '''The same as a class that knows one episode only.'''
    sensors = ("front",)

    def __init__(self, environment):
        Remembers.__init__(self, environment)
        del self.spec

    def reset(self, instruction, seed):
        self.seen[0] = np.zeros(3), SubtaskContext("", 0, seed)

    def act(self, observation):
        return Remembers.act(self, [0], [observation])[0]

    def ended(self):
        return Remembers.ended(self, 0)
"""


@pytest.fixture(autouse=True)
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's folder with policies; afterwards no server of this test may be left."""
    (tmp_path / "served.py").write_text(textwrap.dedent(POLICIES))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    yield tmp_path
    assert wait_for(lambda: not servers_of(tmp_path)), "a policy server was left"


def folders_of(folder: Path) -> list[Path]:
    """What runs with this temporary folder have left for their servers."""
    return list(folder.glob("vla-bench-*/*"))


def servers_of(folder: Path) -> list[int]:
    """Servers whose temporary folder is this one."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = (path / "cmdline").read_bytes(), (path / "environ").read_bytes()
        except OSError:
            continue
        if b"policy_server.server" in command and f"TMPDIR={folder}\0".encode() in environment:
            found.append(int(path.name))
    return found


def wait_for(true: Any, seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.05)
    return False


def job(policy: str = "served:Remembers", **options: Any) -> Job:
    arguments = options.pop("arguments", {})
    simulation = SimulationSpec("fake", sensors=Sensors.of("front"))
    inference = options.pop("inference", "server")
    how = RunConfig(**{"seed": 3, "inference": inference, **options})
    return Job(simulation, PolicyChoice(policy, arguments), how, inference=inference)


@pytest.mark.parametrize(("policy", "judged"), [("Remembers", "chain"), ("Together", "last"), ("Plain", "last")])
def test_records_are_those_of_a_policy_in_each_worker(beside: Path, policy: str, judged: Any):
    wanted = [dataclasses.replace(episode, judged=judged) for episode in episodes(8)]
    reference = Run(job(inference="child"), wanted, "local")
    served = Run(job(f"served:{policy}"), wanted, "local", 3)
    assert served.complete and served.outcomes == reference.outcomes
    assert not folders_of(beside)
    assert len({record.subtasks[-1].digest for record in served.records.values()}) == 8
    steps = {subtask.steps for record in served.records.values() for subtask in record.subtasks}
    assert (len(steps) > 1) == (judged == "last"), "only there the policy may end a subtask"


def test_workers_placed_by_ray_share_a_server(beside: Path):
    seen: list[int] = []
    run = Run(job(), episodes(6), "ray", 2, hook=lambda event: seen.append(len(servers_of(beside))))
    assert max(seen) == 1
    assert run.outcomes == Run(job(inference="child"), episodes(6), "local").outcomes


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        ("die", "policy", "the policy server died"),
        ("hang", "hang", "nothing happened in the policy for 1 s"),
        ("raise", "policy", "KeyError: 'missing'"),
        ("lose", "policy", "CUDA error: an illegal memory access"),
    ],
)
def test_a_mishap_of_the_server_costs_the_running_decisions(beside: Path, fault: str, kind: str, message: str):
    arguments = {"fault": fault, "flag": str(beside / "happened")}
    run = Run(job(arguments=arguments, decision_deadline=1.0), episodes(6), "local", 2)
    retries = run.of(EpisodeRetried)
    assert "seq-0002" in {event.episode.episode for event in retries} and len(retries) <= 2
    (told,) = (event.error for event in retries if event.episode.episode == "seq-0002")
    assert told.kind == kind and message in told.message
    assert run.complete and run.outcomes == Run(job(inference="child"), episodes(6), "local").outcomes


def test_several_servers_share_the_workers(beside: Path):
    seen: list[int] = []
    run = Run(job(servers=2), episodes(8), "local", 3, hook=lambda event: seen.append(len(servers_of(beside))))
    assert run.complete and max(seen) == 2


def test_a_policy_that_cannot_be_served_is_told_so():
    with pytest.raises(UserError, match="nowhere"):
        Run(job("nowhere:Policy"), episodes(1), "local")
    with pytest.raises(ConfigError, match="shown the simulator's state"):
        prepare(load_config(["benchmark=calvin_smoke", "policy=expert", "run.inference=server"]))
    with pytest.raises(ConfigError, match=r"type run.inference=server as well"):
        load_config(["run.servers=2"])


STUCK = """
import os, signal, subprocess, sys
watcher = subprocess.Popen([sys.executable, *sys.argv[1:3]], stdin=subprocess.PIPE, text=True)
watcher.stdin.write(sys.argv[3] + chr(10))
watcher.stdin.flush()
print(watcher.pid, flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""


def test_a_stuck_server_does_not_outlive_its_workers():
    """As one in a deadlocked call: it cannot see that all its workers have been killed."""
    worker = subprocess.Popen(["sleep", "60"])
    server = subprocess.Popen(
        [sys.executable, "-c", STUCK, watch.__file__, "0.3", str(worker.pid)],
        stdout=subprocess.PIPE,
        text=True,
    )
    watcher = int(server.stdout.readline())
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            server.wait(0.8)
        worker.kill()
        worker.wait()
        assert server.wait(10) == -signal.SIGKILL
    finally:
        server.kill()
        worker.kill()
        server.stdout.close()
    assert wait_for(lambda: not Path(f"/proc/{watcher}").exists())


def test_nothing_is_left_of_a_driver_that_is_killed(beside: Path):
    code = textwrap.dedent("""
        import sys
        sys.path[:0] = {path!r}
        from test_policy_server import episodes, job
        from vla_bench.bench.dispatch import make_pool, run_episodes
        from dataclasses import replace
        slow = job()
        slow = replace(slow, simulation=replace(slow.simulation, options={{"step_seconds": 0.05}}))
        run_episodes(slow, episodes(50), make_pool("local", 2), on_event=lambda event: None)
    """).format(path=[str(Path(__file__).parent), *sys.path])
    driver = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONSAFEPATH": "1"})
    try:
        assert wait_for(lambda: len(servers_of(beside)) == 1)
        time.sleep(1)
    finally:
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    assert wait_for(lambda: not servers_of(beside), 5)
