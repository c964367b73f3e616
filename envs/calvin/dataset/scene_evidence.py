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
SCENES = ("A", "B", "C", "D")
GAP = 15
"""Frames between two movements of one fixture."""
REACH = 0.25
"""A tool farther than this from every place a fixture could be did not move it; metres."""
SPREAD = 0.05
"""How far from a handle's middle it is held, metres (one standard deviation)."""
LONGEST = 3.0
"""No movement speaks more strongly than this against a scene: blocks and elbows move fixtures too."""
FEWEST = 2
"""Movements from which anything is concluded."""
CLEAR = 4.0
"""Difference of evidence (logarithm of the odds) that settles the matter."""
TIED = 1.0
"""Scenes as near to the best one as this cannot be told from it."""


@dataclass
class SceneEvidence:
    """Movements of fixtures, frame by frame: which fixture, and how strongly each scene is spoken against."""

    frames: list[np.ndarray] = field(default_factory=list)
    fixtures: list[np.ndarray] = field(default_factory=list)
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
            moved &= distance.min(1) < REACH
            self.frames.append(facts.index[1:][moved])
            self.fixtures.append(np.full(int(moved.sum()), place))
            self.against.append(np.minimum(distance[moved] ** 2 / (2 * SPREAD**2), LONGEST))

    def _movements(self, recordings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Recording (m,) and evidence against each scene (m, 4) of each movement: frames that follow each other."""
        frames, fixtures = np.concatenate(self.frames), np.concatenate(self.fixtures)
        order = np.lexsort((frames, fixtures))
        frames, fixtures, against = frames[order], fixtures[order], np.concatenate(self.against)[order]
        recording = np.searchsorted(recordings[:, 0], frames, side="right") - 1
        anew = (np.diff(frames) > GAP) | (np.diff(fixtures) != 0) | (np.diff(recording) != 0)
        begins = np.concatenate([[0], np.flatnonzero(anew) + 1])
        counts = np.diff(np.append(begins, len(frames)))
        return recording[begins], np.add.reduceat(against, begins, axis=0) / counts[:, None]

    def findings(self, dataset: CalvinDataset) -> Iterator[Finding]:
        """Scenes whose recordings' movements speak for another, all together or one by one."""
        if not any(map(len, self.frames)):
            return
        recordings = dataset.recordings[np.argsort(dataset.recordings[:, 0])]
        recording, against = self._movements(recordings)
        labels = np.array([dataset.scene_of(int(first)) or "" for first in recordings[:, 0]])[recording]
        for label in sorted(set(labels) & set(SCENES)):
            mine, place = labels == label, SCENES.index(label)
            whole = against[mine].sum(0)
            wrong: dict[str, list[tuple[int, int]]] = {}
            if mine.sum() >= FEWEST and whole[place] - whole.min() > CLEAR:
                # the label is wrong on the whole: all recordings but those that speak for it
                for each in np.unique(recording[mine]):
                    own = against[recording == each].sum(0)
                    if own[place] - own.min() > TIED / 2:
                        wrong.setdefault(_best(whole), []).append(tuple(recordings[each].tolist()))
            else:
                for each in np.unique(recording[mine]):
                    own = against[recording == each].sum(0)
                    if (recording == each).sum() >= FEWEST and own[place] - own.min() > CLEAR:
                        wrong.setdefault(_best(own), []).append(tuple(recordings[each].tolist()))
            for best, where in wrong.items():
                text = f"the set says {label}, but fixtures moved when the arm was where {best} has them; recordings"
                yield Finding("scene", text, tuple(where))


def _best(against: np.ndarray) -> str:
    return " or ".join(name for name, each in zip(SCENES, against, strict=True) if each < against.min() + TIED)
