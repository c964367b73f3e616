"""The run: steps, validation, saving, going on."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vla_bench.policies.errors import PolicyError
from vla_bench.policies.vla.actions.tokenizer import ActionTokens
from vla_bench.policies.vla.model import VlaModel
from vla_bench.policies.vla.training.config import TrainingConfig
from vla_bench.policies.vla.training.conversations import ConversationBatch, Conversations
from vla_bench.policies.vla.training.events import Begun, Evaluated, Saved, StepDone, TrainingEvent, Validated
from vla_bench.policies.vla.training.failure import not_finite
from vla_bench.policies.vla.training.items import WindowItems
from vla_bench.policies.vla.training.loss_module import Losses, validation_losses
from vla_bench.policies.vla.training.optimiser import SHARE, make_optimiser, rate_factor
from vla_bench.policies.vla.training.processes import Processes
from vla_bench.policies.vla.training.reading import Reader
from vla_bench.policies.vla.training.sampling import STEP, Order, ShuffledOrder, stream_seed
from vla_bench.policies.vla.training.sharding import load_optimiser, load_whole, whole_tensors
from vla_bench.policies.vla.training.state import (
    BEST,
    LAST,
    Progress,
    mend,
    read_state,
    trained_tensors,
    write_checkpoint,
    write_state,
)
from vla_bench.policies.vla.training.step import TrainingBatch
from vla_bench.policies.vla.training.trainable import trained
from vla_bench.policies.vla.training.weighing import LABELS, TALK, batch_weights, counts_in, weighed_total

Evaluate = Callable[[Path, int], Mapping[str, float]]
"""Runs a checkpoint folder after some steps in a simulator; its number ``success`` chooses the best."""


@dataclass
class TrainingRun:
    """A network, data and choices. :meth:`train` does the rest."""

    model: VlaModel
    """What trains is chosen already."""
    items: WindowItems
    config: TrainingConfig
    validation: WindowItems | None = None
    conversations: Conversations | None = None
    order: Order | None = None
    """None: shuffled by the seed."""
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Plain data that its checkpoints carry."""

    @property
    def batches(self) -> Order:
        """The order of its batches."""
        return self.order or ShuffledOrder(len(self.items), self.config.batch, self.config.seed)

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.config.steps or math.floor(self.config.epochs * self.batches.per_epoch / self.config.accumulate)

    def train(
        self,
        folder: Path | None,
        *,
        report: Callable[[TrainingEvent], None] = lambda event: None,
        evaluate: Evaluate | None = None,
        stop: Callable[[], bool] = lambda: False,
        watch: Callable[[Mapping[str, Tensor]], None] = lambda losses: None,
    ) -> Progress:
        """Trains to the end, or until ``stop`` says so, going on from what ``folder`` holds.

        Args:
            folder: of the run; None keeps nothing.
            report: is told what happens, in the first process.
            evaluate: see :data:`Evaluate`; called in the first process every ``evaluate_every`` steps.
            stop: asked after each step; the state is saved before the run ends.
            watch: is shown the losses of every single batch, as they are before they are weighed.

        Raises:
            PolicyError: what was asked for cannot be trained; says so before the first step.
            TrainingFailed: a loss is no number; the batch is kept in the folder.
            OSError: the disk is full; the last state is whole.
        """
        return _Loop(self, folder, report, evaluate, stop, watch).run()


class _Loop:
    def __init__(
        self,
        run: TrainingRun,
        folder: Path | None,
        report: Callable[[TrainingEvent], None],
        evaluate: Evaluate | None,
        stop: Callable[[], bool],
        watch: Callable[[Mapping[str, Tensor]], None],
    ):
        config = self.config = run.config
        self.training, self.folder, self.evaluate, self.stop, self.watch = run, folder, evaluate, stop, watch
        self.processes = Processes(config)
        self.report = report if self.processes.first else lambda event: None
        torch.set_num_threads(config.threads or max(1, _cores() // self.processes.count))
        self.model = run.model
        structure = self.model.config
        tokens = None
        if structure.generates_tokens:
            tokens = ActionTokens.for_tokenizer(
                run.items.tokenizer, structure.bins, structure.bin_min, structure.bin_max
            )
        self.order = run.batches
        self.per_epoch = self.order.per_epoch / config.accumulate
        self.steps = run.total_steps
        self._check()
        self.module, self.optimiser = self.processes.prepare(
            Losses(self.model, tokens, config),
            lambda module: make_optimiser(
                self.model.named_parameters(),
                config,
                list(self.model.adapter.vision_tower().parameters()),
                # Not where numbers are scaled or divided, nor where the released training is repeated.
                fused=self.processes.device.type == "cpu" and not config.sharded and config.compat != "released",
            ),
        )
        self.progress = Progress()

    def _check(self) -> None:
        config, items = self.config, len(self.training.items)
        if items == 0:
            shape = self.model.config
            raise PolicyError(
                f"{self.training.items.dataset.folder} holds no window of {shape.window} frames {config.stride} steps "
                "apart within an annotation; type a smaller policy.model.window"
            )
        if self.order.per_epoch == 0:
            raise PolicyError(
                f"train.batch={config.batch} is larger than the data: {items} windows. Type train.batch={items} or less"
            )
        if config.batch % self.processes.count:
            raise PolicyError(
                f"train.batch={config.batch} cannot be shared among {self.processes.count} processes; type a multiple"
            )
        if config.scene_frames % self.processes.count:
            raise PolicyError(
                f"train.scene_frames={config.scene_frames} cannot be shared among {self.processes.count} processes; "
                "type a multiple"
            )
        if self.steps < 1:
            raise PolicyError(
                f"train.epochs={config.epochs:g} of {self.per_epoch:g} steps makes no step; type train.steps=<n>"
            )

    def run(self) -> Progress:
        began = time.monotonic()
        self._restore()
        before, config = self.progress.seconds, self.config
        numbers = [each.numel() for _, each in trained(self.model)]
        self.report(
            Begun(
                self.progress.step,
                self.steps,
                self.per_epoch,
                len(self.training.items),
                0 if self.training.validation is None else len(self.training.validation),
                sum(each.numel() for each in self.model.parameters()),
                sum(numbers),
                self.processes.count,
                str(self.processes.device),
            )
        )
        if self.progress.step >= self.steps:
            return self.progress
        reader = Reader(
            self.training.items,
            self.order,
            first=self.progress.step * config.accumulate,
            last=self.steps * config.accumulate,
            workers=config.workers,
            place=(self.processes.rank, self.processes.count),
        )
        saved = time.monotonic()
        try:
            stream = iter(reader)
            while self.progress.step < self.steps:
                asked = self._step(stream, (self.stop(), time.monotonic() - saved > config.save_seconds))
                step = self.progress.step
                self.progress.seconds = before + time.monotonic() - began
                ended = step == self.steps
                validates = self._due(config.validate_every, step, ended)
                evaluates = bool(self.evaluate and config.evaluate_every) and (
                    step % config.evaluate_every == 0 or ended
                )
                if validates:
                    self._validate()
                if evaluates:
                    self._evaluate()
                due = config.save_every is not None and step % config.save_every == 0
                if ended or validates or evaluates or due or any(asked):
                    self._save(checkpoint=ended or validates or asked[0])
                    saved = time.monotonic()
                if asked[0] and not ended:
                    break
        finally:
            reader.close()
        self.processes.wait()
        return self.progress

    def _due(self, every: int | None, step: int, ended: bool) -> bool:
        if self.training.validation is None or not len(self.training.validation) or every == 0:
            return False
        return ended or step % (every or max(1, round(self.per_epoch))) == 0

    def _step(self, stream: Iterator[TrainingBatch], flags: Sequence[bool]) -> list[bool]:
        """One optimiser step; returns the flags of the first process, so that all do the same."""
        began, config, step = time.monotonic(), self.config, self.progress.step
        batches = [next(stream) for _ in range(config.accumulate)]
        talks = [self._talk(step * config.accumulate + number) for number in range(config.accumulate)]
        waited = time.monotonic() - began
        counts = [
            counts_in(batch, self.model, 0 if talk is None else talk.labels_kept)
            for batch, talk in zip(batches, talks, strict=True)
        ]
        totals, asked = self._shared(counts, flags)
        torch.manual_seed(stream_seed(config.seed, STEP, step, self.processes.rank))
        rate = config.learning_rate * rate_factor(step, config, steps=self.steps, steps_per_epoch=self.per_epoch)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group.get(SHARE, 1.0)
        sums: dict[str, float] = {}
        for number, (batch, talk) in enumerate(zip(batches, talks, strict=True)):
            with self.processes.quiet(self.module, until_last=number < config.accumulate - 1):
                batch = batch.to(self.processes.device)
                talk = None if talk is None else talk.to(self.processes.device)
                losses, spoken = self.module(batch, talk)
                self.watch(losses)
                weights = batch_weights(
                    counts, totals, number, processes=self.processes.count, released=config.compat == "released"
                )
                loss = weighed_total(losses, weights, self.model)
                self._note(sums, {**losses, TALK: spoken} if spoken is not None else losses, weights, loss)
                if spoken is not None:
                    loss = loss + spoken * self._cotrain_ratio() * weights[TALK]
                self.processes.backward(loss)
        means = self.processes.mean(sums)
        if not all(math.isfinite(each) for each in means.values()):
            self._keep_batch(batches, means)
        norm = self.processes.clip(self.module, self.optimiser, config.clip)
        if not math.isfinite(norm) and config.precision != "fp16":
            self._keep_batch(batches, {"gradient": norm})
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.progress.step += 1
        self.progress.windows += config.batch * config.accumulate
        self.report(StepDone(step + 1, rate, means, norm, time.monotonic() - began, waited))
        return asked

    def _shared(self, counts: Sequence[Sequence[int]], flags: Sequence[bool]) -> tuple[list[list[float]], list[bool]]:
        """Counts of all processes together, by batch, and the first process's flags."""
        own = [float(flag) if self.processes.first else 0.0 for flag in flags]
        plain = self.processes.sum([*(float(number) for batch in counts for number in batch), *own])
        kinds = len(counts[0])
        batches = [plain[kinds * number : kinds * (number + 1)] for number in range(len(counts))]
        return batches, [each > 0 for each in plain[kinds * len(counts) :]]

    def _note(
        self, sums: dict[str, float], losses: Mapping[str, Tensor], weights: Mapping[str, float], total: Tensor
    ) -> None:
        for name, value in losses.items():
            counted = float(value.detach()) * weights.get(name, weights[LABELS])
            sums[name] = sums.get(name, 0.0) + (float(total.detach()) if name == "total" else counted)

    def _cotrain_ratio(self) -> float:
        from vla_bench.policies.vla.losses import DISCRETE_COTRAIN_FACTOR

        structure = self.model.config
        return structure.cotrain_loss_ratio * (DISCRETE_COTRAIN_FACTOR if structure.action_space == "discrete" else 1)

    def _talk(self, number: int) -> ConversationBatch | None:
        if self.training.conversations is None:
            return None
        return self.training.conversations.batch(number, place=(self.processes.rank, self.processes.count))

    def _keep_batch(self, batches: Sequence[TrainingBatch], means: Mapping[str, float]) -> None:
        step, accumulate = self.progress.step, self.config.accumulate
        numbers = [self.order.batch(step * accumulate + k)[0] for k in range(len(batches))]
        raise not_finite(self.folder, step + 1, means, batches, numbers, self.processes.rank)

    def _validate(self) -> None:
        began, items = time.monotonic(), self.training.validation
        assert items is not None
        self.model.eval()
        means = validation_losses(self.module, items, self.config, self.processes)
        self.model.train()
        best = False
        if not (self.evaluate and self.config.evaluate_every):
            best = self.progress.best is None or means["total"] < self.progress.best
            if best:
                self.progress.best, self.progress.best_step = means["total"], self.progress.step
                self._checkpoint(BEST)
        self.progress.latest |= {f"validation/{name}": value for name, value in means.items()}
        self.report(Validated(self.progress.step, means, best, time.monotonic() - began))

    def _evaluate(self) -> None:
        began, numbers = time.monotonic(), {}
        assert self.evaluate is not None and self.folder is not None
        self._checkpoint(LAST)
        if self.processes.first:
            self.model.eval()
            numbers = dict(self.evaluate(self.folder / LAST, self.progress.step))
            self.model.train()
            # Other code of ours pins threads for its own sake.
            torch.set_num_threads(self.config.threads or max(1, _cores() // self.processes.count))
        success = self.processes.sum([numbers.get("success", math.nan) if self.processes.first else 0.0])[0]
        best = math.isfinite(success) and (self.progress.best is None or success >= self.progress.best)
        if best:
            self.progress.best, self.progress.best_step = success, self.progress.step
            self._checkpoint(BEST)
        self.progress.latest |= {f"evaluation/{name}": value for name, value in numbers.items()}
        self.report(Evaluated(self.progress.step, numbers, best, time.monotonic() - began))

    def _checkpoint(self, name: str) -> None:
        if self.folder is None:
            return
        about = {**self.training.about, "step": self.progress.step, "windows": self.progress.windows}
        with self.processes.gathered(self.module) as model:
            if self.processes.first:
                write_checkpoint(self.folder / name, model, self.model.config, self.training.items.tokenizer, about)
        self.processes.wait()

    def _save(self, *, checkpoint: bool) -> None:
        if self.folder is None:
            return
        began = time.monotonic()
        first = self.processes.first
        tensors = {
            "model": whole_tensors(trained_tensors(self.model), keep=first),
            "optimiser": whole_tensors(self.optimiser.state_dict(), keep=first),
            "scaler": self.processes.scaler_state(),
        }
        if first:
            write_state(self.folder, tensors, self.progress)
        if checkpoint:
            self._checkpoint(LAST)
        self.processes.wait()
        self.report(Saved(self.progress.step, time.monotonic() - began))

    def _restore(self) -> None:
        if self.folder is None:
            return
        if self.processes.first:
            mend(self.folder / LAST)
            mend(self.folder / BEST)
        found = read_state(self.folder)
        if found is None:
            return
        content, self.progress = found
        load_whole(self.model, content["model"])
        load_optimiser(self.optimiser, content["optimiser"])
        self.processes.load_scaler(content["scaler"])


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
