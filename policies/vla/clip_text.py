"""Regularises what the action head reads towards CLIP's features of the instruction (an option of
training)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

CLIP_WIDTH = 768
"""Width of the text features of CLIP ViT-L/14."""


class ClipTextHead(nn.Module):
    """Smooth-L1 distance between a linear map of the (max-pooled) features and normalised text features.

    Its one layer is ``lang_fc``. The CLIP text model is not part of it: features are made once per
    instruction by :func:`clip_text_features`. Released checkpoints carry a frozen CLIP under
    ``clip_norm_head.model``, which the loader drops.
    """

    def __init__(self, width: int, clip_width: int = CLIP_WIDTH):
        super().__init__()
        self.lang_fc = nn.Linear(width, clip_width)

    def forward(self, tokens: Sequence[Tensor], text: Tensor) -> Tensor:
        """``tokens``: one (n, d) per frame. ``text``: (frames, e) unit-length features. A scalar loss."""
        pooled = torch.stack([frame.amax(dim=0) for frame in tokens])
        return functional.smooth_l1_loss(self.lang_fc(pooled), text.to(pooled.device, pooled.dtype))


def clip_text_features(instructions: Sequence[str], model: nn.Module, tokenizer: object) -> Tensor:
    """(n, e) unit-length features from a transformers ``CLIPTextModelWithProjection`` and its tokenizer."""
    encoded = tokenizer(list(instructions), padding=True, return_tensors="pt")
    with torch.no_grad():
        features = model(**encoded).text_embeds
    return functional.normalize(features, dim=-1)
