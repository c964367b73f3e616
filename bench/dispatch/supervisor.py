"""Owns one child process: starts it, hands it episodes, watches it, kills and replaces it.

A supervisor never runs simulator or policy code itself. Everything the pair shares is nameless and
inherited (a socket pair, a page of memory, a pipe, the child's log), so nothing can be left behind.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from typing import Any

from bench.dispatch.job import Job, job_to_plain
from bench.dispatch.page import Page, create_page_file
from bench.dispatch.wire import STACK_SIGNAL, receive, send
from bench.protocol import EpisodeError, EpisodeRecord, EpisodeSpec, record_from_plain, to_plain
from bench.rollout import Phase

POLL_SECONDS = 0.2
"""How often the page is looked at while an episode runs."""
START_ATTEMPTS = 2
"""How often a child that fails to start is tried, unless the user has something to mend."""
CLOSE_SECONDS = 5.0
"""What a child gets to release its simulation before it is killed."""
LOG_TAIL = 4000
"""Characters of the child's log that go into an error."""
LOG_LIMIT = 1 << 20
"""Bytes above which the child's log is emptied between episodes."""

# One control step is too small a job for a thread pool: several workers would only fight over cores.
_SINGLE_THREADED = {
    name: "1"
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
}


@dataclass(frozen=True, slots=True)
class Failure:
    """An episode, or a start, that came to nothing."""

    error: EpisodeError
    lasting: bool = False
    """True when trying again cannot help, since the user has something to mend."""


class Supervisor:
    """One worker: at most one child at a time, at most one episode at a time."""

    def __init__(self, job: Job, worker: str) -> None:
        self.worker = worker
        self._job = job
        self._child: _Child | None = None
        self._ready = False
        self._stopped = False

    def start(self) -> dict[str, Any] | Failure:
        """Starts the child and waits until simulation and policy are built.

        Returns what the child says of itself (``pid``, ``host``, ...), or why it cannot start; what a
        new attempt may mend has then been attempted :data:`START_ATTEMPTS` times.
        """
        for attempt in range(1, START_ATTEMPTS + 1):
            result = self._start_once()
            if (
                not isinstance(result, Failure)
                or result.lasting
                or self._stopped
                or attempt == START_ATTEMPTS
            ):
                return result
        raise AssertionError("unreachable")

    def _start_once(self) -> dict[str, Any] | Failure:
        try:
            self._child = _Child(self._job)
        except OSError as error:
            message = f"cannot start {self._job.python or sys.executable}: {error}"
            return Failure(EpisodeError("crash", message))
        if self._stopped:
            self._child.kill()
        reply = self._child.wait(self._deadlines())
        if isinstance(reply, Failure):
            self.close()
            return reply
        if "start_error" in reply:
            self.close()
            return Failure(EpisodeError("exception", **reply["start_error"]), lasting=reply["lasting"])
        self._ready = True
        return reply["ready"]

    @property
    def ready(self) -> bool:
        """Whether an episode can be run at once."""
        return self._ready

    def run(self, episode: EpisodeSpec, attempt: int) -> EpisodeRecord | Failure:
        """Runs one episode to its end. After a failure in it the child is gone; see :attr:`ready`."""
        assert self._child is not None and self._ready
        self._child.idle = False
        if self._stopped:  # stop() may have come while the child was idle, and spared it
            self._child.kill()
        reply = self._child.ask({"episode": to_plain(episode)}, self._deadlines())
        if isinstance(reply, Failure):
            self.close()
            return reply
        if "error" in reply:
            failure = Failure(EpisodeError(**reply["error"]), lasting=reply["lasting"])
            if not failure.lasting:  # who knows what state the exception left behind
                self.close()
            return failure
        if 0 < self._job.recycle_mb * 2**20 < self._child.resident_bytes():
            self.close()
        return replace(record_from_plain(reply["record"]), worker=self.worker, attempt=attempt)

    def steps(self) -> int:
        """Control steps executed in the episode that is running; from any thread."""
        child = self._child
        try:
            return 0 if child is None else child.episode_steps()
        except ValueError:  # the page was unmapped meanwhile
            return 0

    def close(self) -> None:
        """Ends the child, politely if it is idle, else at once. May be called twice."""
        child, self._child, self._ready = self._child, None, False
        if child is not None:
            child.close()

    def stop(self) -> None:
        """Ends the worker for good, from any thread: kills a child that is busy, starts no other."""
        self._stopped = True
        child = self._child
        if child is not None and not child.idle:
            child.kill()

    def _deadlines(self) -> dict[Phase, float]:
        job = self._job
        return {
            Phase.START: job.start_deadline,
            Phase.IDLE: job.step_deadline,
            Phase.SIMULATE: job.step_deadline,
            Phase.DECIDE: job.decision_deadline,
        }


class _Child:
    """A running child process and the supervisor's ends of what it shares with it."""

    def __init__(self, job: Job) -> None:
        page_file = create_page_file()
        self._page = Page(page_file)
        self._log = tempfile.TemporaryFile(mode="ab+")  # noqa: SIM115 - closed in _release
        self._connection, theirs = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        inherited = (theirs.fileno(), page_file, lifeline)
        try:
            self._process = subprocess.Popen(
                [job.python or sys.executable, "-m", "bench.dispatch.child", *map(str, inherited)],
                pass_fds=inherited,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                cwd=job.directory if os.path.isdir(job.directory) else None,
                env={**os.environ, **_SINGLE_THREADED, "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"},
                start_new_session=True,  # its own process group: Ctrl-C passes it by, a kill takes all
            )
        finally:
            theirs.close()
            os.close(page_file)
            os.close(lifeline)
        self._steps_before = 0
        self.idle = False
        """Whether it waits for a message."""
        with contextlib.suppress(OSError):  # dead already: `wait` will say so
            send(self._connection, {"job": job_to_plain(job)})

    def ask(self, message: dict[str, Any], deadlines: dict[Phase, float]) -> dict[str, Any] | Failure:
        """Sends a message and waits for the answer."""
        self._empty_long_log()
        self._steps_before = self._page.read().steps
        self.idle = False
        try:
            send(self._connection, message)
        except OSError:
            return self._crashed()
        return self.wait(deadlines)

    def wait(self, deadlines: dict[Phase, float]) -> dict[str, Any] | Failure:
        """Waits for an answer as long as the page keeps changing within the phase's deadline."""
        seen = self._page.read()
        since = time.monotonic()
        while not select.select([self._connection], [], [], POLL_SECONDS)[0]:
            if self._process.poll() is not None and not select.select([self._connection], [], [], 0)[0]:
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

    def episode_steps(self) -> int:
        return 0 if self.idle else self._page.read().steps - self._steps_before

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
        os.close(self._lifeline)
        self._page.close()
        self._log.close()

    def _crashed(self) -> Failure:
        status = self._exit_status()
        return Failure(EpisodeError("crash", f"the worker's process {status}", self._log_tail()))

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
        where = {
            Phase.START: "while it was starting",
            Phase.IDLE: "between episodes",
            Phase.SIMULATE: "in the simulation",
            Phase.DECIDE: "in the policy",
        }[phase]
        # faulthandler answers in the signal handler itself, so also from within stuck native code.
        os.kill(self._process.pid, STACK_SIGNAL)
        time.sleep(POLL_SECONDS)
        self.kill()
        return Failure(EpisodeError("hang", f"nothing happened {where} for {deadline:g} s", self._log_tail()))

    def _log_tail(self) -> str:
        size = os.fstat(self._log.fileno()).st_size
        tail = os.pread(self._log.fileno(), LOG_TAIL, max(0, size - LOG_TAIL))
        return tail.decode(errors="replace").strip()

    def _empty_long_log(self) -> None:
        if os.fstat(self._log.fileno()).st_size > LOG_LIMIT:
            os.ftruncate(self._log.fileno(), 0)
