"""What the policy server costs, and what deciding together gains.

Transport: the median time of a decision by a server whose policy does nothing, beyond the same call in
this process, with both of CALVIN's cameras. Decisions: a mid-size Kosmos-2 with random weights (a fiftieth
of the real one) served to many workers, against a loop that decides the way the original evaluation does:
one at a time, each window encoded anew, logits over the vocabulary. CPU time of the deciding process.

  python -m tools.policy_server
  python -m tools.policy_server --window 8 --decisions 4 --structures policy_head
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vla_bench.bench.policy_server.client import ServedPolicy
from vla_bench.bench.policy_server.node import ServerOrder
from vla_bench.envs.observation import Observation, Sensors
from vla_bench.envs.simulation import EnvironmentSpec, environment_spec
from vla_bench.policies.base import Policy, PolicySpec, SubtaskContext

STRUCTURES = ("policy_head", "interleaved")
CONTEXT = SubtaskContext("benchmark", 0, 0)


class Idle:
    """Answers at once."""

    def __init__(self, environment: EnvironmentSpec) -> None:
        self.spec = PolicySpec("idle", environment.action("relative"), Sensors.of("static", "gripper"))
        self._chunk = np.zeros((10, 7), dtype=np.float32)

    def reset(self, slot: int, instruction: str, context: SubtaskContext) -> None:
        """Forgets nothing, having nothing."""

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> list[np.ndarray]:
        """A chunk of zeros (10, 7) each."""
        return [self._chunk for _ in slots]

    def close(self) -> None:
        """Holds nothing."""


class MidSize:
    """A mid-size Kosmos-2 of random weights; ``structure`` is one of :data:`STRUCTURES`."""

    def __init__(self, environment: EnvironmentSpec, structure: str, batching: str, window: int) -> None:
        self._engine = _engine(structure, batching, window)
        self.spec = PolicySpec(
            structure,
            environment.action("relative"),
            Sensors.of("static", "gripper"),
            batched=batching == "fast",
        )

    def reset(self, slot: int, instruction: str, context: SubtaskContext) -> None:
        """See :class:`vla_bench.policies.vla.engine.Engine`."""
        self._engine.reset(slot, instruction)

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> list[np.ndarray]:
        """See :class:`vla_bench.policies.vla.engine.Engine`."""
        return self._engine.act(slots, observations)

    def close(self) -> None:
        """Holds nothing but memory."""


def main(typed: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--window", type=int, default=16, help="frames of history")
    parser.add_argument("--decisions", type=int, default=8, help="of each worker, windows full")
    parser.add_argument("--calls", type=int, default=2000, help="of the policy that does nothing")
    parser.add_argument("--structures", nargs="*", default=STRUCTURES, choices=STRUCTURES, metavar="NAME")
    arguments = parser.parse_args(typed)
    transport(arguments.calls)
    if arguments.structures:
        print(f"\nwindow {arguments.window}")
        print(f"{'structure':<13}{'way':<26}{'decisions/CPU s':>16}{'x original':>12}")
    for structure in arguments.structures:
        original = by_original_loop(structure, arguments.window, arguments.decisions)
        print(f"{structure:<13}{'original, one at a time':<26}{original:>16.2f}{1:>12.2f}", flush=True)
        for batching in ("exact", "fast"):
            asked = arguments.workers, arguments.window, arguments.decisions
            served = by_server(structure, batching, *asked)
            way = f"server, {arguments.workers} workers, {batching}"
            print(f"{structure:<13}{way:<26}{served:>16.2f}{served / original:>12.2f}", flush=True)


def transport(calls: int) -> None:
    """Prints the median milliseconds of a call, here and through a server."""
    served = ServedPolicy(order("Idle"))
    try:
        medians = [median_milliseconds(policy, calls) for policy in (Idle(environment_spec("calvin")), served)]
    finally:
        served.close()
    print(f"a decision by a policy that does nothing, two cameras, median of {calls} calls")
    print(f"  in this process {medians[0]:.3f} ms, through the server {medians[1]:.3f} ms")
    print(f"  transport {medians[1] - medians[0]:.3f} ms")


def median_milliseconds(policy: Policy, calls: int) -> float:
    """Of one decision of a single slot, wall time."""
    seen = observation(0)
    policy.reset(0, "open", CONTEXT)
    times = []
    for _ in range(calls):
        started = time.perf_counter()
        policy.act((0,), (seen,))
        times.append(time.perf_counter() - started)
    return 1e3 * float(np.median(times))


def by_original_loop(structure: str, window: int, decisions: int) -> float:
    """Decisions per CPU second."""
    from vla_bench.policies.vla.decision_speed import measure

    return measure(_engine(structure, "exact", window), 1, decisions, original=True).per_second


def by_server(structure: str, batching: str, workers: int, window: int, decisions: int) -> float:
    """Decisions per CPU second of the server, asked by threads, each of which is a worker to it."""
    policies = [ServedPolicy(order("MidSize", structure=structure, batching=batching, window=window))]
    policies += [ServedPolicy(policies[0].order) for _ in range(workers - 1)]
    server = policies[0].server_pid
    ready, go = threading.Barrier(workers + 1), threading.Barrier(workers + 1)

    def work(number: int) -> None:
        policy, seen = policies[number], observation(number)
        policy.reset(0, "open", CONTEXT)
        for _ in range(window):
            policy.act((0,), (seen,))
        ready.wait()
        go.wait()
        for _ in range(decisions):
            policy.act((0,), (seen,))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    ready.wait()
    before = cpu_seconds(server)
    go.wait()
    for thread in threads:
        thread.join()
    spent = cpu_seconds(server) - before
    for policy in policies:
        policy.close()
    return workers * decisions / spent


def order(policy: str, **arguments: Any) -> ServerOrder:
    """A server of its own for a policy of this module."""
    target = {"target": f"tools.policy_server:{policy}", "arguments": arguments}
    return ServerOrder(
        run=uuid.uuid4().hex,
        policy=target,
        family="calvin",
        options={},
        servers=1,
        python=sys.executable,
        hung_seconds=60.0,
        start_seconds=300.0,
    )


def observation(seed: int) -> Observation:
    """What a policy with both cameras of CALVIN is shown."""
    random = np.random.default_rng(seed)
    return Observation(
        {
            "rgb_static": random.integers(0, 256, (200, 200, 3), dtype=np.uint8),
            "rgb_gripper": random.integers(0, 256, (84, 84, 3), dtype=np.uint8),
            "robot_obs": random.normal(size=15),
            "scene_obs": random.normal(size=24),
        }
    )


def cpu_seconds(pid: int) -> float:
    """What a process has used so far, of user and system time."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _engine(structure: str, batching: str, window: int) -> Any:
    import torch

    from vla_bench.policies.vla.config import VlaConfig
    from vla_bench.policies.vla.decision_speed import engine_of_size

    torch.set_num_threads(1)
    head = {"policy_head": "lstm", "interleaved": "fc"}[structure]
    config = {"structure": structure, "head": head, "window": window, "gripper_camera": True, "hidden": 128}
    return engine_of_size(VlaConfig.from_mapping(config), "mid", device="cpu", dtype="float32", batching=batching)


if __name__ == "__main__":
    main()
