"""A head that remembers by a GPT-2 over the window."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vla_bench.policies.errors import PolicyError
from vla_bench.policies.vla.config import VlaConfig
from vla_bench.policies.vla.heads.base import ActionHead

LAYERS = 8
ATTENTION_HEADS = 8
DROPOUT = 0.1
"""Size of the released GPT head; dropout is GPT-2's default."""


class Conv1D(nn.Module):
    """A linear layer with its weight stored (inputs, outputs), as GPT-2's checkpoints have it."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs).normal_(std=0.02))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight.T, self.bias)


class CausalAttention(nn.Module):
    """Causal attention. ``bias`` and ``masked_bias`` are constants that released checkpoints carry."""

    def __init__(self, width: int):
        super().__init__()
        lower = torch.tril(torch.ones(width, width, dtype=torch.uint8))
        self.register_buffer("bias", lower.view(1, 1, width, width))
        self.register_buffer("masked_bias", torch.tensor(-1e4))
        self.dropout = DROPOUT
        self.c_attn = Conv1D(width, 3 * width)
        self.c_proj = Conv1D(width, width)

    def forward(self, x: Tensor) -> Tensor:
        queries, keys, values = (
            part.unflatten(-1, (ATTENTION_HEADS, -1)).transpose(1, 2) for part in self.c_attn(x).chunk(3, dim=-1)
        )
        read = functional.scaled_dot_product_attention(
            queries, keys, values, is_causal=True, dropout_p=self.dropout if self.training else 0.0
        )
        return functional.dropout(self.c_proj(read.transpose(1, 2).flatten(-2)), self.dropout, self.training)


class FeedForward(nn.Module):
    """Four times the width, GELU in GPT-2's tanh form."""

    def __init__(self, width: int):
        super().__init__()
        self.dropout = DROPOUT
        self.c_fc = Conv1D(width, 4 * width)
        self.c_proj = Conv1D(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.c_proj(functional.gelu(self.c_fc(x), approximate="tanh"))
        return functional.dropout(x, self.dropout, self.training)


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, width: int):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = CausalAttention(width)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = FeedForward(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Gpt(nn.Module):
    """(B, T, width) to (B, T, width), T <= window, learned positions counted from the oldest frame."""

    def __init__(self, width: int, window: int):
        super().__init__()
        self.dropout = DROPOUT
        self.wpe = nn.Embedding(window, width)
        nn.init.normal_(self.wpe.weight, std=0.02)
        self.h = nn.ModuleList(Block(width) for _ in range(LAYERS))
        self.ln_f = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.wpe(torch.arange(x.shape[1], device=x.device))
        x = functional.dropout(x, self.dropout, self.training)
        for block in self.h:
            x = block(x)
        return self.ln_f(x)


class GptHead(ActionHead):
    """Eight blocks of eight heads over at most W frames (``GPTDecoder`` of the original)."""

    def __init__(self, config: VlaConfig, width: int):
        super().__init__(config, width)
        inner = config.inner
        if config.latent > 1 and config.hidden != width:
            raise PolicyError(
                f"vla: head=gpt with latent={config.latent} needs hidden={width}, the width of the "
                "backbone: its "
                "input layer maps single tokens, as in the original"
            )
        if inner % ATTENTION_HEADS:
            raise PolicyError(
                f"vla: head=gpt has {ATTENTION_HEADS} attention heads; hidden * latent = {inner} cannot be "
                "divided among them"
            )
        self.gpt = Gpt(inner, config.window)
        self.fc = nn.Linear(width, config.hidden) if config.hidden != width else nn.Identity()

    def trunk(self, features: Tensor) -> Tensor:
        return self.gpt(self.fc(features))
