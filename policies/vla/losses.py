"""Training losses and their sums."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from vla_bench.policies.vla.actions.tokenizer import ActionTokens, BinClassifier
from vla_bench.policies.vla.config import VlaConfig
from vla_bench.policies.vla.heads.base import ARM, HeadOutput

IGNORE = -100
"""Label of a position that carries no loss."""
DISCRETE_COTRAIN_FACTOR = 10
"""The co-training weight is this many times larger for discrete structures."""


def masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over the entries whose (B, T, C) mask is nonzero; trailing dimensions all count."""
    return values.mean() if mask is None else values[mask.bool()].mean()


def action_losses(
    output: HeadOutput,
    arm: Tensor,
    gripper: Tensor,
    mask: Tensor | None = None,
    *,
    arm_loss: str = "smooth_l1",
    beta: float = 1.0,
) -> dict[str, Tensor]:
    """Losses of a continuous head.

    Args:
        output: what the head said.
        arm: (B, T, C, 6) targets in [-1, 1].
        gripper: (B, T, C) targets, 1 open and 0 closed.
        mask: (B, T, C), 0 where a chunk reaches beyond the episode.
        arm_loss: ``smooth_l1`` or ``mse``.
        beta: where ``smooth_l1`` goes from a parabola to a line; 1 is the original's Huber loss.
    """
    if arm_loss not in ("smooth_l1", "mse"):
        raise ValueError(f"unknown arm_loss {arm_loss!r}; known: smooth_l1, mse")
    if arm_loss == "smooth_l1":
        distance = functional.smooth_l1_loss(output.arm, arm, reduction="none", beta=beta)
    else:
        distance = functional.mse_loss(output.arm, arm, reduction="none")
    logit = output.gripper.squeeze(-1)
    right = ((logit > 0) == (gripper > 0.5)).to(logit.dtype)
    return {
        "arm": masked_mean(distance, mask),
        "gripper": masked_mean(
            functional.binary_cross_entropy_with_logits(logit, gripper.to(logit.dtype), reduction="none"),
            mask,
        ),
        "gripper_accuracy": masked_mean(right, mask),
    }


def bin_losses(
    output: HeadOutput, arm: Tensor, gripper: Tensor, bins: BinClassifier, mask: Tensor | None = None
) -> dict[str, Tensor]:
    """Cross-entropy of a classifying head: mean over the arm's six numbers, and over the gripper's one.

    Targets as in :func:`action_losses`. Both losses are cross-entropies over the same bins; they are kept
    apart so that the gripper's weight means the same as in the continuous structures.
    """
    target = torch.cat([arm, (2 * gripper.to(arm.dtype) - 1).unsqueeze(-1)], dim=-1)
    labels = torch.from_numpy(bins.encode(target.detach().cpu().numpy())).to(arm.device)
    loss = functional.cross_entropy(output.bins.flatten(0, -2), labels.flatten(), reduction="none")
    loss = loss.unflatten(0, labels.shape)
    right = (output.bins.argmax(-1) == labels).to(loss.dtype)
    return {
        "arm": masked_mean(loss[..., :ARM], mask),
        "gripper": masked_mean(loss[..., ARM], mask),
        "arm_accuracy": masked_mean(right[..., :ARM], mask),
        "gripper_accuracy": masked_mean(right[..., ARM], mask),
    }


def token_losses(logits: Tensor, labels: Tensor, tokens: ActionTokens) -> dict[str, Tensor]:
    """Losses of a policy that generates action tokens.

    Args:
        logits: (B, S, vocabulary). labels: (B, S), :data:`IGNORE` where nothing is to be predicted.

    ``arm`` is the cross-entropy of each position's successor over all labels that are kept (a stop token
    among them counts). ``action_l1`` and the accuracies look at action tokens only.
    """
    logits, labels = logits[:, :-1], labels[:, 1:]
    loss = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORE)
    is_action = (labels > tokens.begin) & (labels < tokens.end)
    predicted, wanted = logits.argmax(-1)[is_action], labels[is_action]
    right = (predicted == wanted).to(loss.dtype).reshape(-1, ARM + 1)
    distance = tokens.decode(predicted.cpu().numpy()) - tokens.decode(wanted.cpu().numpy())
    return {
        "arm": loss,
        "action_l1": torch.from_numpy(distance).abs().mean().to(loss.device),
        "arm_accuracy": right[:, :ARM].mean(),
        "gripper_accuracy": right[:, ARM].mean(),
    }


def total_loss(losses: Mapping[str, Tensor], config: VlaConfig | None = None) -> Tensor:
    """The weighted sum that is minimised, over those of the terms ``arm``, ``gripper``, ``clip_text`` and
    ``vl_cotrain`` that a batch has: a batch of robot data has the first ones, a vision-language batch the
    last. The weights are those of ``config``; by default the released ones."""
    config = config or VlaConfig()
    discrete = DISCRETE_COTRAIN_FACTOR if config.action_space == "discrete" else 1
    weights = {
        "arm": 1.0,
        "gripper": config.gripper_loss_ratio,
        "clip_text": config.clip_loss_ratio,
        "vl_cotrain": config.cotrain_loss_ratio * discrete,
    }
    terms = [weight * losses[name] for name, weight in weights.items() if name in losses]
    if not terms:
        raise ValueError(f"no loss among {', '.join(losses) or 'nothing'}; known: {', '.join(weights)}")
    return torch.stack(terms).sum()


def sum_by_source(losses: Mapping[str, Mapping[str, Tensor]], config: VlaConfig | None = None) -> dict[str, Tensor]:
    """Multi-task sum: losses of several data sources (``calvin_action``, ``vl_pretrain``) to ``total`` and
    one total per source. Each source's batch is averaged by itself before it is added."""
    totals = {source: total_loss(terms, config) for source, terms in losses.items()}
    return {**totals, "total": torch.stack(list(totals.values())).sum()}
