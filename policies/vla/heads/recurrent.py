"""A head that remembers by an LSTM."""

from __future__ import annotations

from torch import Tensor, nn

from vla_bench.policies.vla.config import VlaConfig
from vla_bench.policies.vla.heads.base import ActionHead, xavier_


class LstmHead(ActionHead):
    """Layers (four in the released models) over at most W frames (``LSTMDecoder`` of the original).

    The state always starts at zero with the oldest frame that is remembered: what the original does once
    its window is full, and what its carried state amounts to before.
    """

    def __init__(self, config: VlaConfig, width: int):
        super().__init__(config, width)
        self.rnn = nn.LSTM(
            self.feature_size,
            config.hidden * config.latent,
            num_layers=config.lstm_layers,
            dropout=config.lstm_dropout,
            batch_first=True,
        )
        xavier_(self)

    def trunk(self, features: Tensor) -> Tensor:
        return self.rnn(features)[0]
