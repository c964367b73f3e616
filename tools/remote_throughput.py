"""Decisions per second of many workers: our server behind openpi's protocol, and the policy server on shared memory.

A policy that takes so many milliseconds for a batch, whatever its size, is asked by threads that each stand for a
worker and do nothing else, with CALVIN's two images and state. Both ways in turn, several rounds, wall time.

Counted are answers that come within a fixed time while everybody asks: an evaluation's workers ask until the last
episode, so its rate is that of full batches. A count of whole runs of so many questions each has two ends in it at
which batches are not full; the shorter the run, the more it is about those ends. What is still lost lies between two
batches: sixteen requests of 0.14 MB are encoded, masked, sent, read and unmasked where shared memory copies them once,
and the policy waits for the last of them.

  python -m tools.remote_throughput --workers 16 --milliseconds 20
"""

from __future__ import annotations

import argparse
import threading
import time
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np

from tools.policy_server import observation
from vla_bench.bench.policy_server.client import ServedPolicy
from vla_bench.bench.policy_server.node import ServerOrder
from vla_bench.envs.observation import Observation, Sensors
from vla_bench.envs.simulation import EnvironmentSpec, environment_spec
from vla_bench.policies.base import Policy, PolicySpec, SubtaskContext
from vla_bench.policies.remote import RemotePolicy

CONTEXT = SubtaskContext("benchmark", 0, 0)


class Sleeper:
    """Takes its time for a batch."""

    def __init__(self, environment: EnvironmentSpec, milliseconds: float = 20.0) -> None:
        sensors = Sensors.of("static", "gripper")
        self.spec = PolicySpec("sleeper", environment.action("relative"), sensors, chunk=10, execute=10)
        self._seconds = milliseconds / 1e3
        self._chunk = np.zeros((10, 7), dtype=np.float32)
        self._chunk[:, -1] = 1

    def reset(self, slot: int, instruction: str, context: SubtaskContext) -> None:
        """Forgets nothing."""

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> list[np.ndarray]:
        """Zeros (10, 7) each."""
        time.sleep(self._seconds)
        return [self._chunk for _ in slots]

    def close(self) -> None:
        """Holds nothing."""


def rate(policies: Sequence[Policy], seconds: float) -> float:
    """Decisions per second, all together, while all are asking."""
    counts = [0] * len(policies)
    until = 0.0
    ready, go = threading.Barrier(len(policies) + 1), threading.Barrier(len(policies) + 1)

    def work(number: int) -> None:
        policy, seen = policies[number], observation(number)
        policy.reset(0, "open", CONTEXT)
        policy.act((0,), (seen,))
        ready.wait()
        go.wait()
        while True:
            policy.act((0,), (seen,))
            if time.perf_counter() > until:
                return
            counts[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(policies))]
    for thread in threads:
        thread.start()
    ready.wait()
    until = time.perf_counter() + seconds
    go.wait()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def shared_memory(workers: int, milliseconds: float) -> list[Policy]:
    """Workers of one policy server on this machine."""
    import sys

    arguments: dict[str, Any] = {"milliseconds": milliseconds}
    order = ServerOrder(
        run=uuid.uuid4().hex,
        policy={"target": "tools.remote_throughput:Sleeper", "arguments": arguments},
        family="calvin",
        options={},
        servers=1,
        python=sys.executable,
        hung_seconds=60.0,
        start_seconds=300.0,
    )
    return [ServedPolicy(order) for _ in range(workers)]


def main(typed: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    import subprocess
    import sys

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--milliseconds", type=float, default=20.0)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each round")
    parser.add_argument("--rounds", type=int, default=4)
    arguments = parser.parse_args(typed)
    words = ["policy._target_=tools.remote_throughput:Sleeper", f"policy.milliseconds={arguments.milliseconds}"]
    command = [sys.executable, "-m", "vla_bench", "serve", *words, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            port = server.stdout.readline().partition(";")[0].rpartition(":")[2]
            environment, address = environment_spec("calvin"), f"127.0.0.1:{port}"
            remote: list[Policy] = [
                RemotePolicy(environment, "openpi", address, mapping="openpi_raw_calvin", probe=False)
                for _ in range(arguments.workers)
            ]
            local = shared_memory(arguments.workers, arguments.milliseconds)
            found = {"shared memory": [], "openpi's protocol": []}
            for _ in range(arguments.rounds):
                found["shared memory"].append(rate(local, arguments.seconds))
                found["openpi's protocol"].append(rate(remote, arguments.seconds))
            for policy in (*remote, *local):
                policy.close()
        finally:
            server.kill()
    base = float(np.median(found["shared memory"]))
    print(f"{arguments.workers} workers, {arguments.milliseconds:g} ms a batch, median of {arguments.rounds} rounds")
    for name, rates in found.items():
        print(f"{name:<20}{np.median(rates):>8.0f} decisions/s{np.median(rates) / base:>7.3f}")


if __name__ == "__main__":
    main()
