"""Decisions per second of many workers: our server behind openpi's protocol, and the policy server on shared memory.

A policy that takes so many milliseconds for a batch, whatever its size, is asked by threads that each stand for a
worker and do nothing else, with CALVIN's two images and state. Both ways in turn, several rounds, wall time.

Counted are answers that come within a fixed time while everybody asks: an evaluation's workers ask until the last
episode, so its rate is that of full batches. A count of whole runs of so many questions each has two ends in it at
which batches are not full; the shorter the run, the more it is about those ends. What is still lost lies between two
batches: sixteen requests of 0.14 MB are encoded, masked, sent, read and unmasked where shared memory copies them once,
and the policy waits for the last of them.

``--processes`` has each worker in a process of its own, as an evaluation has them, on both sides. The threads of one
process share an interpreter lock, which our protocol's client, who does more in Python, waits for more often; processes
share nothing but the machine's cores, of which they want as many as there are workers.

  python -m tools.remote_throughput --workers 16 --milliseconds 20
  python -m tools.remote_throughput --workers 16 --milliseconds 20 --processes
"""

from __future__ import annotations

import argparse
import multiprocessing
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection
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


class Threads:
    """Workers in threads of this process."""

    def __init__(self, make: Callable[[], Policy], workers: int) -> None:
        self._policies = [make() for _ in range(workers)]

    def close(self) -> None:
        """Ends them."""
        for policy in self._policies:
            policy.close()

    def rate(self, seconds: float) -> float:
        """Decisions per second, all together, while all are asking."""
        policies = self._policies
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


class Apart:
    """Workers in processes of their own."""

    def __init__(self, make: Callable[[], Policy], workers: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        for number in range(workers):
            ours, theirs = context.Pipe()
            context.Process(target=_worker, args=(make, number, theirs), daemon=True).start()
            self._pipes.append(ours)
        for pipe in self._pipes:
            pipe.recv()

    def rate(self, seconds: float) -> float:
        """Decisions per second, all together, while all are asking."""
        begin = time.time() + 0.2
        for pipe in self._pipes:
            pipe.send((begin, seconds))
        return sum(pipe.recv() for pipe in self._pipes) / seconds

    def close(self) -> None:
        """Ends them."""
        for pipe in self._pipes:
            pipe.send(None)


def _worker(make: Callable[[], Policy], number: int, pipe: Connection) -> None:
    policy, seen = make(), observation(number)
    policy.reset(0, "open", CONTEXT)
    policy.act((0,), (seen,))
    pipe.send(None)
    while (told := pipe.recv()) is not None:
        begin, seconds = told
        count = 0
        time.sleep(max(0.0, begin - time.time()))
        while True:
            policy.act((0,), (seen,))
            if time.time() > begin + seconds:
                break
            count += 1
        pipe.send(count)
    policy.close()


def remote(address: str) -> Policy:
    """A worker that asks our server."""
    return RemotePolicy(environment_spec("calvin"), "openpi", address, mapping="openpi_raw_calvin", probe=False)


def order_of(milliseconds: float) -> ServerOrder:
    """One policy server on this machine."""
    import sys

    arguments: dict[str, Any] = {"milliseconds": milliseconds}
    return ServerOrder(
        run=uuid.uuid4().hex,
        policy={"target": "tools.remote_throughput:Sleeper", "arguments": arguments},
        family="calvin",
        options={},
        servers=1,
        python=sys.executable,
        hung_seconds=60.0,
        start_seconds=300.0,
    )


def main(typed: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    import subprocess
    import sys

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--milliseconds", type=float, default=20.0)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each round")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--processes", action="store_true", help="a process for each worker instead of a thread")
    arguments = parser.parse_args(typed)
    words = ["policy._target_=tools.remote_throughput:Sleeper", f"policy.milliseconds={arguments.milliseconds}"]
    command = [sys.executable, "-m", "vla_bench", "serve", *words, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            port = server.stdout.readline().partition(";")[0].rpartition(":")[2]
            makers = {
                "shared memory": partial(ServedPolicy, order_of(arguments.milliseconds)),
                "openpi's protocol": partial(remote, f"127.0.0.1:{port}"),
            }
            together = Apart if arguments.processes else Threads
            fleets = {name: together(make, arguments.workers) for name, make in makers.items()}
            found: dict[str, list[float]] = {name: [] for name in fleets}
            for _ in range(arguments.rounds):
                for name, fleet in fleets.items():
                    found[name].append(fleet.rate(arguments.seconds))
            for fleet in fleets.values():
                fleet.close()
        finally:
            server.kill()
    base = float(np.median(found["shared memory"]))
    print(f"{arguments.workers} workers, {arguments.milliseconds:g} ms a batch, median of {arguments.rounds} rounds")
    for name, rates in found.items():
        print(f"{name:<20}{np.median(rates):>8.0f} decisions/s{np.median(rates) / base:>7.3f}")


if __name__ == "__main__":
    main()
