"""Who waits for a decision; one thread decides for all that wait at once."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vla_bench.bench.episode.actions import Actions, chunks_of
from vla_bench.envs.errors import UserError
from vla_bench.envs.observation import Observation
from vla_bench.policies.answers import as_chunk
from vla_bench.policies.base import EpisodeOutcome, Policy, SubtaskContext

LEAST_SECONDS = 0.002
"""Those that wait may always be kept waiting that long for others, to be decided for together."""
LEAST_SHARE = 0.25
"""Of a decision's time: for anybody who is about to come."""
LOOKS = 8
"""So many times in a decision's time it is looked who has come."""


class Decided(NamedTuple):
    """What a client is told."""

    chunk: np.ndarray
    """(k, A)."""
    seconds: float
    """Of the policy, queueing left out."""


@dataclass(slots=True)
class Wish:
    """One client's wish for a decision."""

    slot: int
    observation: Observation
    begin: tuple[str, SubtaskContext] | None
    """Instruction and context when a subtask begins with it."""
    answer: Callable[[Decided | Exception], None]
    """Called in the deciding thread; must not raise."""


@dataclass(slots=True)
class _Habit:
    """When a client was answered last, and after how long it asked again the last time."""

    answered: float = 0.0
    returns: float = 0.0

    def comes(self, now: float, within: float) -> bool:
        """Whether it is to be expected in about that time; one that is late by more is not counted on."""
        late = now - self.answered - self.returns
        return -within <= late <= max(self.returns, within)


class Batches:
    """A policy and the thread that asks it.

    Whom a decision leaves out waits for all of the next one, which costs as much for one as for all. So those that wait
    are kept waiting while others are about to come, by when these came the last time, for as long as what the waiting
    costs those is less than what it saves these.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._actions = Actions(policy.spec)
        self._name, self._size, self._exact = (
            policy.spec.name,
            policy.spec.action.size,
            policy.spec.action.exact_gripper,
        )
        self._together = policy.spec.batched
        self._waiting: deque[Wish] = deque()
        self._endings: deque[tuple[int, EpisodeOutcome]] = deque()
        """Of episodes, which the policy has not been told of."""
        self._something = threading.Condition()
        self._clients = 0
        self._habits: dict[int, _Habit] = {}
        self._stopped = False
        self.decisions = 0
        """Calls of the policy so far."""
        self.answered = 0
        """Wishes answered so far."""
        self.quick = False
        """Whether the policy's last calls took less than a context switch is worth."""
        self._took = 0.0
        self._thread = threading.Thread(target=self._run, name="policy", daemon=True)
        self._busy = threading.Lock()
        self._thread.start()

    def joined(self) -> None:
        """Another client is there."""
        with self._something:
            self._clients += 1

    def left(self, slot: int) -> None:
        """A client has gone; what it wished is dropped."""
        with self._something:
            self._clients -= 1
            self._habits.pop(slot, None)
            self._waiting = deque(wish for wish in self._waiting if wish.slot != slot)
            self._something.notify()

    def at_once(
        self, slot: int, observation: Observation, begin: tuple[str, SubtaskContext] | None
    ) -> Decided | Exception | None:
        """The decision of a client that is alone with a quick policy, made in its own thread; None: it has to ask."""
        if not self.quick or self._clients != 1 or self._waiting or self._endings:
            return None
        if not self._busy.acquire(blocking=False):
            return None
        answers: list[Decided | Exception] = []
        try:
            self._decide([Wish(slot, observation, begin, answers.append)])
        finally:
            self._busy.release()
        return answers[0]

    def finished(self, slot: int, outcome: EpisodeOutcome) -> None:
        """Tells a policy that wants to know of an episode's end."""
        if hasattr(self._policy, "finished"):
            with self._something:
                self._endings.append((slot, outcome))
                self._something.notify()

    def ask(self, wish: Wish) -> None:
        """Puts it among those that wait."""
        with self._something:
            habit = self._habits.setdefault(wish.slot, _Habit())
            if habit.answered:
                habit.returns = time.monotonic() - habit.answered
            self._waiting.append(wish)
            # Waking the deciding thread for each would only take the interpreter's lock from the one that reads.
            if len(self._waiting) in (1, self._clients) or not self._together:
                self._something.notify()

    def stop(self) -> None:
        """Ends the thread after the running decision and closes the policy."""
        with self._something:
            self._stopped = True
            self._something.notify()
        self._thread.join(10.0)
        self._policy.close()

    def _run(self) -> None:
        while True:
            with self._something:
                while not self._waiting and not self._endings and not self._stopped:
                    self._something.wait()
                if self._stopped:
                    return
                if self._together and self._waiting:
                    self._gather()
                count = len(self._waiting) if self._together else 1
                wishes = [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))]
            with self._busy:
                self._tell_endings()
                self._decide(wishes)

    def _tell_endings(self) -> None:
        while self._endings:
            slot, outcome = self._endings.popleft()
            with contextlib.suppress(Exception):  # the next episode will show what is wrong
                self._policy.finished(slot, outcome)  # type: ignore[attr-defined]

    def _gather(self) -> None:
        """Waits a little for those that are about to come, unless all are there."""
        began = time.monotonic()
        while (here := len(self._waiting)) < self._clients and not self._stopped:
            now = time.monotonic()
            waiting = {wish.slot for wish in self._waiting}
            coming = sum(slot not in waiting and habit.comes(now, self._took) for slot, habit in self._habits.items())
            share = min(1.0, LEAST_SHARE + coming / max(here, 1)) if coming else 0.0
            patience = max(LEAST_SECONDS, self._took * share)
            left = began + patience - now
            if left <= 0:
                return
            self._something.wait(min(left, max(LEAST_SECONDS, self._took / LOOKS)))

    def _decide(self, wishes: list[Wish]) -> None:
        if not wishes:
            return
        began = time.perf_counter()
        ready = [wish for wish in wishes if self._begun(wish)]
        if not ready:
            return
        try:
            answer = self._policy.act([wish.slot for wish in ready], [wish.observation for wish in ready])
            chunks = chunks_of(answer, len(ready), self._policy.spec.name)
        except Exception as error:
            if len(ready) == 1:
                ready[0].answer(error)
            else:  # what one observation does to the policy is nobody else's error
                for wish in ready:
                    wish.begin = None
                    self._decide([wish])
            return
        seconds, now = time.perf_counter() - began, time.monotonic()
        for wish in ready:
            if (habit := self._habits.get(wish.slot)) is not None:
                habit.answered = now
        self._took, self.quick = seconds, seconds < 0.002
        self.decisions += 1
        self.answered += len(ready)
        for wish, chunk in zip(ready, self._checked(chunks), strict=True):
            wish.answer(chunk if isinstance(chunk, Exception) else Decided(chunk, seconds))

    def _begun(self, wish: Wish) -> bool:
        if wish.begin is None:
            return True
        try:
            self._policy.reset(wish.slot, *wish.begin)
        except Exception as error:
            wish.answer(error)
            return False
        return True

    def _checked(self, chunks: Sequence[object]) -> Sequence[np.ndarray | Exception]:
        """The chunks (k, A), or what is wrong with them; those of a batch are mostly alike, and looked at together."""
        first = chunks[0]
        if isinstance(first, np.ndarray) and first.ndim == 2 and first.dtype.char in "fd" and not self._exact:
            kind, shape = first.dtype, first.shape
            alike = all(type(each) is np.ndarray and each.shape == shape and each.dtype == kind for each in chunks)
            if alike and len(first) and shape[1] == self._size and np.isfinite(np.stack(chunks)).all():  # type: ignore[arg-type]
                return chunks  # type: ignore[return-value]
        return [self._judged(chunk) for chunk in chunks]

    def _judged(self, chunk: object) -> np.ndarray | Exception:
        if isinstance(chunk, Exception):
            return chunk
        try:
            chunk = as_chunk(chunk, self._name)
            self._actions.executed(chunk, len(chunk))
        except UserError as error:
            return error
        return chunk
