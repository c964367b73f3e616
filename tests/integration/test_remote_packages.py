"""The real openpi-client and vla-eval packages, in an environment of their own, against ours on CALVIN.

``REMOTE_PYTHON`` names an interpreter that has them; else one is made. ``REMOTE_SEQUENCES`` and ``REMOTE_STEPS`` say
how many sequences, and how many steps of each subtask; ``REMOTE_RENDERER`` which renderer draws what is sent.
"""

from __future__ import annotations

import dataclasses
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("websockets")

from remote_servers import CHUNK, Waver, served

from vla_bench.bench.episode.rollout import run_episode
from vla_bench.bench.families.calvin import _chains, _sequences
from vla_bench.bench.setup.config import benchmark_from_plain
from vla_bench.envs.calvin.bundle import find_bundle
from vla_bench.envs.observation import Sensors
from vla_bench.envs.simulation import SimulationSpec, environment_spec, make_simulation
from vla_bench.policies.remote.codecs import openpi
from vla_bench.policies.remote.policy import RemotePolicy

SCRIPT = Path(__file__).parents[1] / "their_packages.py"
PACKAGES = ("openpi-client==0.1.2", "vla-eval==0.8.0", "typing_extensions")
SEQUENCES = int(os.environ.get("REMOTE_SEQUENCES", "2"))
STEPS = int(os.environ.get("REMOTE_STEPS", "12"))
RENDERER = os.environ.get("REMOTE_RENDERER", "tiny")
CALVIN = environment_spec("calvin")
PROTOCOLS = ("openpi", "vla_eval")


@pytest.fixture(scope="module")
def their_python(tmp_path_factory):
    if named := os.environ.get("REMOTE_PYTHON"):
        return named
    folder = tmp_path_factory.mktemp("their")
    python = folder / "bin/python"
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES],
    ):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=240)
        except subprocess.TimeoutExpired:
            pytest.skip(f"{' '.join(PACKAGES)} could not be installed within 240 s")
        if done.returncode:
            pytest.skip(f"{' '.join(PACKAGES)} cannot be installed here: {done.stderr.strip()[-200:]}")
    return str(python)


def records(policy):
    """Outcomes of the first sequences; of few steps, unless more are asked for."""
    benchmark = benchmark_from_plain({"sequences": SEQUENCES, "step_limit": STEPS})
    episodes = _chains(benchmark, find_bundle("builtin"), _sequences(benchmark.options))
    options = {"assets": "builtin", "renderer": RENDERER}
    simulation = make_simulation(SimulationSpec("calvin", options, Sensors.of("static", "gripper")))
    try:
        found = [run_episode(simulation, policy, episode, seed=0).outcome() for episode in episodes]
    finally:
        simulation.close()
        policy.close()
    for record in found:
        for subtask in record["subtasks"]:
            del subtask["decisions"]  # vla-eval's clients ask at every step
    return found


@pytest.fixture(scope="module")
def in_process():
    return records(Waver(CALVIN))


class ThroughTheirClient:
    """Asks a server through the original client, which runs in a process of its own."""

    def __init__(self, python: str, protocol: str, address: str) -> None:
        self.spec = dataclasses.replace(Waver.describe(CALVIN), execute=1 if protocol == "vla_eval" else CHUNK)
        self._protocol = protocol
        command = [python, str(SCRIPT), "client", protocol, address]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._instruction, self._restart = "", False

    def reset(self, slot, instruction, context):
        self._instruction, self._restart = instruction, context.position > 0
        if context.position == 0 and self._protocol == "vla_eval":
            self._write({"episode_start": context.episode})

    def act(self, slots, observations):
        names = ("rgb_static", "rgb_gripper", "robot_obs")
        asked = {name: observations[0][name] for name in names}
        self._write({**asked, "instruction": self._instruction, "restart": self._restart})
        self._restart = False
        (length,) = struct.unpack("<I", self._process.stdout.read(4))
        actions = openpi.decode(self._process.stdout.read(length))["actions"]
        return [actions if actions.ndim == 2 else actions[None]]

    def _write(self, value):
        data = openpi.encode(value)
        self._process.stdin.write(struct.pack("<I", len(data)) + data)
        self._process.stdin.flush()

    def close(self):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(20)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_their_client_and_our_server(protocol, their_python, in_process):
    with served(Waver(CALVIN), CALVIN, f"{protocol}_raw_calvin") as address:
        assert records(ThroughTheirClient(their_python, protocol, address)) == in_process


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_our_client_and_their_server(protocol, their_python, in_process):
    command = [their_python, str(SCRIPT), "server", protocol]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            address = f"127.0.0.1:{int(server.stdout.readline())}"
            extra = {"execute": CHUNK} if protocol == "openpi" else {}
            policy = RemotePolicy(CALVIN, protocol, address, mapping=f"{protocol}_raw_calvin", **extra)
            assert records(policy) == in_process
        finally:
            server.stdin.close()
            server.wait(20)
