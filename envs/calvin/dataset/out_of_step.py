"""Whether images and states of a data set are of the same time.

When the arm moves, its picture changes. Over a recording, how much the picture changed from frame to frame should
follow how far the arm went, best of all without a shift between the two. Where it follows better some frames earlier
or later, images and states were put together wrongly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from vla_bench.envs.calvin.dataset.findings import Finding
from vla_bench.envs.calvin.dataset.frame_facts import FrameFacts

FARTHEST = 4
"""Shifts up to this many frames are looked for."""
FEWEST = 24
"""Frames below which a stretch says nothing."""
CLEAR = 0.5
"""Correlation that a shift must reach to be believed."""
BETTER = 0.15
"""How much a shift must be better than none."""


@dataclass
class Steps:
    """Collects, stretch by stretch, how well each shift fits."""

    last: int = -2
    recording: int = -1
    """Last frame of the recording being collected."""
    motion: list[np.ndarray] = field(default_factory=list)
    change: list[np.ndarray] = field(default_factory=list)
    first: int = 0
    shifted: list[tuple[int, int, int]] = field(default_factory=list)
    """First and last frame and shift of stretches that fit better with one."""

    def add(self, facts: FrameFacts, recording: int) -> None:
        """Takes in a block of the recording that ends at ``recording``; one that follows the one before joins it."""
        for part in np.split(np.arange(len(facts.index)), np.flatnonzero(np.diff(facts.index) != 1) + 1):
            if not len(part):
                continue
            follows = facts.index[part[0]] == self.last + 1 and recording == self.recording
            if not follows or len(self.motion) > 8:
                self._judge()
                self.recording = recording
                self.first = int(facts.index[part[0]])
            self.motion.append(facts.motion[part])
            self.change.append(facts.change[part])
            self.last = int(facts.index[part[-1]])

    def _judge(self) -> None:
        if self.motion:
            motion, change = np.concatenate(self.motion), np.concatenate(self.change)
            shift = best_shift(motion, change)
            if shift:
                self.shifted.append((self.first, self.last, shift))
        self.motion, self.change = [], []

    def findings(self) -> Iterator[Finding]:
        """One for each shift."""
        self._judge()
        for shift in sorted({each[2] for each in self.shifted}):
            where = tuple((first, last) for first, last, found in self.shifted if found == shift)
            side = "later" if shift > 0 else "earlier"
            text = f"the images fit the states better {abs(shift)} frame{'s' * (abs(shift) > 1)} {side}"
            yield Finding("out of step", text, where)


def best_shift(motion: np.ndarray, change: np.ndarray) -> int:
    """By how many frames the images run behind the states; 0 when they do not, or when it cannot be told.

    Args:
        motion: (n,) how far the arm went since the frame before; NaN where unknown.
        change: (n, 2) how much each camera's image changed; NaN where unknown.
    """
    scores = {shift: _fit(motion, change, shift) for shift in range(-FARTHEST, FARTHEST + 1)}
    best = max(scores, key=lambda shift: (scores[shift], -abs(shift)))
    return best if scores[best] > CLEAR and scores[best] > scores[0] + BETTER else 0


def _fit(motion: np.ndarray, change: np.ndarray, shift: int) -> float:
    """Correlation, of the better camera, of the arm's way with the image's change ``shift`` frames later."""
    length = len(motion) - abs(shift)
    if length < FEWEST:
        return 0.0
    way = motion[max(0, -shift) :][:length]
    return max(_correlation(way, change[max(0, shift) :][:length, camera]) for camera in range(change.shape[1]))


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    known = np.isfinite(first) & np.isfinite(second)
    if known.sum() < FEWEST:
        return 0.0
    a, b = np.sqrt(first[known]), np.sqrt(second[known])  # large steps do not drown the others
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / scale if scale > 1e-12 else 0.0
