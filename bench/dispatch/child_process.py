"""The supervisor's side of a child process: starts it, talks to it, notices crashes and hangs.

Everything the pair shares is nameless and inherited (a socket pair, a page of memory, a pipe, the
child's log), so nothing can be left behind. Time limits are judged from outside: a stuck child cannot.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vla_bench import start
from vla_bench.bench.dispatch.job import Job, job_to_plain
from vla_bench.bench.dispatch.page import Page, Place, create_page_file
from vla_bench.bench.dispatch.worker_log import WorkerLog
from vla_bench.bench.episode.rollout import Phase
from vla_bench.bench.protocol import EpisodeError
from vla_bench.bench.wire import STACK_SIGNAL, receive, send
from vla_bench.lifeline import tie
from vla_bench.policies.kept import ClaimedProcess, claim

POLL_SECONDS = 0.2
"""How often the page is looked at while the child works."""
CLOSE_SECONDS = 5.0
"""What a child gets to release its simulation before it is killed."""
CHILD = "vla_bench.bench.dispatch.child"
LOG_TAIL = 4000
"""Characters of the child's log that go into an error."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An episode, or a start, that came to nothing."""

    error: EpisodeError
    lasting: bool = False
    """True when trying again cannot help, since the user has something to mend."""


class ChildProcess:
    """A running child process and the supervisor's ends of what it shares with it."""

    def __init__(self, job: Job, worker: str = "") -> None:
        """Starts the process and sends it the job. OSError: there is no such interpreter."""
        self.idle = False
        """Whether it waits for a message."""
        self._steps_before = 0
        page_file = create_page_file()
        lifeline, self._lifeline = os.pipe()
        self._connection, theirs = socket.socketpair()
        self._page = Page(page_file)
        self._log = WorkerLog(job.folder, worker)
        self._process: subprocess.Popen[bytes] | ClaimedProcess
        inherited = (theirs.fileno(), page_file, lifeline)
        try:
            self._process = self._claimed(job, inherited) or subprocess.Popen(
                start.command(CHILD, *inherited, python=job.python),
                pass_fds=inherited,
                stdin=subprocess.DEVNULL,
                stdout=self._log.file,
                stderr=subprocess.STDOUT,
                cwd=job.directory if os.path.isdir(job.directory) else None,
                env=start.simulation_environment(),
                start_new_session=True,  # its own process group: Ctrl-C passes it by, a kill takes all
            )
            tie(lifeline, self._process.pid)
        except OSError:
            self._release()
            raise
        finally:
            theirs.close()
            os.close(page_file)
            os.close(lifeline)
        with contextlib.suppress(OSError):  # dead already: `wait` will say so
            send(self._connection, {"job": job_to_plain(job)})

    def _claimed(self, job: Job, descriptors: tuple[int, ...]) -> ClaimedProcess | None:
        """The process that has built the policy already, where there is one for this worker."""
        if job.inference != "child" or job.python:
            return None
        pid = claim(job.asked_at, CHILD, self._log.file.fileno(), descriptors)
        return None if pid is None else ClaimedProcess(pid)

    def ask(self, message: dict[str, Any], deadlines: Mapping[Phase, float]) -> dict[str, Any] | Failure:
        """Sends a message and waits for the answer."""
        self._log.shorten()
        self._steps_before = self._page.read().steps
        self.idle = False
        try:
            send(self._connection, message)
        except OSError:
            return self._crashed()
        return self.wait(deadlines)

    def wait(self, deadlines: Mapping[Phase, float]) -> dict[str, Any] | Failure:
        """Waits for an answer as long as the page keeps changing within the phase's deadline."""
        seen = self._page.read()
        since = time.monotonic()
        while not self._readable(POLL_SECONDS):
            if self._process.poll() is not None and not self._readable(0):
                return self._crashed()
            reading, now = self._page.read(), time.monotonic()
            if reading.ticks != seen.ticks:
                seen, since = reading, now
            elif now - since > deadlines[reading.phase]:
                return self._hung(reading.phase, deadlines[reading.phase])
        reply = receive(self._connection)
        if reply is None:
            return self._crashed()
        self.idle = True
        return reply

    def place(self) -> Place:
        """How far it is with what it was last sent, while it works on it."""
        if self.idle:
            return Place(0, 0)
        reading = self._page.read()
        return Place(reading.position, reading.steps - self._steps_before)

    def slowest(self, phase: Phase) -> float:
        """Seconds of the longest call in that phase so far."""
        return self._page.slowest(phase)

    def resident_bytes(self) -> int:
        """Resident memory of the process; 0 where /proc does not say."""
        try:
            with open(f"/proc/{self._process.pid}/statm", "rb") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            return 0

    def kill(self) -> None:
        """Kills the process and whatever it started."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            self._process.kill()

    def close(self) -> None:
        """Lets an idle process close its simulation, kills any other, and releases everything."""
        self._connection.close()
        if self.idle:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(CLOSE_SECONDS)
        self.kill()
        self._process.wait()
        self._release()

    def _release(self) -> None:
        self._connection.close()
        os.close(self._lifeline)
        self._page.close()
        self._log.close()

    def _readable(self, seconds: float) -> bool:
        poll = select.poll()  # `select` cannot, in a process with a thousand open files
        poll.register(self._connection, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def _crashed(self) -> Failure:
        status = self._exit_status()
        return Failure(EpisodeError("crash", f"the worker's process {status}", self._log.tail(LOG_TAIL)))

    def _exit_status(self) -> str:
        try:
            code = self._process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            return "closed its connection"
        if code >= 0:
            return f"exited with code {code}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"was killed by {name}{hint}"

    def _hung(self, phase: Phase, deadline: float) -> Failure:
        where, field = {
            Phase.START: ("while it was starting", "start_deadline"),
            Phase.IDLE: ("between episodes", "step_deadline"),
            Phase.SIMULATE: ("in the simulation", "step_deadline"),
            Phase.DECIDE: ("in the policy", "decision_deadline"),
        }[phase]
        # faulthandler answers in the signal handler itself, so also from within stuck native code.
        os.kill(self._process.pid, STACK_SIGNAL)
        time.sleep(POLL_SECONDS)
        self.kill()
        message = f"nothing happened {where} for {deadline:.3g} s (run.{field})"
        return Failure(EpisodeError("hang", message, self._log.tail(LOG_TAIL)))
