"""The network and its losses as one module; losses on held-out data."""

from __future__ import annotations

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
from vla_bench.policies.vla.training.step import TrainingBatch, training_losses
from vla_bench.policies.vla.training.weighing import KINDS, LABELS, counts_in, shares_of


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


def validation_losses(
    module: nn.Module, items: WindowItems, config: TrainingConfig, processes: Processes
) -> dict[str, float]:
    """Mean losses of windows spread over held-out data, every label alike, of all processes together."""
    chosen = spread(len(items), config.validation_batches * config.batch)
    model = processes.bare(module).model
    shares = shares_of(model)
    sums: dict[str, float] = {}
    held: dict[str, float] = {}
    with torch.no_grad():
        for start in range(0, len(chosen), config.batch):
            own = share(chosen[start : start + config.batch], processes.rank, processes.count)
            idle = not own
            if idle and not processes.sharded:
                continue
            own = own or chosen[start : start + 1]  # divided layers need every process, also one with nothing to add
            batch = items.batch(own, [None] * len(own)).to(processes.device)
            with processes.autocast():
                losses = processes.bare(module)(batch)[0]
            counts = dict(zip(KINDS, counts_in(batch, model), strict=True))
            losses["total"] = losses["total"] - sum(shares[name] * losses[name] for name in shares if name in losses)
            for name, value in losses.items():
                count = 0 if idle else counts.get(name, counts[LABELS])
                sums[name] = sums.get(name, 0.0) + float(value) * count
                held[name] = held.get(name, 0.0) + count
    total = processes.sum([*sums.values(), *held.values()])
    means = {name: total[k] / max(total[len(sums) + k], 1.0) for k, name in enumerate(sums)}
    return means | {"total": means["total"] + sum(shares[name] * means[name] for name in shares if name in means)}
