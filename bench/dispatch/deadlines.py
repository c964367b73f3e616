"""How long a call may take before a process is taken for hung: as configured, or as learned.

A fixed number is either so long that a hang costs minutes, or so short that a large model's first
decision is killed. So the first episode of a worker gets a generous limit, and later ones a multiple of
the slowest call seen so far.
"""

from __future__ import annotations

from vla_bench.bench.episode.rollout import Phase
from vla_bench.bench.setup.run_config import RunConfig

FIRST = {Phase.SIMULATE: 120.0, Phase.DECIDE: 600.0}
"""Seconds before anything is known: loading from a cold disk, compiling a model."""
MARGIN = 20.0
"""Times the slowest call seen; a busy machine makes a call some times slower, not twenty."""
LEAST = {Phase.SIMULATE: 15.0, Phase.DECIDE: 60.0}
"""Seconds that are always granted: a machine may swap, a file server may pause."""
MOST = 1800.0
"""Seconds that are never exceeded by learning."""


class Deadlines:
    """The limits of one worker. :meth:`learn` after each episode that came to its end."""

    def __init__(self, run: RunConfig) -> None:
        self._start = run.start_deadline
        self._fixed = {Phase.SIMULATE: run.step_deadline, Phase.DECIDE: run.decision_deadline}
        self._slowest: dict[Phase, float] = {}

    def learn(self, phase: Phase, slowest: float) -> None:
        """Says how many seconds the longest call of that phase took in an episode that went well."""
        self._slowest[phase] = max(slowest, self._slowest.get(phase, 0.0))

    def seconds(self) -> dict[Phase, float]:
        """The limit of every phase now."""
        simulate = self._of(Phase.SIMULATE)
        return {
            Phase.START: self._start,
            Phase.IDLE: simulate,
            Phase.SIMULATE: simulate,
            Phase.DECIDE: self._of(Phase.DECIDE),
        }

    def _of(self, phase: Phase) -> float:
        fixed = self._fixed[phase]
        if fixed is not None:
            return fixed
        if phase not in self._slowest:
            return FIRST[phase]
        return min(max(MARGIN * self._slowest[phase], LEAST[phase]), MOST)
