"""Actions as tokens of a language model, and as classes of a head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_bench.policies.errors import PolicyError

RESERVED = 10
"""Entries between the action tokens and the end of the vocabulary (``offset`` in the original)."""
_NAMED_SPECIALS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


@dataclass(frozen=True, slots=True)
class ActionTokens:
    """Bins at the tail of a vocabulary, highest value first (``ActionTokenizer`` of the original).

    ``np.digitize`` of a value in [low, high] over ``bins`` edges gives 1..bins; the token is ``end`` minus
    it. Decoding gives the middle between two edges, of which there are bins - 1, so that the two topmost
    tokens mean the same. An id outside the range is clipped to an end bin.
    """

    end: int
    """One past the highest action token; the token of the lowest bin is ``end - 1``."""
    bins: int = 256
    low: float = -1.0
    high: float = 1.0

    @classmethod
    def for_tokenizer(cls, tokenizer: Any, bins: int = 256, low: float = -1.0, high: float = 1.0) -> ActionTokens:
        """The last tokens before the tail that a tokenizer's special tokens may occupy.

        ``vocab_size`` does not count tokens added later (1035 of them in Kosmos-2); special tokens count by
        role, so that ``<s>`` counts as bos and as cls.
        """
        specials = sum(getattr(tokenizer, name, None) is not None for name in _NAMED_SPECIALS)
        specials += len(getattr(tokenizer, "additional_special_tokens", None) or ())
        end = tokenizer.vocab_size - specials - RESERVED
        if end - bins < 1:
            raise PolicyError(
                f"vla: a vocabulary of {tokenizer.vocab_size} tokens has no room for {bins} action tokens; "
                "use fewer bins"
            )
        return cls(end, bins, low, high)

    @property
    def begin(self) -> int:
        """One before the lowest action token."""
        return self.end - self.bins - 1

    @property
    def edges(self) -> np.ndarray:
        """(bins,) float64 edges."""
        return np.linspace(self.low, self.high, self.bins)

    def encode(self, actions: np.ndarray) -> np.ndarray:
        """(...) actions to (...) token ids, int64; values outside [low, high] are clipped."""
        clipped = np.clip(actions, float(self.low), float(self.high))
        return self.end - np.digitize(clipped, self.edges)

    def decode(self, ids: np.ndarray) -> np.ndarray:
        """(...) token ids to (...) actions, float64."""
        edges = self.edges
        middles = (edges[:-1] + edges[1:]) / 2.0
        return middles[np.clip(self.end - np.asarray(ids) - 1, 0, len(middles) - 1)]


@dataclass(frozen=True, slots=True)
class BinClassifier:
    """Equal bins between low and high, lowest first, for a head that classifies: class i is
    [low + i w, low + (i + 1) w) with w = (high - low) / bins, and decodes to its middle."""

    bins: int = 256
    low: float = -1.0
    high: float = 1.0

    def encode(self, actions: np.ndarray) -> np.ndarray:
        """(...) actions to (...) classes 0..bins-1, int64; values outside [low, high] are clipped."""
        unit = (np.asarray(actions, dtype=np.float64) - self.low) / (self.high - self.low)
        return np.clip(np.floor(unit * self.bins), 0, self.bins - 1).astype(np.int64)

    def decode(self, classes: np.ndarray) -> np.ndarray:
        """(...) classes to (...) actions, float64."""
        return self.low + (np.asarray(classes, dtype=np.float64) + 0.5) * (self.high - self.low) / self.bins
