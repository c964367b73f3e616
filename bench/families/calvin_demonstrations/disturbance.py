"""Pushes the arm off its way, so that demonstrations show how to come back.

What is added to an action is executed but never becomes its label: ``commanded`` labels stay the policy's own
correction, and with ``achieved`` labels the pushed frames are left out
(:mod:`vla_bench.bench.families.calvin_demonstrations.pieces`).
M. Laskey et al., "DART: Noise injection for robust imitation learning", CoRL 2017.
"""

from __future__ import annotations

import numpy as np

from vla_bench.bench.families.calvin_demonstrations.options import Disturbance

BURST_STEPS = (2, 7)
"""Length of a push, from and below, control steps."""
BURST_SIZE = 0.8
"""Standard deviation of each of its six numbers at strength 1, units of a relative action."""


class Disturber:
    """Disturbs the actions of one episode."""

    def __init__(self, options: Disturbance, generator: np.random.Generator) -> None:
        self._options = options
        self._generator = generator
        self._active = bool(options.bursts or options.white) and generator.random() >= options.clean
        self._left = 0
        self._push = np.zeros(6)

    def disturbed(self, action: np.ndarray) -> tuple[np.ndarray, bool]:
        """What is executed instead of a relative action (7,), in its dtype and range, and whether it is pushed."""
        if not self._active:
            return action, False
        options, generator = self._options, self._generator
        if not self._left and options.bursts and generator.random() < options.rate:
            self._left = int(generator.integers(*BURST_STEPS))
            self._push = generator.normal(0.0, BURST_SIZE * options.bursts, 6)
        added = np.zeros(6)
        if pushed := self._left > 0:
            self._left -= 1
            added += self._push
        if options.white:
            added += generator.normal(0.0, options.white, 6)
        executed = action.copy()
        executed[:6] = np.clip(action[:6] + added, -1.0, 1.0)
        return executed, pushed
