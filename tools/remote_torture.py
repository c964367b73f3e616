"""A served policy whose server is killed, stopped, slowed and garbled at random: the tables must be the same.

An evaluation of the toy environment asks a server of ours through a relay, while this process troubles both. Its
records are compared with those of the same policy in the workers' own processes. All on loopback, everything bounded.

  python -m tools.remote_torture                        200 episodes, 100 troubles, openpi's protocol
  python -m tools.remote_torture --protocol vla_eval
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from vla_bench.bench.records.result_set import ResultSet
from vla_bench.envs.observation import Sensors
from vla_bench.envs.simulation import EnvironmentSpec
from vla_bench.policies.base import PolicySpec

TROUBLES = ("kill", "stop", "slow", "garble", "cut")
CHUNK = 4


class Swirl:
    """Moves by a function of the state and the instruction; the toy environment's records show every bit of it."""

    def __init__(self, environment: EnvironmentSpec) -> None:
        self.spec = self.describe(environment)
        self._instructions: dict[int, str] = {}

    @classmethod
    def describe(cls, environment: EnvironmentSpec) -> PolicySpec:
        """Chunks of four, all executed."""
        return PolicySpec("swirl", environment.action("relative"), Sensors.of("front"), chunk=CHUNK, execute=CHUNK)

    def reset(self, slot: int, instruction: str, context: Any) -> None:
        """Keeps the instruction."""
        self._instructions[slot] = instruction

    def act(self, slots: Any, observations: Any) -> list[np.ndarray]:
        """(4, 4) each."""
        return [self._chunk(self._instructions[slot], seen) for slot, seen in zip(slots, observations, strict=True)]

    def _chunk(self, instruction: str, seen: Any) -> np.ndarray:
        phase = float(np.asarray(seen["state"]).sum()) * 7 + len(instruction) + float(seen["rgb_front"].mean())
        chunk = np.sin(phase + np.arange(CHUNK * 4, dtype=np.float64)).reshape(CHUNK, 4)
        chunk[:, 3] = np.where(chunk[:, 3] > 0, 1, -1)
        return chunk

    def close(self) -> None:
        """Holds nothing."""


class Server:
    """The server's process, started again whenever it has been killed."""

    def __init__(self, protocol: str, port: int) -> None:
        words = ("policy._target_=tools.remote_torture:Swirl", "benchmark=fake", "--protocol", protocol)
        self._command = [sys.executable, "-m", "vla_bench", "serve", *words, "--port", str(port)]
        self._port = port
        self.start()

    def start(self) -> None:
        """Starts it and waits until it listens."""
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(self._command, stdout=quiet, stderr=quiet, stdin=quiet)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1):
                return
            time.sleep(0.05)
        raise SystemExit("the server does not start")

    def kill(self) -> None:
        """At once, as a crash would."""
        self.process.kill()
        self.process.wait()

    def stop(self, seconds: float) -> None:
        """Freezes it for a while."""
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.process.send_signal(signal.SIGCONT)


class Relay:
    """Between the workers and the server: passes bytes on, late, spoilt, or not at all."""

    def __init__(self, behind: int) -> None:
        self._behind = behind
        self._delay = 0.0
        self._spoil = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self.port = 0
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        ready.wait(10)

    def _run(self, ready: threading.Event) -> None:
        async def main() -> None:
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self.port = server.sockets[0].getsockname()[1]
            ready.set()

        self._loop.run_until_complete(main())
        self._loop.run_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._behind)
        except OSError:
            writer.close()
            return
        both = {writer, back}
        self._writers |= both
        await asyncio.gather(self._pass(reader, back, False), self._pass(there, writer, True), return_exceptions=True)
        self._writers -= both

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: bool) -> None:
        try:
            while data := await reader.read(65536):
                if self._delay:
                    await asyncio.sleep(self._delay)
                if answers and self._spoil:
                    self._spoil -= 1
                    data = random.randbytes(len(data))
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    def slow(self, seconds: float) -> None:
        """Everything takes a quarter of a second longer for a while."""
        self._delay = 0.25
        time.sleep(seconds)
        self._delay = 0.0

    def garble(self) -> None:
        """The next answer is noise."""
        self._spoil += 1

    def cut(self) -> None:
        """All connections end."""

        def close() -> None:
            for writer in list(self._writers):
                writer.transport.abort()

        self._loop.call_soon_threadsafe(close)

    def close(self) -> None:
        """Ends the relay."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)


def main(typed: list[str] | None = None) -> int:
    """Runs both evaluations and compares; 0 when all is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--protocol", choices=("openpi", "vla_eval"), default="openpi")
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--troubles", type=int, default=100)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--pause", type=float, default=1.0, help="mean seconds between troubles")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(typed)
    with tempfile.TemporaryDirectory() as folder:
        return run(arguments, Path(folder))


def run(arguments: argparse.Namespace, folder: Path) -> int:
    """The two runs, with troubles in the second."""
    plain = evaluation(arguments, folder, "plain", ["policy._target_=tools.remote_torture:Swirl"])
    if plain.wait() != 0:
        raise SystemExit("the run without troubles failed")
    port = free_port()
    before = leftovers(port)
    server = Server(arguments.protocol, port)
    relay = Relay(port)
    words = ["policy=remote", f"policy.protocol={arguments.protocol}", f"policy.address=127.0.0.1:{relay.port}"]
    words += [f"policy.execute={CHUNK}"] if arguments.protocol == "openpi" else []
    words += ["policy.timeout=6", "policy.wait=60", "run.max_attempts=60"]
    done = Counter[str]()
    began = time.monotonic()
    troubled = evaluation(arguments, folder, "troubled", words)
    try:
        trouble(arguments, troubled, server, relay, done)
        code = troubled.wait()
    finally:
        troubled.kill()
        server.kill()
        relay.close()
    seconds = time.monotonic() - began
    first, second = (ResultSet.load(folder / name) for name in ("plain", "troubled"))
    same = outcomes(first) == outcomes(second)
    until = time.monotonic() + 10  # a killed process may take a moment to go
    while (left := [each for each in leftovers(port) if each not in before]) and time.monotonic() < until:
        time.sleep(0.2)
    retried = sum(record.attempt > 1 for record in second.records)
    count = len(second.records)
    print(f"{arguments.protocol}: {count} of {arguments.episodes} episodes in {seconds:.0f} s, exit {code}")
    print(f"troubles: {', '.join(f'{name} {count}' for name, count in sorted(done.items()))}; total {done.total()}")
    print(f"episodes tried again: {retried}; errors: {second.summary.errors}")
    print(f"records {'identical' if same else 'DIFFERENT'}; left behind: {', '.join(left) or 'nothing'}")
    return 0 if same and not left and code == 0 and len(second.records) == arguments.episodes else 1


def trouble(
    arguments: argparse.Namespace, run: subprocess.Popen[bytes], server: Server, relay: Relay, done: Counter[str]
) -> None:
    """Makes trouble until there was enough, or the run is over."""
    dice = random.Random(arguments.seed)
    time.sleep(4.0)
    while done.total() < arguments.troubles and run.poll() is None:
        what = dice.choice(TROUBLES)
        if what == "kill":
            server.kill()
            time.sleep(dice.uniform(0.0, 1.0))
            server.start()
        elif what == "stop":
            server.stop(dice.uniform(0.2, 2.0))
        elif what == "slow":
            relay.slow(dice.uniform(0.2, 1.0))
        elif what == "garble":
            relay.garble()
        else:
            relay.cut()
        done[what] += 1
        time.sleep(dice.uniform(0.0, 2 * arguments.pause))


def evaluation(arguments: argparse.Namespace, folder: Path, name: str, words: list[str]) -> subprocess.Popen[bytes]:
    """Starts a run of the toy environment."""
    slow = 0.02 if name == "troubled" else 0.0  # so that there is time for troubles
    command = [sys.executable, "-m", "vla_bench", "run", "benchmark=fake", f"benchmark.sequences={arguments.episodes}"]
    command += ["benchmark.step_limit=60", f"+benchmark.options.step_seconds={slow}", "run.backend=local", *words]
    command += [f"run.workers={arguments.workers}", f"run.results={folder}", f"run.name={name}"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def outcomes(results: ResultSet) -> list[dict[str, Any]]:
    """What must not depend on troubles; decisions are counted otherwise where a server keeps the chunks."""
    found = [record.outcome() for record in sorted(results.records, key=lambda record: record.index)]
    for record in found:
        for subtask in record["subtasks"]:
            del subtask["decisions"]
    return found


def leftovers(port: int) -> list[str]:
    """Shared memory, the server's process, and workers of ours."""
    names = [f"/dev/shm/{name}" for name in os.listdir("/dev/shm")] if os.path.isdir("/dev/shm") else []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if "remote_torture:Swirl" in line or (
                "vla_bench.bench.dispatch.child" in line and os.getpid() == parent(pid)
            ):
                names.append(f"process {pid}: {line[:200]}")
    return names


def parent(pid: str) -> int:
    """Of a process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    sys.exit(main())
