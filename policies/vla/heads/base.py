"""The face all action heads share: readout, trunk, and what the trunk's features become.

Parameter names map one to one to the released checkpoints (``act_head.*``): ``rnn``, ``gpt`` and ``fc``,
``mlp``, ``actions.mlp`` and ``gripper.mlp``. A resampler readout and a classifier have none there; theirs are
``resampler`` and ``bins.mlp``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from vla_bench.policies.errors import PolicyError
from vla_bench.policies.vla.config import VlaConfig
from vla_bench.policies.vla.resampler import PerceiverResampler

ARM = 6
"""Arm numbers of an action; the gripper is the seventh."""


@dataclass(frozen=True, slots=True)
class HeadOutput:
    """What a head says about T frames: either ``arm`` and ``gripper``, or ``bins``."""

    arm: Tensor | None = None
    """(B, T, C, 6) in (-1, 1)."""
    gripper: Tensor | None = None
    """(B, T, C, 1) logit that the gripper opens."""
    bins: Tensor | None = None
    """(B, T, C, 7, bins) logits."""


class Mlp(nn.Module):
    """Linear layers of 1024, 512, 256 and the output, with ReLU between them."""

    def __init__(self, features: int, outputs: int, *, tanh: bool = False):
        super().__init__()
        widths = [features, 1024, 512, 256, outputs]
        layers: list[nn.Module] = []
        for index in range(4):
            layers += [nn.Linear(widths[index], widths[index + 1]), nn.ReLU()]
        layers[-1] = nn.Tanh() if tanh else nn.Identity()
        self.mlp = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        return self.mlp(features)


class ActionHead(nn.Module):
    """Base of the heads: a subclass says how features of T frames become T trunk features."""

    def __init__(self, config: VlaConfig, width: int):
        super().__init__()
        self.config = config
        self.width = width
        inner = config.inner
        if config.action_space == "discrete":
            self.bins = Mlp(inner, config.chunk * (ARM + 1) * config.bins)
        else:
            self.actions = Mlp(inner, config.chunk * ARM, tanh=True)
            self.gripper = Mlp(inner, config.chunk)
        if config.readout == "resampler":
            self.resampler = PerceiverResampler(width, depth=2, latents=config.latent)

    @property
    def feature_size(self) -> int:
        """Length of the feature vector of one frame: L * d."""
        return self.width * self.config.latent

    def read(self, tokens: Tensor) -> Tensor:
        """(N, n, d) hidden states of the tokens that are read to (N, L * d) features.

        ``action_token``: n = L already. ``pooling``: maximum over L equal spans of the n tokens.
        ``resampler``: a Perceiver with L latents. ``all``: as they are, the last of them in the last place whatever
        n is, and zeros before the first. All n tokens of a row count: rows of different length are read apart, so
        that padding never counts.

        Raises:
            PolicyError: ``all`` has no room for so many.
        """
        if self.config.readout == "resampler":
            tokens = self.resampler(tokens)
        elif self.config.readout == "pooling":
            tokens = functional.adaptive_max_pool1d(tokens.transpose(1, 2), self.config.latent).transpose(1, 2)
        elif self.config.readout == "all":
            free = self.config.latent - tokens.shape[1]
            if free < 0:
                raise PolicyError(
                    f"vla: readout=all has room for latent={self.config.latent} tokens of a frame, and one with this "
                    f"instruction has {tokens.shape[1]}; train it with policy.model.latent={tokens.shape[1]} or more"
                )
            tokens = functional.pad(tokens, (0, 0, free, 0))
        return tokens.flatten(1)

    def trunk(self, features: Tensor) -> Tensor:
        """(B, T, L * d) to (B, T, H * L); frame t is told nothing of the frames after it."""
        raise TypeError(f"{type(self).__name__} states no trunk")

    def forward(self, features: Tensor) -> HeadOutput:
        """(B, T, L * d) features of T frames, oldest first, T <= W, to what is predicted at each."""
        return self.predict(self.trunk(features))

    def last(self, features: Tensor, lengths: Tensor) -> HeadOutput:
        """The prediction at the newest of ``lengths`` (B,) frames; features are padded at the end.

        Only one frame per row goes through the output layers. T is 1 in what is returned.
        """
        trunk = self.trunk(features)
        return self.predict(trunk[torch.arange(len(trunk), device=trunk.device), lengths - 1].unsqueeze(1))

    def predict(self, trunk: Tensor) -> HeadOutput:
        """Output layers on (B, T, H * L)."""
        chunk = self.config.chunk
        if self.config.action_space == "discrete":
            return HeadOutput(bins=self.bins(trunk).unflatten(-1, (chunk, ARM + 1, self.config.bins)))
        return HeadOutput(
            arm=self.actions(trunk).unflatten(-1, (chunk, ARM)),
            gripper=self.gripper(trunk).unflatten(-1, (chunk, 1)),
        )


def xavier_(module: nn.Module) -> None:
    """Xavier-uniform weights and zero biases for all linear layers, as FC and LSTM heads start."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
