"""Which scene a recording is from, by what moved when the arm was where.

The tables differ in where their button, switch, drawer and sliding door are. Whenever one of them moves, the arm is
usually at it, so the tool's position at that moment speaks for the scenes that have the fixture there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from vla_bench.envs.calvin.dataset.findings import Finding
from vla_bench.envs.calvin.dataset.frame_facts import FrameFacts
from vla_bench.envs.calvin.dataset.reader import CalvinDataset

FIXTURES = {
    "slide": (0, 0.004, {"A": 0.04, "B": 0.228, "C": 0.20, "D": 0.04}),
    "drawer": (1, 0.004, {"A": 0.10, "B": 0.18, "C": 0.10, "D": 0.18}),
    "button": (2, 0.002, {"A": -0.28, "B": 0.28, "C": -0.12, "D": -0.12}),
    "switch": (3, 0.004, {"A": 0.30, "B": -0.32, "C": -0.32, "D": 0.30}),
}
"""Place in ``scene_obs``, way in a frame that counts as moving (metres), x of the handle by scene (metres, world;
the door's at slide 0, from where it goes left as it opens). Values: the scenes of calvin_env 797142c."""
HEIGHT_OF_REACH = 0.25
"""A tool farther than this from every place a fixture could be did not move it; metres."""
SPREAD = 0.05
"""How far from a handle's middle it is held, metres (one standard deviation)."""
LONGEST = 3.0
"""No event speaks more strongly than this against a scene: blocks move fixtures too."""
FEWEST = 4
"""Events of at least this many frames."""
CLEAR = 12.0
"""Difference of evidence that settles the matter."""


@dataclass
class SceneEvidence:
    """Events: frame, and how strongly each scene is spoken against."""

    frames: list[np.ndarray] = field(default_factory=list)
    against: list[np.ndarray] = field(default_factory=list)

    def add(self, facts: FrameFacts) -> None:
        """Takes in a block."""
        if len(facts.index) < 2:
            return
        neighbours = np.diff(facts.index) == 1
        tool = facts.robot_obs[1:, 0]
        for place, least, handles in FIXTURES.values():
            joint = facts.scene_obs[:, place]
            moved = neighbours & (np.abs(np.diff(joint)) > least)
            if not moved.any():
                continue
            handle = np.array(list(handles.values()))[None] - (joint[1:, None] if place == 0 else 0.0)
            distance = np.abs(tool[:, None] - handle)
            moved &= distance.min(1) < HEIGHT_OF_REACH
            self.frames.append(facts.index[1:][moved])
            self.against.append(np.minimum(distance[moved] ** 2 / (2 * SPREAD**2), LONGEST))

    def findings(self, dataset: CalvinDataset) -> Iterator[Finding]:
        """Ranges of one scene whose events speak for another."""
        if not self.frames:
            return
        frames, against = np.concatenate(self.frames), np.concatenate(self.against)
        names = np.array(list(next(iter(FIXTURES.values()))[2]))
        labels = np.array([dataset.scene_of(int(frame)) or "" for frame in frames])
        recording = np.searchsorted(np.sort(dataset.recordings[:, 0]), frames, side="right")
        wrong: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for each in np.unique(recording):
            of_it = recording == each
            label = labels[of_it][0]
            total = against[of_it].sum(0)
            best = str(names[total.argmin()])
            if label in names and of_it.sum() >= FEWEST and total[names == label][0] - total.min() > CLEAR:
                first, last = dataset.recordings[np.argsort(dataset.recordings[:, 0])][each - 1].tolist()
                wrong.setdefault((label, best), []).append((first, last))
        for (label, best), where in wrong.items():
            text = f"the set says {label}, but fixtures moved when the arm was where {best} has them; recordings"
            yield Finding("scene", text, tuple(where))
