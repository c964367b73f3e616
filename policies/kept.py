"""A process that has built a policy to say what it needs, and goes on as whoever needs one.

Loading a policy may take minutes, so the process in which it was asked (:mod:`vla_bench.policies.specification`) waits
until a worker or a policy server of this machine is to be started, and becomes that. Whoever starts one claims it
through a socket without a file, by a name that the run alone knows; the first that comes gets it, all others build
their own. Descriptors travel with the claim, as they are inherited otherwise. Linux only; elsewhere nothing is kept.
"""

from __future__ import annotations

import array
import contextlib
import importlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from vla_bench.policies.base import Policy

CLOSE_SECONDS = 10.0
"""What a server that was claimed gets to close its policy after the run."""
LONGEST_LOG = 1 << 20
"""Bytes of what it printed that are passed on."""
ANSWER_SECONDS = 10.0
"""How long a claim may wait for its answer."""
_MOST_DESCRIPTORS = 16
_CREDENTIALS = struct.Struct("3i")  # ucred: pid, uid, gid


@dataclass(frozen=True, slots=True)
class Asked:
    """A policy that was built to be asked, in the process that holds it."""

    policy: Policy
    modules: frozenset[str]
    """Those loaded before its class was imported."""
    folder: str
    """Where the process was left by it."""


def can_keep() -> bool:
    """Whether this system has what it takes."""
    return sys.platform == "linux" and hasattr(os, "pidfd_open")


class Kept:
    """The process, as the one that started it sees it."""

    def __init__(self, process: subprocess.Popen[bytes], lifeline: IO[bytes], address: str) -> None:
        self.address = address
        """By which it is claimed."""
        self._process = process
        self._lifeline = lifeline

    def release(self) -> None:
        """Ends it, when nobody has claimed it; else whoever has it, or it itself, has ended it about now."""
        if not self._free():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(CLOSE_SECONDS)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._lifeline.close()

    def _free(self) -> bool:
        with contextlib.closing(_socket()) as knock:
            try:
                knock.connect(_name(self.address))
            except OSError:
                return False
            return True


def new_address() -> str:
    """One that nobody else has."""
    return f"vla-bench-{uuid.uuid4().hex}"


class Offer:
    """The process's own side: can be claimed from when this is made."""

    def __init__(self, address: str) -> None:
        self._listener = _socket()
        self._listener.bind(_name(address))
        self._listener.listen(64)

    def wait(self, asked: Asked) -> None:
        """Waits to be claimed, then runs what the claim says; returns when that is over."""
        module, descriptors = self._claimed()
        stdin, log, *rest = descriptors
        sys.stdout.flush()
        sys.stderr.flush()
        with contextlib.suppress(OSError):  # what it printed so far begins the log that it goes on with
            os.write(log, os.pread(1, LONGEST_LOG, 0))
        for number, there in ((stdin, (0,)), (log, (1, 2))):
            for target in there:
                os.dup2(number, target)
            os.close(number)
        importlib.import_module(module).go_on(asked, rest)

    def _claimed(self) -> tuple[str, list[int]]:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                try:
                    connection.settimeout(ANSWER_SECONDS)
                    _, user, _ = _CREDENTIALS.unpack(
                        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
                    )
                    if user != os.getuid():
                        continue
                    module, descriptors = _receive(connection)
                    if not descriptors:
                        continue  # it only knocked
                    self._listener.close()  # nobody else gets it
                    connection.sendall(str(os.getpid()).encode())
                except (OSError, ValueError, KeyError):
                    continue
                return module, descriptors


def claim(address: str, module: str, log: int, descriptors: Sequence[int]) -> int | None:
    """Lets the process go on as ``module``, whose ``go_on(asked, descriptors)`` it calls.

    Returns:
        Its id; None when it is not on this machine, has ended, or belongs to somebody already.
    """
    if not address:
        return None
    with contextlib.closing(_socket()) as connection, open(os.devnull, "rb") as nothing:
        connection.settimeout(ANSWER_SECONDS)
        try:
            connection.connect(_name(address))
            passed = array.array("i", [nothing.fileno(), log, *descriptors])
            text = json.dumps({"module": module}).encode()
            connection.sendmsg([text], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])
            return int(connection.recv(64))
        except (OSError, ValueError):
            return None


class ClaimedProcess:
    """A process that somebody else has started: as much of :class:`subprocess.Popen` as its keeper needs."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)
        self._code: int | None = None

    def poll(self) -> int | None:
        """The exit code, when it has ended."""
        if self._code is None and _readable(self._descriptor, 0.0):
            self._code = _exit_code(self.pid)
            os.close(self._descriptor)
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Waits for its end. subprocess.TimeoutExpired: it goes on."""
        until = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            left = 60.0 if until is None else until - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            _readable(self._descriptor, left)
        return code

    def kill(self) -> None:
        """Ends it at once."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


def _exit_code(pid: int) -> int:
    """Of one that its parent has not waited for yet (proc(5): the last field is the status for waitpid)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return os.waitstatus_to_exitcode(int(file.read().split()[-1]))
    except (OSError, ValueError):
        return -signal.SIGKILL  # its parent has ended, which takes it along


def _readable(descriptor: int, seconds: float) -> bool:
    import select

    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)


def _name(address: str) -> bytes:
    return b"\0" + address.encode()


def _receive(connection: socket.socket) -> tuple[str, list[int]]:
    passed = array.array("i")
    text, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(_MOST_DESCRIPTORS * passed.itemsize))
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            passed.frombytes(content[: len(content) - len(content) % passed.itemsize])
    return (json.loads(text)["module"] if text else ""), list(passed)
