"""Training rows of a policy that generates action tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from vla_bench.policies.vla.actions.tokenizer import ActionTokens
from vla_bench.policies.vla.losses import IGNORE


def token_targets(
    prompt: Sequence[int],
    chunks: np.ndarray,
    chunk_mask: np.ndarray,
    tokens: ActionTokens,
    *,
    ends_in_stop: bool = True,
    predict_stop: Literal["whole", "always", "never"] = "whole",
    attend_actions: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, labels and attention mask, each (W, T), of W frames that share a prompt.

    A row is the prompt less its stop token, the C * 7 tokens of its chunk, and the stop token. Labels are
    kept for the stop token and for the actions within the episode.

    Args:
        prompt: ids of the question prompt.
        ends_in_stop: whether the prompt's last token is a stop token, as it is where a tokenizer has one.
        chunks: (W, C, 7) actions in the range of ``tokens``, the gripper at its ends.
        chunk_mask: (W, C), 0 beyond the end of the episode.
        predict_stop: whether the stop token is a label: for chunks that are wholly within the episode (as
        in the
            released training on OXE), for all (on CALVIN), or for none.
        attend_actions: False hides the action tokens from attention, as the released training on OXE does.
    """
    window, chunk, size = chunks.shape
    actions = torch.from_numpy(tokens.encode(chunks.reshape(window, chunk * size)))
    kept = torch.from_numpy(np.repeat(np.asarray(chunk_mask, dtype=bool), size, axis=1))
    whole = torch.tensor(prompt)
    head, stop = (whole[:-1], whole[-1:]) if ends_in_stop else (whole, whole[:0])
    head, stop = head.expand(window, -1), stop.expand(window, -1)
    ids = torch.cat([head, actions, stop], dim=1)
    if predict_stop == "never":
        stop = torch.full_like(stop, IGNORE)
    elif predict_stop == "whole":
        stop = torch.where(kept.all(dim=1, keepdim=True), stop, IGNORE)
    labels = torch.cat([torch.full_like(head, IGNORE), torch.where(kept, actions, IGNORE), stop], dim=1)
    mask = torch.ones_like(ids)
    if not attend_actions:
        mask[:, head.shape[1] : head.shape[1] + actions.shape[1]] = 0
    return ids, labels, mask
