"""What is shown while a network trains."""

from __future__ import annotations

import pytest

from vla_bench.bench.training import screen
from vla_bench.policies.vla.training.events import Begun, StepDone


def begun(step: int) -> Begun:
    return Begun(step, 100, 10.0, 640, 0, 1, 1, 1, "cpu")


def done(step: int) -> StepDone:
    return StepDone(step, 1e-3, {"total": 1.0}, 1.0, 0.5, 0.0)


@pytest.mark.parametrize("first", [0, 40])
def test_the_first_step_makes_nobody_wait_in_vain(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers start in it; the time that is left is told by those that follow."""
    now = 100.0
    monkeypatch.setattr(screen.time, "monotonic", lambda: now)
    totals = screen.TrainingTotals()
    totals.take(begun(first))
    assert totals.eta == "--:--"
    now += 10.0
    totals.take(done(first + 1))
    assert totals.seconds_per_step == 10.0
    for step in range(2, 11):
        now += 0.5
        totals.take(done(first + step))
    assert totals.seconds_per_step == pytest.approx(0.5)
    assert totals.eta == screen.clock_text(0.5 * (90 - first))
    now += 4.5  # a validation
    assert totals.seconds_per_step == pytest.approx(1.0)
