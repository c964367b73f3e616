"""One supervisor and its child, without a pool."""

import time

from bench.dispatch.job import Job, PolicyChoice
from bench.dispatch.supervisor import Failure, Supervisor
from bench.protocol import EpisodeSpec
from envs.simulation import EpisodeStart, SimulationSpec

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
