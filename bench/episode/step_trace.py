"""The state after every control step of one episode, beside what a run needs anyway."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vla_bench.envs.observation import Observation
from vla_bench.envs.simulation import EpisodeStart, Outcome, SceneState, StepState, TracedSimulation


class Step(NamedTuple):
    """One row of a trace."""

    position: int
    """0-based place of the subtask in the episode."""
    step: int
    """Control steps executed in the subtask; 0: before its first action."""
    decision: int
    """Decisions of the policy in the subtask up to and with the one that this action is of; 0 at step 0."""
    action: np.ndarray | None
    """(A,) as the simulation was told, before what a stressed body makes of it; None at step 0."""
    success: bool
    """Whether the subtask was solved after this step."""
    state: StepState


class StepTrace:
    """A simulation that notes its state after every step. What happens in it is the same to the last bit: a chunk is
    executed action by action, which is what a simulation does with it."""

    def __init__(self, simulation: TracedSimulation) -> None:
        self._simulation = simulation
        self.subtasks: list[str] = []
        """Those begun, in order."""
        self.steps: list[Step] = []
        self._step = self._decision = 0

    def reset(self, start: EpisodeStart) -> None:
        """Starts an episode."""
        self._simulation.reset(start)

    def begin(self, subtask: str) -> None:
        """Begins a subtask and notes where it begins."""
        self._simulation.begin(subtask)
        self.subtasks.append(subtask)
        self._step = self._decision = 0
        self._note(None, success=False)

    def advance(self, actions: np.ndarray) -> Outcome:
        """Executes the chunk, noting every step."""
        executed = 0
        outcome = Outcome(0, False, False)
        self._decision += 1
        for action in actions:
            outcome = self._simulation.advance(action[None])
            executed += outcome.steps
            self._step += outcome.steps
            self._note(np.array(action), success=outcome.success)
            if outcome.stopped:
                break
        return Outcome(executed, outcome.success, outcome.stopped, outcome.ever, outcome.flags)

    def _note(self, action: np.ndarray | None, *, success: bool) -> None:
        state = self._simulation.step_state()
        self.steps.append(Step(len(self.subtasks) - 1, self._step, self._decision, action, bool(success), state))

    def observe(self) -> Observation:
        """What the policy is shown."""
        return self._simulation.observe()

    def privileged(self) -> SceneState:
        """The state behind it."""
        return self._simulation.privileged()

    def close(self) -> None:
        """The simulation belongs to the worker, which closes it."""

    def __getattr__(self, name: str) -> Any:
        """What it says of itself beside its verbs, e.g. the clock of a world that does not wait."""
        return getattr(self._simulation, name)
