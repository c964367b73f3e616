"""What can be wrong with a data set, and where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of trouble in one place or several."""

    kind: str
    """A word of :data:`KINDS`."""
    text: str
    where: tuple[tuple[int, int], ...] = ()
    """First and last frame of each stretch, or first and last annotation where the kind says so; ascending."""
    fault: bool = True
    """Whether training on it would be wrong; else it is worth knowing."""

    @property
    def count(self) -> int:
        """How many frames (annotations) are concerned."""
        return sum(last - first + 1 for first, last in self.where)

    def places(self, most: int = 6) -> str:
        """The places in words."""
        said = [str(first) if first == last else f"{first}-{last}" for first, last in self.where[:most]]
        if len(self.where) > most:
            said.append(f"and {len(self.where) - most} more places")
        return ", ".join(said)


KINDS = {
    "index": "the index files contradict each other",
    "missing": "frames without a file",
    "unreadable": "frames that cannot be read",
    "shape": "frames of another shape than the rest",
    "not finite": "frames with numbers that are none",
    "actions": "actions[t] is not robot_obs[t + 1]",
    "relative": "rel_actions[t] does not follow from actions[t] and robot_obs[t]",
    "annotation": "annotations that cannot be",
    "across": "annotations that cross from one recording into the next",
    "unknown task": "annotations of no task of CALVIN",
    "scene": "the scene is not the one it says",
    "duplicate": "the same frame more than once",
    "still": "images that stay the same while the arm moves",
    "out of step": "images and states of different times",
    "saturated": "relative actions that were clipped, so that motion is lost",
    "size": "images of another size than CALVIN's",
    "outside": "files outside of every recording",
    "sum": "packed rows that are not what was packed",
}
"""Every kind in words."""


def stretches(indices: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Ascending indices as first and last of each uninterrupted stretch."""
    found: list[tuple[int, int]] = []
    for index in sorted(set(indices)):
        if found and index == found[-1][1] + 1:
            found[-1] = (found[-1][0], index)
        else:
            found.append((index, index))
    return tuple(found)


def faults(findings: Sequence[Finding]) -> list[Finding]:
    """Those that would make training wrong."""
    return [each for each in findings if each.fault]
