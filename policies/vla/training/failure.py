"""What ends a training run whose losses are no numbers any more."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from vla_bench.policies.errors import PolicyError
from vla_bench.policies.vla.training.state import NAN_BATCH, whole
from vla_bench.policies.vla.training.step import TrainingBatch


class TrainingFailed(PolicyError):
    """The losses are no numbers any more."""


def not_finite(
    folder: Path | None,
    step: int,
    means: Mapping[str, float],
    batches: Sequence[TrainingBatch],
    items: Sequence[Sequence[int]],
    rank: int,
) -> TrainingFailed:
    """The error that says which numbers are none, after the step's batches are kept.

    Args:
        folder: of the run; None keeps nothing.
        step: the step that failed, from 1.
        means: losses or the gradient's norm, by name.
        batches: of this process.
        items: numbers of their windows.
        rank: of this process.
    """
    bad = ", ".join(f"{name}={value}" for name, value in means.items() if not math.isfinite(value))
    kept = ""
    if folder is not None:
        path = folder / NAN_BATCH.replace(".pt", f"_{rank}.pt" if rank else ".pt")
        with whole(path) as part:
            torch.save({"step": step, "items": items, "batches": [batch.tensors() for batch in batches]}, part)
        kept = f" Its batch is kept in {path}."
    return TrainingFailed(
        f"step {step}: {bad}. The state before it is safe.{kept} Try a lower train.learning_rate, train.clip=1, or "
        "train.precision=fp32, with another run.name"
    )
