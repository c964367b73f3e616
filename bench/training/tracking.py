"""A training run mirrored to an experiment tracker, while it goes on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from vla_bench.bench.live.tracking import WANDB_PROJECT, Tracker
from vla_bench.policies.vla.training.events import Evaluated, StepDone, TrainingEvent, Validated


class TrainingTracker(Protocol):
    """Takes what happens."""

    def take(self, event: TrainingEvent) -> None:
        """Something happened."""
        ...

    def close(self) -> None:
        """The run is over."""
        ...


def make_tracker(tracker: Tracker, folder: Path, config: Mapping[str, Any]) -> TrainingTracker:
    """The tracker of that name."""
    if tracker == "tensorboard":
        return _TensorBoard(folder)
    if tracker == "wandb":
        return _Wandb(folder, config)
    return _Nothing()


def scalars(event: TrainingEvent) -> Iterator[tuple[str, float]]:
    """Names and numbers of an event."""
    match event:
        case StepDone(_, rate, losses, gradient, seconds):
            yield from ((f"train/{name}", value) for name, value in losses.items())
            yield "optimiser/learning_rate", rate
            yield "optimiser/gradient_norm", gradient
            yield "time/seconds_per_step", seconds
        case Validated(_, losses):
            yield from ((f"validation/{name}", value) for name, value in losses.items())
        case Evaluated(_, numbers):
            yield from ((f"evaluation/{name}", value) for name, value in numbers.items())


class _Nothing:
    def take(self, event: TrainingEvent) -> None:
        pass

    def close(self) -> None:
        pass


class _TensorBoard:
    def __init__(self, folder: Path):
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"))

    def take(self, event: TrainingEvent) -> None:
        for name, value in scalars(event):
            self._writer.add_scalar(name, value, event.step)

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    def __init__(self, folder: Path, config: Mapping[str, Any]):
        import wandb

        # A run that goes on is the same run there too.
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", WANDB_PROJECT),
            name=folder.name,
            id=folder.name,
            resume="allow",
            dir=str(folder),
            config=dict(config),
            tags=["training"],
        )

    def take(self, event: TrainingEvent) -> None:
        if found := dict(scalars(event)):
            self._run.log(found, step=event.step)

    def close(self) -> None:
        self._run.finish()
