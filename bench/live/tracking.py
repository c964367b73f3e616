"""A run's summary mirrored to an experiment tracker, beside the result set and never instead of it.

Both get the same scalars: every rate and average with its interval and n, by task where there are tasks, and
the speed. TensorBoard's go into ``<run>/tensorboard``; Weights & Biases decides itself where its own go
(``WANDB_MODE=offline`` keeps them below ``<run>/wandb``), and also gets the configuration.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from vla_bench.bench.errors import ConfigError
from vla_bench.program import installing

if TYPE_CHECKING:
    from vla_bench.bench.records.result_set import ResultSet

Tracker = Literal["none", "tensorboard", "wandb"]
PACKAGES = {"tensorboard": "tensorboardX", "wandb": "wandb"}
WANDB_PROJECT = "vla-bench"
"""Unless ``WANDB_PROJECT`` names another."""


def check_tracker(tracker: Tracker) -> None:
    """ConfigError where its package is not installed."""
    package = PACKAGES.get(tracker)
    if package and importlib.util.find_spec(package) is None:
        raise ConfigError(
            f"run.tracking={tracker} needs the package {package}: type {installing('tracking')}, "
            "or leave run.tracking out"
        )


def track(result_set: ResultSet, tracker: Tracker, config: Mapping[str, Any]) -> None:
    """Writes the summary's scalars; ``config`` is the run's configuration as plain data."""
    if tracker == "tensorboard":
        _to_tensorboard(result_set)
    elif tracker == "wandb":
        _to_wandb(result_set, config)


def scalars(result_set: ResultSet) -> Iterator[tuple[str, float]]:
    """Name and number of all that is worth a curve over runs; rates are shares from 0 to 1."""
    summary = result_set.summary
    if chain := summary.chain:
        yield from _with_interval("average_chain_length", chain.average)
        for k, rate in enumerate(chain.rates, start=1):
            yield from _with_interval(f"chain/{k}_of_{len(chain.rates)}", rate)
    if summary.overall:
        yield from _with_interval("success", summary.overall)
    for each in summary.tasks:
        if each.rate.n:
            yield from _with_interval(f"task/{each.task}", each.rate)
    yield "episodes/done", summary.done
    yield "episodes/errors", summary.errors
    if not math.isnan(speed := summary.timing.steps_per_second):
        yield "steps_per_second", speed


def _with_interval(name: str, of: Any) -> Iterator[tuple[str, float]]:
    for suffix in ("value", "low", "high", "n"):
        yield name if suffix == "value" else f"{name}/{suffix}", float(getattr(of, suffix))


def _to_tensorboard(result_set: ResultSet) -> None:
    from tensorboardX import SummaryWriter

    # The step is the number of judged episodes, so that a resumed run goes on to the right.
    with SummaryWriter(str(result_set.folder / "tensorboard")) as writer:
        for name, number in scalars(result_set):
            writer.add_scalar(name, number, result_set.summary.done)


def _to_wandb(result_set: ResultSet, config: Mapping[str, Any]) -> None:
    import os

    import wandb

    header, summary = result_set.header, result_set.summary
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", WANDB_PROJECT),
        name=result_set.folder.name,
        dir=str(result_set.folder),
        config={**config, "protocol": header["protocol"], "created": header["created"]},
        tags=[summary.benchmark, summary.policy],
    )
    run.summary.update(dict(scalars(result_set)))
    run.finish()
