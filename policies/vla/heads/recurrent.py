"""A head that remembers by an LSTM."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.func import functional_call

from vla_bench.policies.vla.config import VlaConfig
from vla_bench.policies.vla.heads.base import ActionHead, xavier_


@cache
def bfloat16_on_cpu() -> bool:
    """Whether this processor takes an LSTM to bfloat16 under autocast: oneDNN refuses to without AVX512_BF16."""
    with torch.device("cpu"), torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        try:
            nn.LSTM(8, 8)(torch.zeros(1, 1, 8))
        except RuntimeError:
            return False
    return True


class LstmHead(ActionHead):
    """Layers (four in the released models) over at most W frames (``LSTMDecoder`` of the original).

    The state always starts at zero with the oldest frame that is remembered: what the original does once
    its window is full, and what its carried state amounts to before.
    """

    def __init__(self, config: VlaConfig, width: int):
        super().__init__(config, width)
        self.rnn = nn.LSTM(
            self.feature_size,
            config.inner,
            num_layers=config.lstm_layers,
            dropout=config.lstm_dropout,
            batch_first=True,
        )
        xavier_(self)

    def trunk(self, features: Tensor) -> Tensor:
        if features.device.type != "cpu" or not torch.is_autocast_enabled("cpu") or bfloat16_on_cpu():
            return self.rnn(features)[0]
        whole = {name: weight.float() for name, weight in self.rnn.named_parameters()}
        with torch.autocast("cpu", enabled=False):
            found = functional_call(self.rnn, whole, (features.float(),))[0]
        return found.to(torch.get_autocast_dtype("cpu"))
