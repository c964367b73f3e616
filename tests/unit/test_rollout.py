"""One episode: who is called when, what is executed, what is recorded."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from vla_bench.bench.episode.rollout import Phase, run_episode
from vla_bench.bench.protocol import EpisodeSpec, record_from_plain, to_plain
from vla_bench.envs.fake import RELATIVE
from vla_bench.envs.observation import Observation
from vla_bench.envs.simulation import EpisodeStart, Outcome, Simulation, SimulationSpec, make_simulation
from vla_bench.policies.base import PolicySpec
from vla_bench.policies.errors import PolicyError


def episode(*subtasks: str, step_limit: int = 10) -> EpisodeSpec:
    texts = tuple(f"please {subtask}" for subtask in subtasks)
    return EpisodeSpec(4, "seq-0004", EpisodeStart("box", {"episode": (4.0,)}), subtasks, texts, step_limit)


def fake(*cues: dict[str, Any]) -> Simulation:
    return make_simulation(SimulationSpec("fake", {"cues": list(cues)}))


class Scripted:
    """Returns ``chunk`` and notes every call, as does :class:`Watched` for the simulation."""

    def __init__(self, log: list[Any], chunk: Any = None, *, execute: int = 1, privileged: bool = False):
        self.chunk = np.zeros((execute, 4)) if chunk is None else chunk
        length = max(execute, len(self.chunk)) if isinstance(self.chunk, np.ndarray) else execute
        self.spec = PolicySpec("scripted", RELATIVE, chunk=length, execute=execute, privileged=privileged)
        self.log = log
        self.contexts: list[Any] = []

    def reset(self, slot: int, instruction: str, context: Any) -> None:
        self.contexts.append(context)
        self.log.append(("policy.reset", slot, instruction))

    def see(self, slot: int, state: Any) -> None:
        self.log.append(("see", slot, state.subtask))

    def act(self, slots: Any, observations: Any) -> Any:
        assert list(slots) == [0] and len(observations) == 1
        self.log.append(("act",))
        return [self.chunk]

    def close(self) -> None:
        pass


class Watched:
    """A simulation that notes its calls and solves what ``solve`` says."""

    def __init__(self, log: list[Any], simulation: Simulation):
        self.log = log
        self.inner = simulation

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def reset(self, start: EpisodeStart) -> None:
        self.log.append(("reset", start.scene))
        self.inner.reset(start)

    def begin(self, subtask: str) -> None:
        self.log.append(("begin", subtask))
        self.inner.begin(subtask)

    def observe(self) -> Observation:
        self.log.append(("observe",))
        return self.inner.observe()

    def advance(self, actions: np.ndarray) -> Outcome:
        outcome = self.inner.advance(actions)
        self.log.append(("advance", len(actions), outcome.steps))
        return outcome


def test_calls_in_the_order_of_the_protocol():
    log: list[Any] = []
    simulation = Watched(log, fake({"do": "succeed", "subtask": "raise", "step": 1}))
    policy = Scripted(log, privileged=True)
    record = run_episode(simulation, policy, episode("raise", "lower", "raise", step_limit=2), seed=7)
    step = [("observe",), ("see", 0, "raise"), ("act",), ("advance", 1, 1)]
    other = [("observe",), ("see", 0, "lower"), ("act",), ("advance", 1, 1)]
    assert log == [
        ("reset", "box"),
        ("policy.reset", 0, "please raise"),
        ("begin", "raise"),
        *step,
        *step,
        ("policy.reset", 0, "please lower"),
        ("begin", "lower"),
        *other,
        *other,
    ], "one reset, no third subtask after the failure"
    assert (record.status, record.chain_length, len(record.subtasks)) == ("done", 1, 2)
    assert [(s.subtask, s.success, s.ever, s.steps, s.decisions) for s in record.subtasks] == [
        ("raise", True, True, 2, 2),
        ("lower", False, False, 2, 2),
    ]
    assert [s.instruction for s in record.subtasks] == ["please raise", "please lower"]
    assert (record.index, record.episode, record.scene) == (4, "seq-0004", "box")


@pytest.mark.parametrize(("judged", "steps"), [("last", [3, 3]), ("chain", [10])])
def test_a_policy_may_end_a_subtask_where_the_last_step_counts(judged: Any, steps: list[int]):
    class Ending(Scripted):
        """Is through after its third decision in a subtask."""

        def __init__(self) -> None:
            super().__init__([])
            self.spec = dataclasses.replace(self.spec, ends=True)

        def ended(self, slot: int) -> bool:
            since = [call[0] for call in self.log[::-1]].index("policy.reset")
            return since >= 3

    wanted = dataclasses.replace(episode("raise", "lower"), judged=judged)
    record = run_episode(fake(), Ending(), wanted, seed=0)
    assert [subtask.steps for subtask in record.subtasks] == steps


def test_seeds_depend_on_run_episode_and_position_only():
    def seeds(run_seed: int) -> list[int]:
        policy = Scripted([])
        run_episode(fake({"do": "succeed"}), policy, episode("raise", "lower"), seed=run_seed)
        assert [context.position for context in policy.contexts] == [0, 1]
        assert {context.episode for context in policy.contexts} == {"seq-0004"}
        assert [(context.task, context.new_episode) for context in policy.contexts] == [
            ("raise", True),
            ("lower", False),
        ]
        return [context.seed for context in policy.contexts]

    assert seeds(7) == seeds(7)
    assert len({*seeds(7), *seeds(8)}) == 4
    assert all(0 <= seed < 2**63 for seed in seeds(7))


def test_executes_a_chunk_without_looking_and_cuts_it_to_the_steps_left():
    log: list[Any] = []
    chunk = np.zeros((6, 4))
    run_episode(Watched(log, fake()), Scripted(log, chunk, execute=4), episode("raise", step_limit=10), seed=0)
    assert [entry for entry in log if entry[0] in ("observe", "advance")] == [
        ("observe",),
        ("advance", 4, 4),
        ("observe",),
        ("advance", 4, 4),
        ("observe",),
        ("advance", 2, 2),
    ]


def test_drops_the_rest_of_a_chunk_when_the_subtask_is_solved():
    simulation = fake({"do": "succeed", "step": 2})
    record = run_episode(simulation, Scripted([], execute=5), episode("raise", "lower"), seed=0)
    assert [(s.success, s.steps, s.decisions) for s in record.subtasks] == [(True, 3, 1), (True, 3, 1)]
    assert record.chain_length == 2


class LastStepCounts(Watched):
    """Never stops before the limit and judges its last step, like SimplerEnv."""

    def advance(self, actions: np.ndarray) -> Outcome:
        self.steps = getattr(self, "steps", 0) + len(actions)
        return Outcome(len(actions), success=self.steps == self.solved_at, stopped=False, ever=False)


@pytest.mark.parametrize(("solved_at", "success"), [(3, False), (10, True)])
def test_success_without_a_stop_does_not_end_a_subtask(solved_at: int, success: bool):
    simulation = LastStepCounts([], fake())
    simulation.solved_at = solved_at
    record = run_episode(simulation, Scripted([]), episode("raise"), seed=0)
    assert (record.subtasks[0].success, record.subtasks[0].steps) == (success, 10)
    assert record.subtasks[0].ever, "it was solved after some step"


def test_time_goes_to_the_part_that_took_it():
    now = [0.0]

    class Slow(Watched):
        def reset(self, start: EpisodeStart) -> None:
            now[0] += 100

        def observe(self) -> Observation:
            now[0] += 1
            return self.inner.observe()

        def advance(self, actions: np.ndarray) -> Outcome:
            now[0] += 10
            return self.inner.advance(actions)

    class Thinking(Scripted):
        def act(self, slots: Any, observations: Any) -> Any:
            now[0] += 0.25
            return super().act(slots, observations)

    timings = run_episode(
        Slow([], fake()), Thinking([]), episode("raise", step_limit=4), seed=0, clock=lambda: now[0]
    ).timings
    assert dataclasses.asdict(timings) == {
        "reset": 100.0,
        "rendering": 4.0,
        "policy": 1.0,
        "physics": 40.0,
        "waiting": 0.0,
    }


class Meter:
    def __init__(self) -> None:
        self.phases: list[Phase] = []
        self.positions: list[int] = []
        self.steps = 0

    def enter(self, phase: Phase) -> None:
        self.phases.append(phase)

    def begin(self, position: int) -> None:
        self.positions.append(position)

    def stepped(self, steps: int) -> None:
        self.steps += steps


def test_the_meter_knows_whose_turn_it_is():
    meter = Meter()
    run_episode(fake(), Scripted([], execute=2), episode("raise", step_limit=3), seed=0, meter=meter)
    assert meter.steps == 3
    turns = [Phase.SIMULATE, Phase.DECIDE]
    assert meter.phases == [*turns, *turns, *turns, Phase.SIMULATE]
    assert meter.positions == [0]

    for breaking, phase in ((fake({"do": "raise", "step": 1}), Phase.SIMULATE), (fake(), Phase.DECIDE)):
        meter = Meter()
        policy = Scripted([], chunk="nonsense" if phase is Phase.DECIDE else None)
        with pytest.raises((RuntimeError, PolicyError)):
            run_episode(breaking, policy, episode("raise"), seed=0, meter=meter)
        assert meter.phases[-1] is phase


def test_a_simulation_that_does_not_advance_is_found_out():
    class Stuck(Watched):
        def advance(self, actions: np.ndarray) -> Outcome:
            return Outcome(0, False, False)

    with pytest.raises(RuntimeError, match="executed none of 1 actions in 'raise'"):
        run_episode(Stuck([], fake()), Scripted([]), episode("raise"), seed=0)


class Flagged(Watched):
    """Reports a partial success that comes and goes."""

    def advance(self, actions: np.ndarray) -> Outcome:
        outcome = self.inner.advance(actions)
        return dataclasses.replace(outcome, flags={"grasped": outcome.success, "distance": 0.25})


def test_an_episode_judged_by_its_last_subtask_runs_them_all():
    spec = dataclasses.replace(episode("raise", "lower", "raise", step_limit=2), judged="last")
    simulation = Flagged([], fake({"do": "succeed", "subtask": "lower"}))
    record = run_episode(simulation, Scripted([]), spec, seed=0)
    assert [s.success for s in record.subtasks] == [False, True, False]
    assert record.chain_length == 0
    assert dict(record.subtasks[1].flags) == {"grasped": 1.0, "distance": 0.25}
    won = dataclasses.replace(spec, subtasks=spec.subtasks[:2], instructions=spec.instructions[:2])
    assert run_episode(simulation, Scripted([]), won, seed=0).chain_length == 1


def test_records_survive_plain_data():
    record = run_episode(fake({"do": "succeed", "step": 3}), Scripted([]), episode("raise", "lower"), seed=0)
    assert record_from_plain(to_plain(record)) == record


def test_what_a_simulation_says_was_solved_on_the_way_is_kept():
    """SimplerEnv: solved within a chunk, and no longer after it."""

    class Passing(Watched):
        count = 0

        def advance(self, actions: np.ndarray) -> Outcome:
            self.count += 1
            return Outcome(len(actions), success=False, stopped=False, ever=self.count == 2)

    (passed,) = run_episode(Passing([], fake()), Scripted([]), episode("raise", step_limit=4), seed=0).subtasks
    assert (passed.success, passed.ever, passed.steps) == (False, True, 4)
    (never,) = run_episode(fake(), Scripted([]), episode("raise", step_limit=4), seed=0).subtasks
    assert not never.ever


@pytest.mark.parametrize(
    ("judged", "solved", "wanted"),
    [
        ("chain", ("raise", "lower"), (True, 2, 2)),
        ("chain", ("raise",), (False, 1, 5)),
        ("last", ("lower",), (True, 1, 5)),
        ("last", ("raise",), (False, 0, 5)),
    ],
)
def test_a_policy_that_wants_to_know_is_told_how_it_ended(judged, solved, wanted):
    class Told(Scripted):
        def finished(self, slot: int, outcome: Any) -> None:
            self.log.append(("finished", slot, outcome))

    log: list[Any] = []
    cues = [{"do": "succeed", "subtask": subtask, "step": 0} for subtask in solved]
    tried = dataclasses.replace(episode("raise", "lower", step_limit=4), judged=judged)
    ticks = iter(range(10_000))
    run_episode(fake(*cues), Told(log), tried, seed=0, clock=lambda: float(next(ticks)))
    assert [entry[0] for entry in log].count("finished") == 1
    name, slot, told = log[-1]
    assert (name, slot) == ("finished", 0)
    assert (told.success, told.chain_length, told.steps) == wanted
    assert 0 < told.seconds < 10_000


def test_a_recorder_is_given_what_was_executed_and_no_more():
    taken: list[tuple[int, np.ndarray]] = []

    class Recorder:
        def executed(self, position: int, actions: np.ndarray, observation: object) -> None:
            taken.append((position, actions.copy()))

    chunk = np.tile(np.arange(3.0)[:, None] / 10, (1, 4))
    chunk[:, -1] = 1.0
    world = fake({"do": "succeed", "subtask": "raise", "step": 4})
    policy = Scripted([], chunk, execute=3)
    record = run_episode(world, policy, episode("raise", "lower", step_limit=7), seed=0, recorder=Recorder())
    assert [(position, actions[:, 0].tolist()) for position, actions in taken] == [
        (0, [0.0, 0.1, 0.2]),
        (0, [0.0, 0.1]),
        (1, [0.0, 0.1, 0.2]),
        (1, [0.0, 0.1, 0.2]),
        (1, [0.0]),
    ]
    assert [each.steps for each in record.subtasks] == [5, 7]
    assert [context.executed for context in policy.contexts] == [0, 2]
