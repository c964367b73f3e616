"""The policy servers of one run on this machine: found, started and replaced by the workers themselves.

A folder of the run, which only its user can enter, holds a list of the servers and of the workers that
each has; whoever changes it holds its lock. So no driver has to know the machines of a cluster, and a
server that was killed is replaced by the next worker that needs one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_bench import start
from vla_bench.bench.policy_server.server import Busy, pulse, read_pulse
from vla_bench.policies.kept import claim

HUNG_SECONDS = 60.0
"""How long a decision may take before a server that has lost a worker meanwhile is taken for hung, unless
``run.decision_deadline`` says otherwise: the shortest deadline that is ever learned."""
SILENT_SECONDS = 10.0
"""How long a server that has nothing to do must at least have been silent to be taken for hung."""
LONGEST_FOLDER = 70
"""Characters; the path of a Unix socket has 107 at most, 104 on macOS."""
SERVER = "vla_bench.bench.policy_server.server"
LOG_TAIL = 4000
"""Characters of a server's log that go into an error."""


@dataclass(frozen=True, slots=True)
class ServerOrder:
    """What a run's servers are, the same for all its workers; plain data."""

    run: str
    """Unlike any other run's."""
    policy: Mapping[str, Any]
    """Target and arguments."""
    family: str
    options: Mapping[str, Any]
    """Of the simulation, for its :class:`vla_bench.envs.simulation.EnvironmentSpec`."""
    servers: int
    """Of each machine; with several, each sees one of the machine's GPUs."""
    python: str
    """Interpreter of the servers; this one's where there is no such file."""
    hung_seconds: float
    start_seconds: float
    """How long it may take to build the policy."""
    results: str = ""
    """Folder whose files are not the policy's."""
    logs: str = ""
    """Folder for what they print."""
    asked_at: str = ""
    """By which a process that has built the policy already is claimed (:mod:`vla_bench.policies.kept`)."""


class Node:
    """This machine's servers of one run."""

    def __init__(self, order: ServerOrder) -> None:
        self._order = order
        # Workers that have been given different GPUs have different servers, each beside its own.
        name = hashlib.sha256(f"{order.run} {os.environ.get('CUDA_VISIBLE_DEVICES')}".encode()).hexdigest()[:16]
        self._folder = _parent() / name

    def connect(self) -> tuple[socket.socket, int]:
        """A connection to the server with the fewest workers, started if need be, and its number."""
        sweep(_parent(), keep=self._folder)
        try:
            return self._connect()
        except FileNotFoundError:  # another worker, the last that was there, has just removed the folder
            return self._connect()

    def _connect(self) -> tuple[socket.socket, int]:
        with self._list() as servers:
            for server in servers:
                self._judge(server)
            living = [server for server in servers if self._lives(server)]
            servers[:] = living
            idle = [server for server in living if not server["workers"]]
            if not idle and len(living) < self._order.servers:
                taken = {server["number"] for server in living}
                number = next(n for n in range(self._order.servers) if n not in taken)
                idle = [self._start(number)]
                servers.extend(idle)
            chosen = min(idle or living, key=lambda server: len(server["workers"]))
            chosen["workers"].append(os.getpid())
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.connect(str(self._path(chosen["number"], "socket")))
            return connection, chosen["number"]

    def leave(self, number: int) -> None:
        """This process has closed its connection to the server of that number. The last one cleans up."""
        if not self._folder.is_dir():
            return
        with self._list() as servers:
            for server in servers:
                if server["number"] == number and os.getpid() in server["workers"]:
                    server["workers"].remove(os.getpid())
            if not any(server["workers"] for server in servers):
                shutil.rmtree(self._folder, ignore_errors=True)

    def log_tail(self, number: int) -> str:
        """The end of what the server of that number has printed."""
        try:
            text = self._log(number).read_text(errors="replace")
        except OSError:
            return ""
        return text[-LOG_TAIL:].strip()

    def look_after(self, number: int) -> None:
        """Kills the server of that number if it is stuck; for a worker that waits to be greeted by it."""
        if self._folder.is_dir():
            with self._list() as servers:
                for server in servers:
                    if server["number"] == number:
                        self._judge(server)

    def _judge(self, server: dict[str, Any]) -> None:
        """Forgets workers that are no more; kills a server that is stuck.

        One that listens says so every second. One that builds or decides may take its time, unless a worker
        was lost meanwhile, which may have waited for it in vain.
        """
        gone = [pid for pid in server["workers"] if not _alive(pid)]
        server["workers"] = [pid for pid in server["workers"] if pid not in gone]
        try:
            content = self._path(server["number"], "pulse").read_bytes()
            busy, seconds = read_pulse(content)
        except (OSError, ValueError):
            return
        if gone:
            server["missed"] = content.hex()  # as long as its pulse is the one that they saw
        allowed = {
            Busy.BUILDING: self._order.start_seconds,
            Busy.LISTENING: max(self._order.hung_seconds, SILENT_SECONDS),
            Busy.DECIDING: self._order.hung_seconds,
        }[busy]
        suspect = busy is Busy.LISTENING or server.get("missed") == content.hex()
        if suspect and seconds > allowed and self._lives(server):
            with contextlib.suppress(ProcessLookupError):
                os.kill(server["pid"], signal.SIGKILL)
            while _alive(server["pid"]):  # its socket closes with it
                time.sleep(0.01)

    def _lives(self, server: Mapping[str, Any]) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
            try:
                knock.connect(str(self._path(server["number"], "socket")))
            except OSError:
                return False
        return True

    def _start(self, number: int) -> dict[str, Any]:
        order, path = self._order, self._path(number, "socket")
        path.unlink(missing_ok=True)
        self._path(number, "pulse").write_bytes(pulse(Busy.BUILDING))
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener,
            open(self._path(number, "pulse"), "r+b") as page,
            open(self._log(number), "ab") as log,
        ):
            listener.bind(str(path))
            listener.listen(1024)
            reading, writing = os.pipe()
            inherited = (listener.fileno(), page.fileno())
            with open(reading, "rb") as orders, open(writing, "wb") as told:
                pid = claim(order.asked_at, SERVER, log.fileno(), (*inherited, reading)) if order.servers == 1 else None
                if pid is None:
                    pid = subprocess.Popen(
                        start.command(
                            SERVER, *inherited, python=order.python if os.path.exists(order.python) else None
                        ),
                        pass_fds=inherited,
                        stdin=orders,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        env=_environment(number, order.servers),
                        start_new_session=True,  # the end of the worker that starts it is not its own
                    ).pid
                orders.close()
                with contextlib.suppress(BrokenPipeError):
                    told.write(json.dumps(self._told()).encode())
                    told.flush()
        return {"number": number, "pid": pid, "workers": []}

    def _told(self) -> dict[str, Any]:
        """What a server is told to build."""
        order = self._order
        told: dict[str, Any] = {"policy": order.policy, "family": order.family, "options": order.options}
        return told | {"worker": os.getpid(), "results": order.results}

    def _log(self, number: int) -> Path:
        """In the run's folder where this machine has it, else beside the server's socket."""
        if self._order.logs and os.path.isdir(self._order.logs):
            return Path(self._order.logs) / f"server-{platform.node()}-{number}.log"
        return self._path(number, "log")

    def _path(self, number: int, kind: str) -> Path:
        return self._folder / f"{number}.{kind}"

    @contextlib.contextmanager
    def _list(self) -> Iterator[list[dict[str, Any]]]:
        """The servers, to be changed; whatever was changed is kept."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(self._folder / "servers.json", "a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            try:
                servers = json.loads(file.read() or "[]")
            except ValueError:  # whoever wrote it was killed; servers that nobody knows end by themselves
                servers = []
            yield servers
            file.seek(0)
            file.truncate()
            json.dump(servers, file)


def sweep(parent: Path, keep: Path | None = None) -> None:
    """Removes the folders of runs none of whose servers lives."""
    for folder in parent.glob("*"):
        if folder == keep:
            continue
        with contextlib.suppress(OSError, ValueError), open(folder / "servers.json") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not any(_alive(server["pid"]) for server in json.loads(file.read() or "[]")):
                shutil.rmtree(folder, ignore_errors=True)


def _parent() -> Path:
    """Where the runs of this user have their folders."""
    folder = Path(tempfile.gettempdir()) / f"vla-bench-{os.getuid()}"
    if len(str(folder)) > LONGEST_FOLDER:
        folder = Path("/tmp") / folder.name
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or folder.is_symlink():
        raise PermissionError(f"{folder} belongs to somebody else; set TMPDIR to a folder of yours")
    return folder


def _alive(pid: int) -> bool:
    """Whether the process runs; one that is dead and not yet waited for does not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except FileNotFoundError:
        if sys.platform == "linux":
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _environment(number: int, servers: int) -> dict[str, str]:
    """Of the server of that number: one GPU of those this process may use, if there are several servers."""
    environment = dict(os.environ)
    if servers > 1:
        visible = environment.get("CUDA_VISIBLE_DEVICES")
        devices = visible.split(",") if visible else [str(index) for index in range(servers)]
        environment["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]
    return environment
