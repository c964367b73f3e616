"""What a training run says of itself while it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Begun:
    """The run starts, or goes on."""

    step: int
    """Steps that are done already."""
    steps: int
    """Steps in all."""
    steps_per_epoch: float
    windows: int
    validation_windows: int
    parameters: int
    trained: int
    processes: int
    device: str


@dataclass(frozen=True, slots=True)
class StepDone:
    """One optimiser step."""

    step: int
    """From 1."""
    rate: float
    losses: Mapping[str, float]
    """Means over the batch's labels, before the step."""
    gradient: float
    """Its L2 norm, before clipping."""
    seconds: float
    waited: float
    """The part of it spent waiting for data."""


@dataclass(frozen=True, slots=True)
class Validated:
    """A validation loss."""

    step: int
    losses: Mapping[str, float]
    best: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Evaluated:
    """An evaluation in the simulator."""

    step: int
    numbers: Mapping[str, float]
    best: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Saved:
    """The run can go on from here."""

    step: int
    seconds: float


TrainingEvent = Begun | StepDone | Validated | Evaluated | Saved
