"""From a recorded episode to the recordings of a data set.

With ``commanded`` labels an episode is one recording. With ``achieved`` ones, a frame at which the arm was pushed
says where the push took it, which nobody should learn: those frames are left out, which parts the episode, and each
piece that is left is a recording of its own, with the annotations of what it shows.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vla_bench.bench.families.calvin_demonstrations.options import Labels
from vla_bench.bench.families.calvin_demonstrations.take import RecordedEpisode
from vla_bench.envs.calvin.dataset.writer import RecordedAnnotation, Recording

LEAST_STEPS = 2
"""A piece with fewer steps is left out."""


def recordings(episode: RecordedEpisode, name: str, labels: Labels) -> Iterator[Recording]:
    """The recordings of an episode, in order. May be none, when all of it was pushed."""
    if labels == "commanded":
        spans = [(0, episode.steps)]
    else:
        spans = [span for span in unpushed(episode.arrays["pushed"]) if span[1] - span[0] >= LEAST_STEPS]
    looks = len(episode.looks["robot_obs"]) if episode.looks else 0
    pieces = len(spans) + looks
    for piece, (first, last) in enumerate(spans):
        notes = {"episode": name, "piece": piece, "pieces": pieces}
        failed = [each["task"] for each in episode.subtasks if not each["success"]]
        yield _recording(episode, first, last, labels, notes | ({"failed": failed} if failed else {}))
    for number in range(looks):
        notes = {"episode": name, "piece": len(spans) + number, "pieces": pieces, "look": number}
        one = RecordedEpisode(episode.scene, (), {key: array[number] for key, array in episode.looks.items()})
        yield _recording(one, 0, one.steps, labels, notes)


def unpushed(pushed: np.ndarray) -> list[tuple[int, int]]:
    """Runs [first, last) of steps that were not pushed, given (n,) bool."""
    edges = np.flatnonzero(np.diff(np.concatenate(([True], pushed, [True])).astype(np.int8)))
    return [(int(first), int(last)) for first, last in zip(edges[::2], edges[1::2], strict=True)]


def _recording(episode: RecordedEpisode, first: int, last: int, labels: Labels, notes: dict) -> Recording:
    arrays = episode.arrays
    states, steps = slice(first, last + 1), slice(first, last)
    annotations = tuple(
        RecordedAnnotation(
            max(each["start"], first) - first, min(each["end"], last) - first, each["task"], each["instruction"]
        )
        for each in episode.subtasks
        if max(each["start"], first) < min(each["end"], last)
    )
    given = labels == "commanded"
    return Recording(
        scene=episode.scene,
        robot_obs=arrays["robot_obs"][states],
        scene_obs=arrays["scene_obs"][states],
        images={name: array[states] for name, array in arrays.items() if name.startswith("rgb_")},
        annotations=annotations,
        actions=arrays["targets"][steps] if given else None,
        rel_actions=arrays["commanded"][steps] if given else None,
        notes=notes,
    )
