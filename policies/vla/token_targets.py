"""Training rows of a policy that generates action tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from policies.vla.actions.tokenizer import ActionTokens
from policies.vla.losses import IGNORE


def token_targets(
    prompt: Sequence[int],
    chunks: np.ndarray,
    chunk_mask: np.ndarray,
    tokens: ActionTokens,
    *,
    predict_stop: bool = True,
    attend_actions: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, labels and attention mask, each (W, T), of W frames that share a prompt.

    A row is the prompt less its stop token, the C * 7 tokens of its chunk, and the stop token. Labels are
    kept for the actions and the stop token; for a chunk that reaches beyond the episode, only for the
    actions within it.

    Args:
        prompt: ids of the question prompt, stop token last.
        chunks: (W, C, 7) actions in the range of ``tokens``, the gripper at its ends.
        chunk_mask: (W, C), 0 beyond the end of the episode.
        attend_actions: False hides the action tokens from attention, as the released training on OXE does.
    """
    window, chunk, size = chunks.shape
    actions = torch.from_numpy(tokens.encode(chunks.reshape(window, chunk * size)))
    head, stop = torch.tensor(prompt[:-1]), torch.tensor(prompt[-1:])
    ids = torch.cat([head.expand(window, -1), actions, stop.expand(window, -1)], dim=1)
    labels = torch.full_like(ids, IGNORE)
    kept = torch.from_numpy(np.repeat(np.asarray(chunk_mask, dtype=bool), size, axis=1))
    labels[:, len(head) : -1] = torch.where(kept, actions, IGNORE)
    if predict_stop:
        labels[:, -1] = torch.where(kept.all(dim=1), stop, IGNORE)
    mask = torch.ones_like(ids)
    if not attend_actions:
        mask[:, len(head) : -1] = 0
    return ids, labels, mask
