"""AdamW, and its learning rate at each step."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

import torch
from torch import nn

from vla_bench.policies.vla.training.config import TrainingConfig


def rate_factor(step: int, config: TrainingConfig, *, steps: int, steps_per_epoch: float) -> float:
    """Share of ``learning_rate`` that step ``step`` (from 0) is taken with.

    Warm-up: w = warmup_epochs * steps_per_epoch + warmup_steps, not rounded. The released training multiplies
    step n by n / w, so that its first step has rate 0 and changes nothing; here it is (n + 1) / w. Afterwards
    ``cosine`` falls to 0 at ``steps`` and ``half_cosine`` to ``min_rate`` (half a period each; ``cosine`` is that of
    transformers' ``get_cosine_schedule_with_warmup``).
    """
    warmup = config.warmup_epochs * steps_per_epoch + config.warmup_steps
    begun = step if config.compat == "released" else step + 1
    if begun < max(1.0, warmup):
        return begun / max(1.0, warmup)
    if config.schedule == "constant":
        return 1.0
    done = min(1.0, max(0.0, (step - warmup) / max(1.0, steps - warmup)))
    low = config.min_rate if config.schedule == "half_cosine" else 0.0
    return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * done))


SHARE = "share"
"""Key of a parameter group: its rate as a multiple of the step's."""


def make_optimiser(
    parameters: Iterable[tuple[str, nn.Parameter]],
    config: TrainingConfig,
    vision: Collection[nn.Parameter] = (),
    *,
    fused: bool = False,
) -> torch.optim.AdamW:
    """AdamW over what trains.

    The released training has one group, in which biases and norms decay too; here parameters of fewer than two
    dimensions (biases, norms, the action token) have a group without decay, and backbone and vision tower may have
    rates of their own.

    Args:
        parameters: of the network, by name.
        vision: those of the vision tower.
        fused: take a step in one pass over the numbers in place of ten.
    """
    trained = [(name, each) for name, each in parameters if each.requires_grad]
    if config.compat == "released":
        groups = [{"params": [each for _, each in trained], "weight_decay": config.weight_decay}]
    else:
        eyes = {id(each) for each in vision}
        made: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for share in _shares(config):
            made |= {(share, True): [], (share, False): []}
        for name, each in trained:
            backbone = config.backbone_rate if name.startswith("backbone.") else 1.0
            share = config.vision_rate if id(each) in eyes and config.vision_rate is not None else backbone
            made[share, each.dim() >= 2].append(each)
        groups = [
            {"params": members, "weight_decay": config.weight_decay if matrices else 0.0, SHARE: share}
            for (share, matrices), members in made.items()
        ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.epsilon,
        fused=fused or None,
    )


def _shares(config: TrainingConfig) -> list[float]:
    """Multiples of the rate, in the order in which a saved optimiser has their groups: head, backbone, eyes."""
    shares = [1.0, config.backbone_rate, *([] if config.vision_rate is None else [config.vision_rate])]
    return list(dict.fromkeys(shares))
