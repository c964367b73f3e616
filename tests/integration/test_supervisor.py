"""One supervisor and its child, without a pool."""

import os
import signal
import subprocess
import time

import pytest

from vla_bench.bench.dispatch.job import Job
from vla_bench.bench.dispatch.supervisor import Failure, Supervisor
from vla_bench.bench.protocol import EpisodeSpec
from vla_bench.envs.simulation import EpisodeStart, SimulationSpec
from vla_bench.lifeline import tie
from vla_bench.policies.choice import PolicyChoice

EPISODE = EpisodeSpec(0, "seq-0000", EpisodeStart("box"), ("reach_red",), ("go",), step_limit=60)


def test_an_episode_that_arrives_after_the_stop_is_not_run():
    job = Job(SimulationSpec("fake", {"step_seconds": 0.5}), PolicyChoice("stub"), directory=".")
    supervisor = Supervisor(job, "local-0")
    try:
        assert not isinstance(supervisor.start(), Failure)
        supervisor.stop()
        began = time.monotonic()
        assert isinstance(supervisor.run(EPISODE, attempt=1), Failure)
        assert time.monotonic() - began < 10, "60 steps of half a second were waited for"
    finally:
        supervisor.close()


def test_the_kernel_ends_a_child_that_has_not_run_a_line_yet():
    theirs, ours = os.pipe()
    child = subprocess.Popen(["sleep", "60"], pass_fds=(theirs,))
    try:
        tie(theirs, child.pid)
        os.close(theirs)
        child.send_signal(signal.SIGSTOP)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.1)
        os.close(ours)
        assert child.wait(10) == -signal.SIGKILL
    finally:
        child.kill()
