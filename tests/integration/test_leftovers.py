"""However a run ends, nothing of it stays: no process, no shared memory, no socket, no file.

Each driver is a process of its own, marked in its environment, which whatever it starts inherits.
"""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

MARK = "VLA_BENCH_TEST_MARK"

DRIVER = """
import sys
from vla_bench.bench.dispatch import Job, PolicyChoice, EpisodeFinished, make_pool, run_episodes
from vla_bench.bench.protocol import EpisodeSpec
from vla_bench.envs.simulation import EpisodeStart, SimulationSpec

backend, cue, ending = sys.argv[1:]
if __name__ == "__main__":
    cues = [{"do": cue, "episode": 1, "step": 3, "amount": 0.2}]
    job = Job(SimulationSpec("fake", {"cues": cues, "step_seconds": 0.01}), PolicyChoice("stub"))
    episodes = [
        EpisodeSpec(i, f"seq-{i}", EpisodeStart("box", {"episode": (float(i),)}), ("raise",), ("up",), 20)
        for i in range(2 if ending == "end" else 1000)
    ]
    def listen(event):
        print(type(event).__name__, flush=True)
        if ending == "raise" and isinstance(event, EpisodeFinished):
            raise SystemExit(5)
    run_episodes(job, episodes, make_pool(backend, 2), on_event=listen)
"""


class Driver:
    """A run in a process group of its own, like one started from a terminal."""

    def __init__(self, temporary: Path, *arguments: str) -> None:
        self.mark = uuid.uuid4().hex
        self.temporary = temporary
        self.ray_folder = temporary / f"vla-bench-ray-{os.getuid()}-{platform.node()}"
        self.shared_before = set(os.listdir("/dev/shm"))
        environment = {MARK: self.mark, "TMPDIR": str(temporary), "RAY_TMPDIR": str(temporary)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, *arguments],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def read_until(self, event: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.strip() == event:
                return
        raise AssertionError(f"the driver ended before {event}")

    def processes(self) -> dict[int, str]:
        """Processes that carry the mark, the driver and zombies aside."""
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and f"{MARK}={self.mark}".encode() in (entry / "environ").read_bytes():
                    found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
        found.pop(self.process.pid, None)
        return found

    def assert_no_shared_memory_is_left(self) -> None:
        """Other tests that run at the same time may have some for a moment."""
        deadline = time.monotonic() + 30
        while (left := set(os.listdir("/dev/shm")) - self.shared_before) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not left

    def assert_nothing_is_left(self, *, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not left
        self.assert_no_shared_memory_is_left()
        if self.ray_folder.exists():
            raise AssertionError(f"left: {list(self.ray_folder.iterdir())}")
        assert list(self.temporary.iterdir()) == []


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Short, since Ray puts sockets there."""
    folder = Path(tempfile.mkdtemp(prefix="vb-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("ending", ["end", "raise"])
def test_after_the_end_and_after_an_exception(temporary: Path, ending: str):
    driver = Driver(temporary, "local", "slow", ending)
    driver.process.communicate()
    assert driver.process.returncode == (5 if ending == "raise" else 0)
    driver.assert_nothing_is_left(seconds=0)


@pytest.mark.parametrize("cue", ["slow", "hang"])
def test_after_a_kill_of_the_driver_even_with_a_child_stuck_in_native_code(temporary: Path, cue: str):
    driver = Driver(temporary, "local", cue, "never")
    driver.read_until("EpisodeFinished")
    driver.read_until("EpisodeFinished")
    assert len(driver.processes()) == 2
    driver.process.kill()
    driver.process.communicate()
    driver.assert_nothing_is_left(seconds=2)


def test_after_ctrl_c_twice(temporary: Path):
    driver = Driver(temporary, "local", "hang", "never")
    driver.read_until("EpisodeFinished")
    os.killpg(driver.process.pid, signal.SIGINT)
    driver.read_until("StopAsked")
    os.killpg(driver.process.pid, signal.SIGINT)
    driver.process.communicate(timeout=10)
    driver.assert_nothing_is_left(seconds=0)


def test_after_a_kill_of_a_driver_of_ray(temporary: Path):
    """Ray's own processes go too; what they leave on disk goes with the next run (Ctrl-C twice)."""
    driver = Driver(temporary, "ray", "hang", "never")
    driver.read_until("EpisodeFinished")
    children = [line for line in driver.processes().values() if "vla_bench.bench.dispatch.child" in line]
    assert len(children) == 2
    driver.process.kill()
    driver.process.communicate()
    deadline = time.monotonic() + 180  # Ray's agents may look for their head for a minute
    while driver.processes() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert driver.processes() == {}
    driver.assert_no_shared_memory_is_left()
    assert len(list(driver.ray_folder.glob("session_*_*"))) == 1

    following = Driver(temporary, "ray", "hang", "never")
    following.read_until("EpisodeFinished")
    os.killpg(following.process.pid, signal.SIGINT)
    following.read_until("StopAsked")
    os.killpg(following.process.pid, signal.SIGINT)  # the hung one would be waited for
    following.process.communicate(timeout=30)
    assert following.process.returncode == 0
    following.assert_nothing_is_left(seconds=5)
