"""What a run goes on from, and the checkpoints it leaves. Everything is whole or not there.

``state.pt`` holds the step, what trains, the optimiser and the best so far; it is one file, replaced at once. Random
numbers and the order of the data follow from the seed and the step. ``last/`` and ``best/`` are checkpoints in our
own format, each with ``training.json``: what it was trained on and how.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vla_bench.policies.errors import PolicyError
from vla_bench.policies.vla.checkpoints import save
from vla_bench.policies.vla.config import VlaConfig
from vla_bench.policies.vla.training.trainable import plain_state

STATE, LAST, BEST, ABOUT = "state.pt", "last", "best", "training.json"
NAN_BATCH = "nan_batch.pt"
FORMAT = 1


@dataclass
class Progress:
    """Where a run stands, beside its tensors."""

    step: int = 0
    """Optimiser steps that are done."""
    best: float | None = None
    """Best success or, without evaluations, lowest validation loss."""
    best_step: int | None = None
    seconds: float = 0.0
    """Wall time of all tries together."""
    windows: int = 0
    """Windows seen."""
    latest: dict[str, float] = field(default_factory=dict)
    """Last validation and evaluation, by name."""


def write_state(folder: Path, tensors: Mapping[str, Any], progress: Progress) -> None:
    """Replaces ``state.pt``. OSError: the disk is full; the former one is whole then."""
    content = {"format": FORMAT, "progress": vars(progress), **tensors}
    with whole(folder / STATE) as part:
        torch.save(content, part)


def read_state(folder: Path) -> tuple[dict[str, Any], Progress] | None:
    """The last state of a run, or None when there is none yet. PolicyError: it cannot be read."""
    path = folder / STATE
    if not path.exists():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        return content, Progress(**content.pop("progress"))
    except (RuntimeError, EOFError, OSError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise PolicyError(
            f"{path} cannot be read ({str(error).splitlines()[0] or type(error).__name__}); type run.overwrite=true to "
            "begin anew"
        ) from None


def trained_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Everything that steps change: what trains, and buffers."""
    frozen = {name for name, each in model.named_parameters(remove_duplicate=False) if not each.requires_grad}
    return {name: value for name, value in model.state_dict().items() if name not in frozen}


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file to write in place of ``path``, which takes it over once it is on disk; nothing is left on failure."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield part
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
        _sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


def write_checkpoint(
    folder: Path, model: nn.Module, structure: VlaConfig, tokenizer: Any, about: Mapping[str, Any]
) -> None:
    """Replaces a checkpoint folder as a whole; LoRA is merged into what it adapts."""
    part, old = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    shutil.rmtree(part, ignore_errors=True)
    try:
        save(part, model, structure, tokenizer, plain_state(model))
        (part / ABOUT).write_text(json.dumps(about, indent=1) + "\n")
        for file in part.iterdir():
            with open(file, "rb") as opened:
                os.fsync(opened.fileno())
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        part.rename(folder)
        _sync_folder(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        mend(folder)
        raise


def mend(folder: Path) -> None:
    """Puts a checkpoint back that a crash caught between its old and its new name."""
    old = folder.with_name(f".{folder.name}.old")
    if old.exists() and not folder.exists():
        old.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
