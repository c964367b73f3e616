"""Chunks of actions: making them from an episode, and executing overlapping ones."""

from __future__ import annotations

from collections import deque

import numpy as np


def sliding_chunks(actions: np.ndarray, window: int, chunk: int) -> np.ndarray:
    """(..., W + C - 1, A) actions of a window and what follows to (..., W, C, A): chunk t starts at frame
    t."""
    steps = actions.shape[-2]
    if steps != window + chunk - 1:
        raise ValueError(f"a window of {window} with chunks of {chunk} has {window + chunk - 1} actions, not {steps}")
    index = np.arange(window)[:, None] + np.arange(chunk)
    return actions[..., index, :]


class TemporalEnsemble:
    """Averages what all chunks that cover a step said about it (ACT, arXiv 2304.13705, section IV.A).

    The i-th of them, oldest first, weighs exp(-decay * i): with decay > 0 older predictions weigh more.
    """

    def __init__(self, decay: float):
        self.decay = decay
        self._chunks: deque[tuple[int, np.ndarray]] = deque()
        self._step = 0

    def __call__(self, chunk: np.ndarray, execute: int = 1) -> np.ndarray:
        """Takes the (C, A) chunk predicted now; returns the (execute, A) actions until the next
        prediction."""
        self._chunks.append((self._step, chunk))
        steps = [self._average(self._step + ahead) for ahead in range(execute)]
        self._step += execute
        while self._chunks and self._chunks[0][0] + len(self._chunks[0][1]) <= self._step:
            self._chunks.popleft()
        return np.stack(steps)

    def _average(self, step: int) -> np.ndarray:
        said = [chunk[step - start] for start, chunk in self._chunks if step - start < len(chunk)]
        weights = np.exp(-self.decay * np.arange(len(said)))
        return np.average(np.stack(said), axis=0, weights=weights).astype(said[0].dtype)
