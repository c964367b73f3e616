"""Workers on this machine without Ray: one thread per supervisor."""

from __future__ import annotations

import queue
import threading
import traceback
from collections.abc import Mapping

from vla_bench.bench.dispatch.child_process import Failure
from vla_bench.bench.dispatch.job import Job
from vla_bench.bench.dispatch.page import Place
from vla_bench.bench.dispatch.pool import Answered, Gone, PoolEvent, Ready
from vla_bench.bench.dispatch.supervisor import Supervisor
from vla_bench.bench.protocol import EpisodeError, EpisodeSpec


class LocalPool:
    """A :class:`vla_bench.bench.dispatch.pool.Pool` of threads; what they wait for runs in other processes."""

    def __init__(self, workers: int) -> None:
        self._names = [f"local-{number}" for number in range(workers)]
        self._events: queue.SimpleQueue[PoolEvent] = queue.SimpleQueue()
        self._tasks: dict[str, queue.SimpleQueue[tuple[EpisodeSpec, int] | None]] = {}
        self._supervisors: dict[str, Supervisor] = {}
        self._threads: list[threading.Thread] = []
        self._closing = threading.Event()
        self._gone: set[str] = set()

    @property
    def alive(self) -> int:
        """Workers not told of as gone."""
        return len(self._names) - len(self._gone)

    def start(self, job: Job) -> None:
        """Starts one thread per worker."""
        for name in self._names:
            self._tasks[name] = queue.SimpleQueue()
            self._supervisors[name] = Supervisor(job, name)
            thread = threading.Thread(target=self._work, args=(name,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def assign(self, worker: str, episode: EpisodeSpec, attempt: int) -> None:
        """Puts the episode into the worker's thread."""
        self._tasks[worker].put((episode, attempt))

    def wait(self, timeout: float) -> list[PoolEvent]:
        """Everything that happened, waiting for the first thing."""
        try:
            events = [self._events.get(timeout=timeout)]
        except queue.Empty:
            return []
        while not self._events.empty():
            events.append(self._events.get())
        self._gone.update(event.worker for event in events if isinstance(event, Gone))
        return events

    def places(self) -> Mapping[str, Place]:
        """Read from the shared pages; a thread of this process is always heard from."""
        return {name: supervisor.place() for name, supervisor in self._supervisors.items()}

    def discard(self, worker: str) -> None:
        """Ends the worker; its thread reports it as gone."""
        self._supervisors[worker].stop()

    def close(self) -> None:
        """Kills running processes, lets idle ones close, and waits for the threads."""
        self._closing.set()
        for name, supervisor in self._supervisors.items():
            self._tasks[name].put(None)
            supervisor.stop()
        for thread in self._threads:
            thread.join()

    def _work(self, name: str) -> None:
        supervisor = self._supervisors[name]
        try:
            while not self._closing.is_set():
                info = None
                if not supervisor.ready:
                    told = supervisor.start()
                    if isinstance(told, Failure):
                        self._events.put(Gone(name, told.error, told.lasting))
                        return
                    info = told
                self._events.put(Ready(name, info))
                task = self._tasks[name].get()
                if task is None:
                    return
                self._events.put(Answered(name, supervisor.run(*task)))
        except Exception as error:  # ours; without an event the driver would wait for ever
            detail = "".join(traceback.format_exception(error))
            failure = EpisodeError("exception", f"{type(error).__name__}: {error}", detail)
            self._events.put(Gone(name, failure))
        finally:
            supervisor.close()
