"""What each loss is the mean of, and what that counts when batches and processes are put together.

A step of several batches or processes has to learn what one batch of all their windows would teach. The mean of means
is that only where all hold alike many; the losses of a batch are means of different things: labels that lie within the
episode, pictures, blocks that a camera sees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from vla_bench.policies.vla.losses import IGNORE
from vla_bench.policies.vla.model import VlaModel
from vla_bench.policies.vla.training.scene import blocks_seen
from vla_bench.policies.vla.training.step import TrainingBatch
from vla_bench.policies.vla.training.taught import (
    POINTING,
    SCENE,
    SCENE_HEAD,
    SUBJECT,
    WAYPOINT,
    taught_shares_of,
)

LABELS, CLIP_TEXT, TALK = "labels", "clip_text", "vl_cotrain"
"""The action's losses, and those of instructions and of conversations."""
KINDS = (LABELS, TALK, CLIP_TEXT, SCENE, *POINTING.values(), WAYPOINT, SUBJECT)
"""Losses that are means of different things."""


def labels_in(batch: TrainingBatch) -> int:
    """Labels that the action's losses are the mean of."""
    if batch.labels is not None:
        return int((batch.labels[..., 1:] != IGNORE).sum())
    if batch.chunk_mask is not None:
        return int(batch.chunk_mask.sum())
    return batch.static.shape[0]


def counts_in(batch: TrainingBatch, model: VlaModel, words: int = 0) -> list[int]:
    """How many of what each loss of :data:`KINDS` is the mean of. ``words``: labels of conversations beside it."""
    windows, frames = batch.static.shape[:2]
    looks = 0 if batch.looks is None else len(batch.looks.static)
    counts = {
        LABELS: labels_in(batch),
        TALK: words,
        CLIP_TEXT: windows,
        WAYPOINT: windows,
        SCENE: windows * frames + looks,
        SUBJECT: looks,
    }
    if hasattr(model, SCENE_HEAD) and batch.scene is not None and batch.tool is not None:
        for camera in model.scene_head.cameras:
            side = model.config.image_side(camera)
            seen = int(blocks_seen(camera, side, batch.scene.flatten(0, 1), batch.tool.flatten(0, 1))[1].sum())
            if batch.looks is not None:
                seen += int(blocks_seen(camera, side, batch.looks.scene, batch.looks.tool)[1].sum())
            counts[POINTING[camera]] = seen
    return [counts.get(kind, 0) for kind in KINDS]


def batch_weights(
    counts: Sequence[Sequence[int]], totals: Sequence[Sequence[float]], number: int, *, processes: int, released: bool
) -> dict[str, float]:
    """What this process's mean losses of one batch count in the step's gradient, by :data:`KINDS`.

    Every label weighs the same, whichever batch and process it is in: as if all were one batch. The released
    training takes the mean of its batches' means instead.

    Args:
        counts: of this process, by batch, as :func:`counts_in` returns them.
        totals: the same of all processes together.
        number: of the batch.
        processes: how many there are.
        released: whether to weigh as the released training does.
    """
    weights = {}
    for place, kind in enumerate(KINDS):
        everything = totals[number][place] * len(counts) if released else sum(each[place] for each in totals)
        weights[kind] = counts[number][place] * processes / everything if everything else 0.0
    return weights


def shares_of(model: VlaModel) -> dict[str, float]:
    """What the losses that are no means of action labels count in ``total``."""
    return {**taught_shares_of(model), CLIP_TEXT: model.config.clip_loss_ratio}


def weighed_total(losses: Mapping[str, Tensor], weights: Mapping[str, float], model: VlaModel) -> Tensor:
    """The robot's part of what is minimised: ``total`` of one batch with each of its parts weighed."""
    total = losses["total"] * weights[LABELS]
    for name, share in shares_of(model).items():
        if name in losses and weights[name] != weights[LABELS]:
            total = total + losses[name] * (share * (weights[name] - weights[LABELS]))
    return total
