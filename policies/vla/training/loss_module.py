"""The network and its losses as one module; what a label counts; losses on held-out data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vla_bench.policies.vla.actions.tokenizer import ActionTokens
from vla_bench.policies.vla.model import VlaModel
from vla_bench.policies.vla.training.config import TrainingConfig
from vla_bench.policies.vla.training.conversations import ConversationBatch, conversation_loss
from vla_bench.policies.vla.training.items import WindowItems
from vla_bench.policies.vla.training.processes import Processes
from vla_bench.policies.vla.training.reading import share
from vla_bench.policies.vla.training.sampling import spread
from vla_bench.policies.vla.training.step import TrainingBatch, labels_in, training_losses


class Losses(nn.Module):
    """The network and its losses as one module, which is what several processes share."""

    def __init__(self, model: VlaModel, tokens: ActionTokens | None, config: TrainingConfig):
        super().__init__()
        self.model = model
        self._tokens = tokens
        self._config = config

    def forward(
        self, batch: TrainingBatch, conversations: ConversationBatch | None = None
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        """Losses of the robot's batch by name, and of the conversations."""
        config = self._config
        losses = training_losses(
            self.model,
            batch,
            tokens=self._tokens,
            keep_padding=config.compat == "released",
            arm_loss=config.arm_loss,
            beta=config.beta,
        )
        return losses, None if conversations is None else conversation_loss(self.model, conversations)


def label_weights(
    counts: Sequence[Sequence[int]], totals: Sequence[Sequence[float]], number: int, *, processes: int, released: bool
) -> tuple[float, float]:
    """What this process's mean losses of one batch count in the step's gradient: the robot's, the conversations'.

    Every label weighs the same, whichever batch and process it is in: as if all were one batch. The released
    training takes the mean of its batches' means instead.

    Args:
        counts: labels of this process, by batch, of both kinds.
        totals: the same of all processes together.
        number: of the batch.
        processes: how many there are.
        released: whether to weigh as the released training does.
    """
    weights = []
    for kind in (0, 1):
        everything = totals[number][kind] * len(counts) if released else sum(pair[kind] for pair in totals)
        weights.append(counts[number][kind] * processes / everything if everything else 0.0)
    return weights[0], weights[1]


def validation_losses(
    module: nn.Module, items: WindowItems, config: TrainingConfig, processes: Processes
) -> dict[str, float]:
    """Mean losses of windows spread over held-out data, every label alike, of all processes together."""
    chosen = spread(len(items), config.validation_batches * config.batch)
    sums: dict[str, float] = {}
    count = 0
    with torch.no_grad():
        for start in range(0, len(chosen), config.batch):
            own = share(chosen[start : start + config.batch], processes.rank, processes.count)
            if not own:
                continue
            batch = items.batch(own, [None] * len(own)).to(processes.device)
            with processes.autocast():
                losses = processes.bare(module)(batch)[0]
            labels = labels_in(batch)
            count += labels
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + float(value) * labels
    total = processes.sum([float(count), *sums.values()])
    return dict(zip(sums, (each / total[0] for each in total[1:]), strict=True))
