"""Perceiver resampler (arXiv 2103.03206, as used by Flamingo, arXiv 2204.14198): any number of tokens to a
few."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class PerceiverAttention(nn.Module):
    """Latents attend to the media tokens and to themselves."""

    def __init__(self, dim: int, head_dim: int, heads: int):
        super().__init__()
        self.heads = heads
        inner = head_dim * heads
        self.norm_media = nn.LayerNorm(dim)
        self.norm_latents = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, inner, bias=False)
        self.to_kv = nn.Linear(dim, inner * 2, bias=False)
        self.to_out = nn.Linear(inner, dim, bias=False)

    def forward(self, media: Tensor, latents: Tensor, mask: Tensor | None) -> Tensor:
        media, latents = self.norm_media(media), self.norm_latents(latents)
        keys, values = self.to_kv(torch.cat([media, latents], dim=-2)).chunk(2, dim=-1)
        queries, keys, values = (
            part.unflatten(-1, (self.heads, -1)).transpose(-2, -3) for part in (self.to_q(latents), keys, values)
        )
        if mask is not None:
            own = mask.new_ones(*mask.shape[:-1], latents.shape[-2])
            mask = torch.cat([mask, own], dim=-1).unsqueeze(-2).unsqueeze(-2)
        read = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        return self.to_out(read.transpose(-2, -3).flatten(-2))


class PerceiverResampler(nn.Module):
    """(..., n, d) tokens to (..., latents, d). Parameter names are those of the released resampler.

    Its default size (depth 6, 64 latents, 8 heads of 64) is what the released models have.
    """

    def __init__(self, dim: int, *, depth: int = 6, latents: int = 64, heads: int = 8, head_dim: int = 64):
        super().__init__()
        self.latents = nn.Parameter(torch.randn(latents, dim))
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    PerceiverAttention(dim, head_dim, heads),
                    nn.Sequential(
                        nn.LayerNorm(dim),
                        nn.Linear(dim, 4 * dim, bias=False),
                        nn.GELU(),
                        nn.Linear(4 * dim, dim, bias=False),
                    ),
                ]
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """``mask``: (..., n) bool, False where a token is padding."""
        latents = self.latents.expand(*tokens.shape[:-2], -1, -1)
        for attention, feed_forward in self.layers:
            latents = attention(tokens, latents, mask) + latents
            latents = feed_forward(latents) + latents
        return self.norm(latents)
