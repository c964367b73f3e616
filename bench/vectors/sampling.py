"""Which frames are looked at: a sample stratified over what episodes are, drawn with a seed.

An *episode* here is what frames have in common: an annotation of a data set, or a subtask of a result set. Strata are
what the chosen properties tell apart. Every stratum gets its share of the samples (largest remainders; one at least
while there are as many samples as strata), spread over as many of its episodes as there are, and within an episode over
equal spans of it, at random in each.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vla_bench.bench.errors import ConfigError, suggestion

PROPERTIES = ("task", "scene", "length", "path", "success")
Allocation = Literal["proportional", "equal"]


@dataclass(frozen=True, slots=True)
class Episode:
    """Frames that belong together."""

    name: str
    """Unique within its source."""
    first: int
    """Its first frame."""
    length: int
    """Frames that may be chosen."""
    task: str
    instruction: str
    scene: str
    path: str = ""
    """Where the tool goes, e.g. ``left up``; empty when it was not asked for."""
    success: bool | None = None
    """Whether its subtask was solved; None when nothing says so."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One frame, and why it."""

    episode: Episode
    frame: int
    """Its number in the source: of the data set, or of the steps of the subtask."""
    stratum: str
    reason: str

    @property
    def position(self) -> float:
        """How far the episode has come, 0 to 1."""
        return (self.frame - self.episode.first) / max(self.episode.length - 1, 1)


@dataclass(frozen=True, slots=True)
class Stratum:
    """One kind of episode."""

    name: str
    episodes: int
    share: float
    """Of the source's episodes."""
    samples: int
    chosen: int
    """Episodes that samples are taken of."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is looked at."""

    samples: tuple[Sample, ...]
    strata: tuple[Stratum, ...]
    by: tuple[str, ...]
    seed: int
    allocation: Allocation


def strata_of(text: str, *, success: bool) -> tuple[str, ...]:
    """``task,scene`` as names. ConfigError: an unknown one, or ``success`` where nothing says it."""
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for name in names:
        if name not in PROPERTIES:
            raise ConfigError(
                f"--stratify {name}: frames are told apart by {', '.join(PROPERTIES)}.{suggestion(name, PROPERTIES)}"
            )
    if "success" in names and not success:
        raise ConfigError("--stratify success: a data set does not say what succeeded; take frames of --episodes")
    return names


def length_bounds(lengths: Sequence[int]) -> tuple[float, float]:
    """Where ``short`` ends and ``long`` begins: the thirds of the lengths."""
    ordered = sorted(lengths)
    return ordered[len(ordered) // 3], ordered[2 * len(ordered) // 3]


def make_plan(
    episodes: Sequence[Episode], samples: int, by: Sequence[str], seed: int = 0, allocation: Allocation = "proportional"
) -> Plan:
    """Chooses frames.

    Raises:
        ConfigError: there are fewer frames than samples, or no episode.
    """
    if samples < 1:
        raise ConfigError(f"--samples {samples}: at least 1")
    there = sum(each.length for each in episodes)
    if samples > there:
        raise ConfigError(f"--samples {samples}: the source has {there} frames in {len(episodes)} episodes")
    low, high = length_bounds([each.length for each in episodes])

    def of(episode: Episode) -> str:
        values = {
            "task": episode.task,
            "scene": episode.scene,
            "length": "short" if episode.length < low else "long" if episode.length >= high else "medium",
            "path": episode.path,
            "success": {True: "solved", False: "failed", None: "unknown"}[episode.success],
        }
        return " · ".join(values[name] for name in by) or "all"

    groups: dict[str, list[Episode]] = {}
    for episode in episodes:
        groups.setdefault(of(episode), []).append(episode)
    room = {name: sum(each.length for each in members) for name, members in groups.items()}
    weights = {name: float(len(members)) if allocation == "proportional" else 1.0 for name, members in groups.items()}
    counts = allocate(weights, samples, room)
    chosen: list[Sample] = []
    strata: list[Stratum] = []
    for name in sorted(groups):
        rng = random.Random(f"{seed} {name}")
        drawn = _draw(groups[name], counts[name], rng)
        for episode, frames in drawn:
            many = "one frame" if len(frames) == 1 else f"{len(frames)} frames in equal spans"
            reason = f"{many} of one of {len(drawn)} drawn from {len(groups[name])} episodes: {name}"
            chosen += [Sample(episode, frame, name, reason) for frame in frames]
        share = len(groups[name]) / len(episodes)
        strata.append(Stratum(name, len(groups[name]), share, counts[name], len(drawn)))
    order = {episode.name: number for number, episode in enumerate(episodes)}
    chosen.sort(key=lambda sample: (order[sample.episode.name], sample.frame))
    return Plan(tuple(chosen), tuple(strata), tuple(by), seed, allocation)


def allocate(weights: Mapping[str, float], samples: int, room: Mapping[str, int]) -> dict[str, int]:
    """Whole numbers near the shares of ``weights`` that sum to ``samples``, none above its room."""
    counts = dict.fromkeys(weights, 0)
    if samples >= len(weights):
        counts = dict.fromkeys(weights, 1)
    while (left := samples - sum(counts.values())) > 0:
        open_ = {name: weight for name, weight in weights.items() if counts[name] < room[name]}
        total = sum(open_.values())
        wanted = {name: samples * weight / total - counts[name] for name, weight in open_.items()}
        # Largest remainders; a stratum that has no room left gives its share to the others.
        order = sorted(open_, key=lambda name: (-wanted[name], name))
        for name in order[:left]:
            whole = max(1, min(int(wanted[name]), room[name] - counts[name], left))
            counts[name] += whole
            left -= whole
            if left <= 0:
                break
    return counts


def _draw(members: Sequence[Episode], count: int, rng: random.Random) -> list[tuple[Episode, list[int]]]:
    """Episodes at random, and frames of each; as even as their lengths let them be."""
    order = rng.sample(list(members), len(members))
    frames = Counter[str]()
    left = count
    while left:
        for episode in order:
            if left and frames[episode.name] < episode.length:
                frames[episode.name] += 1
                left -= 1
    return [(each, _spans(each, frames[each.name], rng)) for each in order if frames[each.name]]


def _spans(episode: Episode, count: int, rng: random.Random) -> list[int]:
    """``count`` frames, one of each of as many equal spans."""
    edges = [episode.length * number // count for number in range(count + 1)]
    return [episode.first + rng.randrange(low, high) for low, high in itertools.pairwise(edges)]


def likeness(plan: Plan, episodes: Sequence[Episode], name: Literal["task", "scene"]) -> float:
    """Largest difference, 0 to 1, between a value's share of the samples and of the source's episodes."""
    there = Counter(getattr(each, name) for each in episodes)
    taken = Counter(getattr(each.episode, name) for each in plan.samples)
    return max(abs(taken[value] / len(plan.samples) - there[value] / len(episodes)) for value in there)
