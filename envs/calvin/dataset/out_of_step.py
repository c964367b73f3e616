"""Whether images and states of a data set are of the same time.

When the arm speeds up, its picture changes faster in the same frame. So the *changes* of the two, from frame to frame,
go together without a shift, and hardly at all with one; speeds themselves are too smooth to tell one frame from the
next. Where they go together better some frames earlier or later, images and states were put together wrongly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from vla_bench.envs.calvin.dataset.findings import Finding
from vla_bench.envs.calvin.dataset.frame_facts import FrameFacts

FARTHEST = 4
"""Shifts up to this many frames are looked for."""
LONGEST = 1024
"""Frames that are judged together at most, so that a shift can be placed."""
FEWEST = 50
"""Frames below which a stretch alone says nothing."""
CLEAR, BETTER = 0.5, 0.35
"""Correlation that a shift of one stretch must reach, and by how much it must be better than none. Over 98 recordings
of the expert whose images are in step none came near: without a shift their median is 0.57."""
POOLED_CLEAR, POOLED_BETTER = 0.2, 0.15
"""The same over the whole set, where chance has gone: in step 0.54, one frame off 0.14."""
POOLED_FEWEST = 300
SLOW, DARK = 1e-3, 0.3
"""Metres and grey levels added before logarithms are taken, so that standing still is no infinity."""


@dataclass
class Steps:
    """Collects stretches of recordings and judges each, and all of them together."""

    last: int = -2
    recording: int = -1
    """Last frame of the recording being collected."""
    motion: list[np.ndarray] = field(default_factory=list)
    change: list[np.ndarray] = field(default_factory=list)
    first: int = 0
    shifted: list[tuple[int, int, int]] = field(default_factory=list)
    """First and last frame and shift of stretches that fit better with one."""
    sums: np.ndarray = field(default_factory=lambda: np.zeros((2 * FARTHEST + 1, 2, 4)))
    """By shift and camera: sum of products, of squares of either, and frames, over all stretches."""

    def add(self, facts: FrameFacts, recording: int) -> None:
        """Takes in a block of the recording that ends at ``recording``; one that follows the one before joins it."""
        for part in np.split(np.arange(len(facts.index)), np.flatnonzero(np.diff(facts.index) != 1) + 1):
            if not len(part):
                continue
            follows = facts.index[part[0]] == self.last + 1 and recording == self.recording
            if not follows or sum(map(len, self.motion)) >= LONGEST:
                self._judge()
                self.recording = recording
                self.first = int(facts.index[part[0]])
            self.motion.append(facts.motion[part])
            self.change.append(facts.change[part])
            self.last = int(facts.index[part[-1]])

    def _judge(self) -> None:
        if self.motion:
            sums = products(np.concatenate(self.motion), np.concatenate(self.change))
            self.sums += sums
            shift = best_shift(sums)
            if shift:
                self.shifted.append((self.first, self.last, shift))
        self.motion, self.change = [], []

    def findings(self) -> Iterator[Finding]:
        """One for each shift, and one when the whole set is shifted."""
        self._judge()
        whole = best_shift(self.sums, POOLED_FEWEST, POOLED_CLEAR, POOLED_BETTER)
        if whole:
            yield Finding("out of step", f"over the whole set {_words(whole)}")
        for shift in sorted({each[2] for each in self.shifted} - {whole}):
            where = tuple((first, last) for first, last, found in self.shifted if found == shift)
            yield Finding("out of step", f"{_words(shift)};", where)


def _words(shift: int) -> str:
    side = "later" if shift > 0 else "earlier"
    return f"the images fit the states better {abs(shift)} frame{'s' * (abs(shift) > 1)} {side}"


def products(motion: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Sums (shifts, 2, 4) from which correlations follow; they add up over stretches.

    Args:
        motion: (n,) how far the arm went since the frame before; NaN where unknown.
        change: (n, 2) how much each camera's image changed; NaN where unknown.
    """
    speed, pictures = np.diff(np.log(motion + SLOW)), np.diff(np.log(change + DARK), axis=0)
    found = np.zeros((2 * FARTHEST + 1, change.shape[1], 4))
    for place, shift in enumerate(range(-FARTHEST, FARTHEST + 1)):
        length = len(speed) - abs(shift)
        if length < 2:
            continue
        first, second = speed[max(0, -shift) :][:length], pictures[max(0, shift) :][:length]
        for camera in range(change.shape[1]):
            known = np.isfinite(first) & np.isfinite(second[:, camera])
            if known.sum() > 1:
                a, b = first[known], second[known, camera]
                a, b = a - a.mean(), b - b.mean()
                found[place, camera] = (a * b).sum(), (a * a).sum(), (b * b).sum(), known.sum()
    return found


def best_shift(sums: np.ndarray, fewest: int = FEWEST, clear: float = CLEAR, better: float = BETTER) -> int:
    """By how many frames the images run behind the states; 0 when they do not, or when it cannot be told."""
    product, first, second, count = np.moveaxis(sums, -1, 0)
    scale = np.sqrt(first * second)
    known = (count >= fewest) & (scale > 1e-12)
    fit = np.where(known, product / np.where(known, scale, 1), 0.0).max(1)
    best = int(fit.argmax())
    return best - FARTHEST if fit[best] > clear and fit[best] > fit[FARTHEST] + better else 0
