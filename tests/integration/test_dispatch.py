"""The engine on the toy environment: crashes, hangs, retries, stopping, and nothing left behind.

What the pools have a part in is tried on both backends; what a supervisor does is the same on both and
tried on one. Ray is started once for the module.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vla_bench.bench.dispatch import (
    EpisodeFinished,
    EpisodeRetried,
    EpisodeStarted,
    Event,
    Job,
    PolicyChoice,
    Progress,
    StopAsked,
    WorkerLost,
    WorkerStarted,
    make_pool,
    run_episodes,
)
from vla_bench.bench.errors import ConfigError, RunFailed
from vla_bench.bench.protocol import EpisodeRecord, EpisodeSpec
from vla_bench.bench.setup.run_config import RunConfig
from vla_bench.envs.errors import UserError
from vla_bench.envs.simulation import EpisodeStart, SimulationSpec

CHAIN = ("reach_red", "raise", "close_gripper", "lower", "reach_blue")


def episodes(count: int, *, step_limit: int = 60) -> list[EpisodeSpec]:
    texts = tuple(f"please {subtask}" for subtask in CHAIN)
    return [
        EpisodeSpec(i, f"seq-{i:04d}", EpisodeStart("box", {"episode": (float(i),)}), CHAIN, texts, step_limit)
        for i in range(count)
    ]


def job(*cues: dict[str, Any], policy: str = "stub", counter: Path | None = None, **options: Any) -> Job:
    simulation = {"cues": list(cues), "step_seconds": options.pop("step_seconds", 0.0)}
    if counter is not None:
        simulation["counter"] = str(counter)
    arguments = options.pop("arguments", {})
    python = options.pop("python", "")
    how = RunConfig(**{"seed": 3, **options})
    return Job(SimulationSpec("fake", simulation), PolicyChoice(policy, arguments), how, python=python)


class Run:
    """What a run told."""

    def __init__(self, job: Job, specs: list[EpisodeSpec], backend: str, workers: int = 1, **options: Any):
        self.events: list[Event] = []
        hook: Callable[[Event], None] = options.pop("hook", lambda event: None)

        def listen(event: Event) -> None:
            self.events.append(event)
            hook(event)

        self.complete = run_episodes(job, specs, make_pool(backend, workers), on_event=listen, **options)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def records(self) -> dict[int, EpisodeRecord]:
        finished = [event.record for event in self.of(EpisodeFinished)]
        assert len({record.index for record in finished}) == len(finished), "an episode was recorded twice"
        return {record.index: record for record in finished}

    @property
    def outcomes(self) -> str:
        return json.dumps([record.outcome() for _, record in sorted(self.records.items())])


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    """One Ray for the module; a pool uses what its process is connected to."""
    import ray

    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> str:
    if request.param == "ray":
        request.getfixturevalue("ray")
    return request.param


both = pytest.mark.parametrize("backend", ["local", "ray"], indirect=True)


@both
def test_a_run_tells_what_happens(backend: str):
    run = Run(job(), episodes(3), backend)
    assert run.complete and sorted(run.records) == [0, 1, 2]
    (started,) = run.of(WorkerStarted)
    assert started.info["policy"] == "stub" and started.info["pid"] != os.getpid()
    assert [event.episode.index for event in run.of(EpisodeStarted)] == [0, 1, 2]
    record = run.records[0]
    assert (record.status, record.attempt, record.worker) == ("done", 1, started.worker)
    assert [(s.subtask, s.success, s.steps) for s in record.subtasks] == [("reach_red", False, 60)]
    timings = record.timings
    assert min(timings.physics, timings.rendering, timings.policy, timings.reset, timings.waiting) > 0


def test_records_do_not_depend_on_how_they_were_computed(ray: None):
    """The random walk, so that seeds matter, on 1 and 3 workers, in any order, on both backends."""
    solves = [{"do": "succeed", "subtask": name, "step": 7} for name in CHAIN[:3]]
    specs = episodes(12)
    shuffled = specs.copy()
    random.Random(0).shuffle(shuffled)
    runs = [
        Run(job(*solves, policy="random"), order, backend, workers)
        for order, backend, workers in (
            (specs, "local", 1),
            (specs, "local", 3),
            (shuffled, "local", 2),
            (specs, "ray", 1),
            (shuffled, "ray", 3),
        )
    ]
    reference = runs[0].outcomes
    assert len({record.subtasks[-1].digest for record in runs[0].records.values()}) == 12
    assert all(record.chain_length >= 3 for record in runs[0].records.values())
    for run in runs[1:]:
        assert run.outcomes == reference


@pytest.mark.parametrize(
    ("backend", "cue", "kind", "message"),
    [
        ("local", "abort", "crash", "was killed by SIGABRT"),
        ("local", "segfault", "crash", "was killed by SIGSEGV"),
        ("local", "exit", "crash", "exited with code 3"),
        ("local", "raise", "exception", "RuntimeError: raised on cue"),
        ("local", "hang", "hang", "nothing happened in the simulation for 0.5 s"),
        ("ray", "segfault", "crash", "was killed by SIGSEGV"),
        ("ray", "hang", "hang", "nothing happened in the simulation for 0.5 s"),
    ],
    indirect=["backend"],
)
def test_a_mishap_costs_one_attempt_and_changes_nothing(
    backend: str, tmp_path: Path, cue: str, kind: str, message: str
):
    mishap = {"do": cue, "episode": 1, "step": 20, "times": 1}
    run = Run(job(mishap, policy="random", counter=tmp_path, step_deadline=0.5), episodes(4), backend, 2)
    (retried,) = run.of(EpisodeRetried)
    assert (retried.episode.index, retried.attempt, retried.error.kind) == (1, 1, kind)
    assert message in retried.error.message
    if cue != "exit":
        assert "fake.py" in retried.error.detail, "the log tells where it was"
    tries = [(e.worker, e.attempt) for e in run.of(EpisodeStarted) if e.episode.index == 1]
    assert [attempt for _, attempt in tries] == [1, 2]
    before = run.events[: run.events.index(retried)]
    if sum(isinstance(event, WorkerStarted) for event in before) == 2:  # else there was no other yet
        assert tries[0][0] != tries[1][0], "tried again elsewhere"
    assert run.complete and run.records[1].attempt == 2
    assert run.outcomes == Run(job(policy="random"), episodes(4), "local").outcomes


def test_gives_up_after_the_last_attempt_and_goes_on():
    cues = [{"do": "segfault", "episode": 0, "step": 5}, {"do": "raise", "episode": 2, "when": "reset"}]
    run = Run(job(*cues, max_attempts=2), episodes(4), "local", 2)
    assert run.complete and len(run.of(EpisodeRetried)) == 2
    assert {i: r.status for i, r in run.records.items()} == {0: "error", 1: "done", 2: "error", 3: "done"}
    error = run.records[0].error
    assert error is not None and (error.kind, run.records[0].attempt) == ("crash", 2)
    assert "Segmentation fault" in error.detail


@pytest.fixture
def my_policies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Policies in a module of the current directory, as a user has them."""
    (tmp_path / "my_policies.py").write_text(
        textwrap.dedent("""
        import ctypes, numpy as np, os, resource
        from vla_bench.envs.errors import RendererError
        class Base:
            sensors = ("front",)
            def reset(self, instruction): self.steps = 0
        class Good(Base):
            def act(self, observation):
                assert observation["rgb_front"].shape == (32, 32, 3)
                way = np.array([0.6, 0.2, 0.1]) - observation["state"][:3]
                return np.array([*way.clip(-1, 1), 1], dtype=np.float32)
        class Nan(Base):
            def act(self, observation): return np.full(4, np.nan)
        class Broken(Base):
            def act(self, observation): return {}["missing"]
        class Stuck(Base):
            def act(self, observation): ctypes.PyDLL(None).sleep(3600)
        class Hungry(Base):
            def act(self, observation):
                resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
                return np.ones(2**40)
        class Killed(Base):
            def act(self, observation): os.kill(os.getpid(), 9)
        class Lost(Base):
            def act(self, observation): raise RendererError("the EGL context is lost")
        """)
    )
    monkeypatch.chdir(tmp_path)
    return "my_policies"


def camera_job(policy: str, **options: Any) -> Job:
    from vla_bench.envs.observation import Sensors

    simulation = SimulationSpec("fake", sensors=Sensors.of("front"))
    return Job(simulation, PolicyChoice(policy), RunConfig(seed=3, **options))


@both
def test_a_class_beside_the_user_runs_in_the_workers(backend: str, my_policies: str):
    run = Run(camera_job(f"{my_policies}:Good"), episodes(2), backend)
    assert {record.status for record in run.records.values()} == {"done"}
    assert run.records[0].subtasks[0].success, "the point moves towards red"


@pytest.mark.parametrize(
    ("name", "kind", "message", "attempts"),
    [
        ("Nan", "policy", "returned nan as number 0 of action 0", 1),
        ("Broken", "policy", "KeyError: 'missing'", 2),
        ("Stuck", "hang", "nothing happened in the policy for 0.5 s", 2),
    ],
)
def test_faults_of_the_policy_are_told_as_such(my_policies: str, name: str, kind: str, message: str, attempts: int):
    run = Run(camera_job(f"{my_policies}:{name}", decision_deadline=0.5, max_attempts=2), episodes(1), "local")
    record = run.records[0]
    assert record.error is not None
    assert (record.error.kind, record.attempt) == (kind, attempts)
    assert (message in record.error.message and "my_policies.py" in record.error.detail) or attempts == 1


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("Hungry", "policy", "MemoryError"),
        ("Killed", "crash", "was killed by SIGKILL (out of memory?)"),
        ("Lost", "policy", "the EGL context is lost"),
    ],
)
def test_what_a_machine_lacks_at_times_is_tried_again_in_another_process(
    my_policies: str, name: str, kind: str, message: str
):
    run = Run(camera_job(f"{my_policies}:{name}", max_attempts=2), episodes(1), "local")
    record = run.records[0]
    assert record.error is not None and message in record.error.message
    assert (record.error.kind, record.attempt) == (kind, 2)
    assert len({event.info["pid"] for event in run.of(WorkerStarted)}) == 2


def test_a_long_decision_is_no_hang_of_the_simulation():
    slow = {"do": "slow", "step": 3, "amount": 0.6}
    run = Run(job(slow, step_deadline=5.0), episodes(1), "local")
    assert run.records[0].status == "done" and not run.of(EpisodeRetried)


@both
def test_what_the_user_can_mend_stops_the_run(backend: str):
    told: list[Event] = []
    with pytest.raises(UserError, match=r"no recording '.*missing\.npz'"):
        Run(job(policy="replay", arguments={"path": "missing.npz"}), episodes(1), backend, 2, hook=told.append)
    assert not told, "it is said once, by the error"


@pytest.mark.parametrize(
    ("backend", "cue", "message"),
    [
        (
            "local",
            "segfault",
            "no worker is left, the last because the worker's process was killed by SIGSEGV",
        ),
        ("ray", "segfault", "no worker is left, the last because the worker's process was killed by SIGSEGV"),
        ("local", "hang", "nothing happened while it was starting for 0.5 s"),
        ("local", "raise", "RuntimeError: raised on cue"),
    ],
    indirect=["backend"],
)
def test_a_run_ends_when_no_worker_can_start(backend: str, cue: str, message: str):
    lost: list[Event] = []
    deadline = 0.5 if cue == "hang" else 60.0
    with pytest.raises(RunFailed, match=message):
        Run(
            job({"do": cue, "when": "build"}, start_deadline=deadline),
            episodes(2),
            backend,
            2,
            hook=lost.append,
        )
    assert sorted(type(event).__name__ for event in lost) == ["WorkerLost", "WorkerLost"]


def test_a_run_goes_on_with_the_workers_that_start(tmp_path: Path):
    failing = {"do": "exit", "when": "build", "times": 2}
    slow = {"do": "slow", "when": "reset", "amount": 0.3}
    run = Run(job(failing, slow, counter=tmp_path), episodes(4), "local", 2)
    assert run.complete and len(run.records) == 4
    assert len(run.of(WorkerLost)) <= 1


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_actor_is_replaced_and_costs_its_episode_an_attempt(
    ray: None, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
):
    """Killed, which Ray notices; or silent, which only the lease tells."""
    monkeypatch.setattr("vla_bench.bench.dispatch.run.LEASE_SECONDS", 2.0)
    children: list[int] = []
    actors: list[int] = []

    def strike(event: Event) -> None:
        if isinstance(event, WorkerStarted):
            children.append(event.info["pid"])
        if isinstance(event, Progress) and not actors:
            actors.append(parent_of(children[0]))
            os.kill(actors[0], number)

    try:
        run = Run(job(step_seconds=0.02), episodes(2), "ray", hook=strike)
    finally:
        for actor in actors:
            with contextlib.suppress(ProcessLookupError):
                os.kill(actor, signal.SIGKILL)
    assert run.complete and {i: r.attempt for i, r in run.records.items()} == {0: 2, 1: 1}
    (retried,) = run.of(EpisodeRetried)
    silent = number == signal.SIGSTOP
    assert ("was not heard from for 2 s" if silent else "Ray actor died") in retried.error.message
    assert len(set(children)) == 2
    assert run.outcomes == Run(job(), episodes(2), "local").outcomes


def test_an_actor_that_ray_kills_for_memory_costs_one_attempt(ray: None, monkeypatch: pytest.MonkeyPatch):
    """Ray then raises an error of another class than for other deaths."""
    import ray as cluster

    told, get = [], cluster.get

    def killed_once(call: Any) -> Any:
        answer = get(call)
        if isinstance(answer, tuple) and not told:  # that of an episode
            told.append(answer)
            raise cluster.exceptions.OutOfMemoryError("the node was running low on memory")
        return answer

    monkeypatch.setattr(cluster, "get", killed_once)
    run = Run(job(), episodes(2), "ray")
    (retried,) = run.of(EpisodeRetried)
    assert "running low on memory" in retried.error.detail
    assert run.complete and run.outcomes == Run(job(), episodes(2), "local").outcomes


def test_a_full_cluster_is_not_waited_for_without_end(ray: None, monkeypatch: pytest.MonkeyPatch):
    import ray as cluster

    class Occupant:
        def there(self) -> bool:
            return True

    occupant = cluster.remote(num_cpus=3)(Occupant).remote()
    assert cluster.get(occupant.there.remote())
    monkeypatch.setattr("vla_bench.bench.dispatch.ray_pool.PLACEMENT_SECONDS", 1.0)
    try:
        with pytest.raises(UserError, match="gave no worker a place; each needs 1 CPU, 0 of its 3 are free"):
            Run(job(start_deadline=0.001), episodes(1), "ray")
    finally:
        cluster.kill(occupant)


def test_a_cluster_that_is_not_there_is_named():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    program = (
        "from vla_bench.bench.dispatch import *; from vla_bench.bench.errors import ConfigError\n"
        "from vla_bench.envs.simulation import SimulationSpec\n"
        f"pool = make_pool('ray', 1, '{address}')\n"
        "try: pool.start(Job(SimulationSpec('fake'), PolicyChoice('stub')))\n"
        "except ConfigError as error: print(error)\n"
        "pool.close()"
    )
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert said.startswith(f"cannot join the Ray cluster run.address={address}: ")
    assert "refused. Start one with 'ray start --head'" in said


def test_a_job_that_is_not_plain_data_is_refused():
    with pytest.raises(ConfigError, match=r"must be plain data.*Path"):
        Run(job(policy="replay", arguments={"path": Path("x.npz")}), episodes(1), "local")


def test_an_interpreter_that_is_not_there_is_named():
    with pytest.raises(RunFailed, match=r"cannot start /no/such/python: .*No such file"):
        Run(job(python="/no/such/python"), episodes(1), "local")


def test_modules_beside_the_user_do_not_hide_the_standard_library(my_policies: str):
    Path("random.py").write_text("raise ImportError('not the one you are looking for')")
    run = Run(camera_job(f"{my_policies}:Good"), episodes(1), "local")
    assert run.records[0].status == "done"


def test_a_process_that_grows_is_replaced_between_episodes():
    leak = {"do": "leak", "when": "reset", "amount": 60}
    run = Run(job(leak, recycle_mb=150), episodes(6), "local")
    pids = [event.info["pid"] for event in run.of(WorkerStarted)]
    assert 2 <= len(set(pids)) == len(pids) <= 6
    assert run.complete and {r.attempt for r in run.records.values()} == {1}
    assert run.outcomes == Run(job(), episodes(6), "local").outcomes


@both
def test_progress_is_reported_while_an_episode_runs(backend: str):
    run = Run(job(step_seconds=0.03), episodes(1), backend)
    steps = [event.steps for event in run.of(Progress)]
    assert len(steps) >= 2 and steps == sorted(steps) and 0 < steps[-1] <= 60


@both
def test_what_the_listener_raises_ends_the_run(backend: str):
    def enough(event: Event) -> None:
        if isinstance(event, EpisodeFinished):
            raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        Run(job(step_seconds=0.001), episodes(10), backend, 2, hook=enough)


@both
def test_a_stop_lets_running_episodes_finish(backend: str):
    def stop(event: Event) -> None:
        if isinstance(event, EpisodeStarted) and event.episode.index == 1:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    run = Run(job(step_seconds=0.005), episodes(10), backend, 2, hook=stop)
    assert not run.complete
    assert sorted(run.records) == [0, 1]
    (asked,) = run.of(StopAsked)
    assert asked.running in (1, 2)
    assert signal.getsignal(signal.SIGINT) is before


@both
def test_a_second_stop_drops_what_is_running(backend: str):
    asked: list[float] = []

    def stop(event: Event) -> None:
        if isinstance(event, Progress) or (isinstance(event, StopAsked) and not event.dropped):
            asked.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

    run = Run(job(step_seconds=0.5), episodes(4), backend, 2, hook=stop)
    assert not run.complete and not run.records
    assert time.monotonic() - asked[0] < 25, "60 steps of half a second were not waited for"


def test_nothing_to_do_starts_nothing():
    run = Run(job(), [], "local")
    assert run.complete and run.events == []


def test_refuses_pools_that_cannot_be():
    for arguments, message in (
        (("local", 0), "run.workers is 0"),
        (("dask", 1), "run.backend is 'dask'; known: local, ray"),
        (("local", 1, "10.0.0.1:6379"), "needs run.backend=ray"),
    ):
        with pytest.raises(ConfigError, match=message):
            make_pool(*arguments)
