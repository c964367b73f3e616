"""Greedy generation of action tokens by the language model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vla_bench.policies.vla.actions.tokenizer import ActionTokens
from vla_bench.policies.vla.backbones.contract import SceneImages
from vla_bench.policies.vla.fusion import Row, join
from vla_bench.policies.vla.model import VlaModel
from vla_bench.policies.vla.training.step import token_layout


def generate(
    model: VlaModel,
    rows: Sequence[Row],
    steps: int,
    *,
    among: ActionTokens | None = None,
    video: bool = False,
) -> Tensor:
    """(B, steps) token ids, the most likely one each time.

    Rows may differ in length: padding is hidden from attention and every row counts its own
    positions, so that a row's ids are those it would get alone.

    Args:
        among: choose among action tokens only; None: among the whole vocabulary.
        video: put the images of all frames of a row before one prompt.
    """
    batch = join(rows, token_layout(model, video=video), None)
    lengths = (batch.kinds >= 0).sum(dim=1)
    here = torch.arange(len(rows), device=lengths.device)
    decoded = model.adapter.decode(batch.embeds, batch.mask, use_cache=True, images=batch.images)
    newest = decoded.hidden[here, lengths - 1]
    images = _newest_only(batch.images, lengths)
    mask, cache = batch.mask, decoded.cache
    ids: list[Tensor] = []
    while True:
        ids.append(_choose(model.adapter.logits(newest), among))
        if len(ids) == steps:
            return torch.stack(ids, dim=1)
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
        positions = (lengths + len(ids) - 1)[:, None]
        embeds = model.embed_text(ids[-1])[:, None]
        decoded = model.adapter.decode(embeds, mask, positions=positions, cache=cache, use_cache=True, images=images)
        newest, cache = decoded.hidden[:, -1], decoded.cache


def _choose(logits: Tensor, among: ActionTokens | None) -> Tensor:
    if among is None:
        return logits.argmax(-1)
    first = among.begin + 1
    return first + logits[:, first : among.end].argmax(-1)


def _newest_only(images: SceneImages | None, lengths: Tensor) -> SceneImages | None:
    """What a generated token may look at: what the last prompt token looked at."""
    if images is None:
        return None
    here = torch.arange(len(lengths), device=lengths.device)
    return SceneImages(images.tokens, images.visible[here, lengths - 1].unsqueeze(1))
