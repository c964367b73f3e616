"""One episode, as a function of a simulation, a policy, an episode and a clock.

Nothing here knows of processes, files or other episodes. The loop renders only when the policy is
about to look, and it reports where it is to a :class:`Meter`, so that whoever owns the process can
tell a long decision from a stuck simulator.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum
from typing import NamedTuple, NoReturn, Protocol

import numpy as np

from vla_bench.bench.episode.actions import Actions, chunks_of
from vla_bench.bench.episode.delay import Delay
from vla_bench.bench.episode.watch import Look, Watch
from vla_bench.bench.latency import Latency
from vla_bench.bench.protocol import EpisodeRecord, EpisodeSpec, SubtaskRecord, Timings
from vla_bench.envs.observation import Observation
from vla_bench.envs.simulation import Outcome, Simulation
from vla_bench.envs.stress.wrapped import Clock
from vla_bench.policies.base import (
    EndingPolicy,
    EpisodeOutcome,
    Policy,
    PrivilegedPolicy,
    SubtaskContext,
    TimedPolicy,
    ToldPolicy,
)
from vla_bench.policies.errors import contained

OBSERVATION_AGE = "observation_age"
"""Flag of a subtask under latency: mean control steps between what a policy saw and the actions it led to."""
SLOT = 0
"""The only one of a worker: one simulation, one running episode."""


class Phase(IntEnum):
    """What a worker's process is doing, as far as deadlines go."""

    START = 0
    """Building the simulation and the policy."""
    IDLE = 1
    """Waiting for an episode."""
    SIMULATE = 2
    """Resetting, stepping or rendering."""
    DECIDE = 3
    """In the policy's code."""


class Meter(Protocol):
    """Is told where an episode stands."""

    def enter(self, phase: Phase) -> None:
        """Called at every change of hands between simulation and policy."""
        ...

    def begin(self, position: int) -> None:
        """Called before the subtask at that place of the episode."""
        ...

    def stepped(self, steps: int) -> None:
        """Called after each executed piece of a chunk with its number of control steps."""
        ...


class Recorder(Protocol):
    """Is given what is executed."""

    def executed(self, position: int, actions: np.ndarray, observation: Observation) -> None:
        """Called after each decision with the actions (k, A) that the subtask at ``position`` has executed of it, and
        what the policy was shown for it."""
        ...


class NoMeter:
    """Tells nobody."""

    def enter(self, phase: Phase) -> None:
        """Does nothing."""

    def begin(self, position: int) -> None:
        """Does nothing."""

    def stepped(self, steps: int) -> None:
        """Does nothing."""


def run_episode(
    simulation: Simulation,
    policy: Policy,
    episode: EpisodeSpec,
    *,
    seed: int,
    clock: Callable[[], float] = time.perf_counter,
    meter: Meter = NoMeter(),  # noqa: B008 - stateless
    recorder: Recorder | None = None,
) -> EpisodeRecord:
    """Runs the episode's subtasks in a row until the first failure (judged by the last: all of them).

    ``seed`` is the run's; each subtask's own is derived from it. ``clock`` gives seconds for the
    timings alone. Whatever simulation or policy raise passes through; the meter's last phase says
    which of them it was. PolicyError: a chunk that is not what the policy's spec says. RuntimeError: an
    observation shows nothing, or nothing finite.
    """
    parts, began = _Parts(clock), clock()
    meter.enter(Phase.SIMULATE)
    simulation.reset(episode.start)
    parts.lap("reset")
    look = Watch(policy.spec.sensors, black_of(simulation))
    delay = _delay(simulation, policy)
    records: list[SubtaskRecord] = []
    latency, executed = Latency(clock, policy.model_seconds if isinstance(policy, TimedPolicy) else None), 0
    for position in range(len(episode.subtasks)):
        meter.begin(position)
        pieces = play_subtask(
            simulation,
            policy,
            episode,
            position,
            seed=seed,
            look=look,
            meter=meter,
            lap=parts.lap,
            latency=latency,
            before=executed,
            delay=delay,
        )
        record, executed = _judge(pieces, simulation, episode, position, meter, recorder)
        if delay is not None:
            record = dataclasses.replace(record, flags={**record.flags, OBSERVATION_AGE: delay.age()})
        records.append(record)
        if not record.success and episode.judged == "chain":
            break
    solved = records if episode.judged == "chain" else records[-1:]
    chain_length = sum(record.success for record in solved)
    if isinstance(policy, ToldPolicy):
        meter.enter(Phase.DECIDE)
        whole = chain_length == (len(episode.subtasks) if episode.judged == "chain" else 1)
        steps = sum(record.steps for record in records)
        try:
            policy.finished(SLOT, EpisodeOutcome(whole, chain_length, steps, clock() - began))
        except BaseException as raised:
            _raise(raised, f"in finished() after {episode.episode}")
        parts.lap("policy")
    return EpisodeRecord(
        index=episode.index,
        episode=episode.episode,
        scene=episode.start.scene,
        cluster=episode.cluster,
        status="done",
        chain_length=chain_length,
        subtasks=tuple(records),
        timings=Timings(**parts.seconds),
        latency=latency.counts(),
    )


class _Parts:
    """Splits wall time between named parts: each lap belongs to the part named at its end."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = clock()
        self.seconds = {"reset": 0.0, "physics": 0.0, "rendering": 0.0, "policy": 0.0}

    def lap(self, part: str) -> None:
        now = self._clock()
        self.seconds[part] += now - self._last
        self._last = now


class Piece(NamedTuple):
    """What came of one decision."""

    chunk: np.ndarray
    """(k, A), as the policy returned it."""
    executed: np.ndarray
    """(n, A), what the simulation was handed of it."""
    outcome: Outcome
    through: bool
    """Whether the policy says that the subtask is over for it."""
    late: int = 0
    """How many of ``executed`` passed before the first of this decision."""
    observation: Observation | None = None
    """What the policy was shown."""


def black_of(simulation: Simulation) -> tuple[str, ...]:
    """Cameras that show nothing on purpose."""
    return tuple(getattr(simulation, "black", ()))


def _delay(simulation: Simulation, policy: Policy) -> Delay | None:
    clock = getattr(simulation, "clock", None)
    return Delay(clock, policy.spec) if isinstance(clock, Clock) else None


def _raise(raised: BaseException, where: str) -> NoReturn:
    """Raises what the policy raised, with the place it was raised at; one that ends a program as one that does not."""
    error = contained(raised)
    if where and hasattr(error, "add_note"):  # a simulator's interpreter may be older
        error.add_note(where)
    if error is raised:
        raise raised
    raise error from raised


def _no_lap(_part: str) -> None:
    """Measures nothing."""


def play_subtask(
    simulation: Simulation,
    policy: Policy,
    episode: EpisodeSpec,
    position: int,
    *,
    seed: int,
    look: Look,
    meter: Meter = NoMeter(),  # noqa: B008 - stateless
    lap: Callable[[str], None] = _no_lap,
    latency: Latency | None = None,
    before: int = 0,
    step_limit: int | None = None,
    delay: Delay | None = None,
) -> Iterator[Piece]:
    """Plays one subtask of an episode that has been reset, decision by decision, until it is over.

    Args:
        simulation: stands where the subtask begins.
        policy: is reset, then asked whenever a chunk has been executed.
        episode: which, at ``position``.
        position: of the subtask in it, from 0.
        seed: the run's.
        look: sees every observation before the policy does.
        meter: is told of every change of hands.
        lap: is told which part of the work (``policy``, ``physics``, ``rendering``) has just ended.
        latency: counts how long decisions take.
        before: actions of the last decision of the subtask before that were executed.
        step_limit: control steps; the episode's unless given.
        delay: what passes during decisions; None: nothing.
    """
    spec = policy.spec
    subtask, instruction = episode.subtasks[position], episode.instructions[position]
    limit = episode.step_limit if step_limit is None else step_limit
    actions, enter, slots = Actions(spec), meter.enter, (SLOT,)
    see = policy.see if isinstance(policy, PrivilegedPolicy) and spec.privileged else None
    ended = policy.ended if isinstance(policy, EndingPolicy) and spec.ends and episode.judged == "last" else None

    enter(Phase.DECIDE)
    context = SubtaskContext(episode.episode, position, episode.seed(seed, position), before, subtask)
    where = f"{subtask!r}, subtask {position + 1} of {episode.episode}"
    try:
        policy.reset(SLOT, instruction, context)
    except BaseException as raised:
        _raise(raised, "" if step_limit is not None else f"in reset() for {where}")
    lap("policy")
    enter(Phase.SIMULATE)
    simulation.begin(subtask)
    lap("physics")

    steps, stopped = 0, False
    if delay is not None:
        delay.begin()
        latency = latency or Latency(time.perf_counter)
    while steps < limit and not stopped:
        observation = simulation.observe()
        look.check(observation)
        lap("rendering")
        enter(Phase.DECIDE)
        try:
            if see is not None:
                see(SLOT, simulation.privileged())
            if latency is not None:
                latency.begin()
            (chunk,) = chunks_of(policy.act(slots, (observation,)), 1, spec.name)
            if latency is not None:
                latency.end(SLOT)
            executed = actions.executed(chunk, limit - steps)
            if delay is not None and latency is not None:
                executed = delay.put_before(chunk, executed, observation, latency.seconds, limit - steps)
            through = ended is not None and ended(SLOT)
        except BaseException as raised:
            _raise(raised, "" if step_limit is not None else f"at step {steps} of {where}")
        lap("policy")
        enter(Phase.SIMULATE)
        outcome = simulation.advance(executed)
        lap("physics")
        if outcome.steps < 1:
            raise RuntimeError(f"the simulation executed none of {len(executed)} actions in {subtask!r}")
        steps += outcome.steps
        stopped = outcome.stopped or through
        if delay is not None:
            delay.ran(executed[: outcome.steps])
        yield Piece(chunk, executed, outcome, through, 0 if delay is None else delay.late, observation)


def _judge(
    pieces: Iterator[Piece],
    simulation: Simulation,
    episode: EpisodeSpec,
    position: int,
    meter: Meter,
    recorder: Recorder | None,
) -> tuple[SubtaskRecord, int]:
    """The record, and how many actions of the last decision were executed."""
    steps = decisions = last = 0
    success = ever = False
    flags: Mapping[str, float] = {}
    for _, executed, outcome, _, late, observation in pieces:
        decisions += 1
        steps += outcome.steps
        last = max(0, outcome.steps - late)
        meter.stepped(outcome.steps)
        if recorder is not None and observation is not None:
            recorder.executed(position, executed[: outcome.steps], observation)
        success, flags = outcome.success, outcome.flags
        ever = ever or outcome.ever or success

    record = SubtaskRecord(
        position=position,
        subtask=episode.subtasks[position],
        instruction=episode.instructions[position],
        success=bool(success),
        steps=int(steps),
        decisions=decisions,
        digest=simulation.privileged().digest(),
        ever=bool(ever),
        flags={name: float(value) for name, value in flags.items()},
    )
    return record, last
