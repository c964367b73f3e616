"""A head without memory: every frame for itself."""

from __future__ import annotations

from torch import Tensor, nn

from vla_bench.policies.vla.config import VlaConfig
from vla_bench.policies.vla.heads.base import ActionHead, xavier_


class FcHead(ActionHead):
    """L * d, halved, then H * L (``FCDecoder`` of the original)."""

    def __init__(self, config: VlaConfig, width: int):
        super().__init__(config, width)
        size = self.feature_size
        self.mlp = nn.Sequential(nn.Linear(size, size // 2), nn.ReLU(), nn.Linear(size // 2, config.inner))
        xavier_(self)

    def trunk(self, features: Tensor) -> Tensor:
        return self.mlp(features)
