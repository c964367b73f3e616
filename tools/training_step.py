"""What a training step costs, part by part: ``python -m tools.training_step policy=… train=… train.data=…``.

The words are those of ``vla-bench train``. Times are CPU milliseconds of one process with one thread in float32,
whatever ``train.precision`` says, medians over steps of fresh batches; the first step is not counted.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections import defaultdict
from statistics import median

import torch

from vla_bench.bench.training.setup import load_training
from vla_bench.policies.vla.training.assembly import assemble
from vla_bench.policies.vla.training.optimiser import make_optimiser
from vla_bench.policies.vla.training.step import training_losses

PARTS = ("read", "forward", "backward", "optimiser")


def main(arguments: list[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m tools.training_step", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("words", nargs="+")
    parser.add_argument("--steps", type=int, default=10)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    setup = load_training(given.words)
    if setup.options.model.generates_tokens:
        parser.error("a policy that generates tokens is not measured here")
    run = assemble(setup.options.model, setup.train, backbone_path=setup.options.backbone_path)
    model, config = run.model.train(), setup.train
    optimiser = make_optimiser(
        model.named_parameters(), config, list(model.adapter.vision_tower().parameters()), fused=True
    )
    spent: dict[str, list[float]] = defaultdict(list)
    for number in range(given.steps + 1):
        marks = [time.process_time()]
        chosen, seeds = run.batches.batch(number)
        batch = dataclasses.replace(run.items.batch(chosen, seeds), looks=run.items.looks(number, (0, 1)))
        marks.append(time.process_time())
        total = training_losses(model, batch, arm_loss=config.arm_loss, beta=config.beta)["total"]
        marks.append(time.process_time())
        total.backward()
        marks.append(time.process_time())
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip or float("inf"))
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        marks.append(time.process_time())
        if number:
            for part, begun, ended in zip(PARTS, marks, marks[1:], strict=False):
                spent[part].append(1e3 * (ended - begun))
    print(f"batch of {config.batch}, {given.steps} steps, CPU ms of one thread (median)")
    for part in PARTS:
        print(f"  {part:<10} {median(spent[part]):8.1f}")
    print(f"  {'in all':<10} {median(map(sum, zip(*spent.values(), strict=True))):8.1f}")


if __name__ == "__main__":
    main()
