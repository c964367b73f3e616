"""SimplerEnv's numbers as a score: success is the unweighted mean over variants, over tasks, over rows.

``simpler_env/utils/metrics.py`` of SimplerEnv 4ab7178 (arXiv 2405.05941, appendix). Opening and closing drawers
are two rows, and together count as one in the average, as in the charts of RoboVLMs and Octo.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vla_bench.bench.protocol import EpisodeRecord
from vla_bench.bench.score import Score
from vla_bench.envs.simpler.grids import Trial

DRAWERS = ("google_robot_open_drawer", "google_robot_close_drawer")
BOTH_DRAWERS = "google_robot_open_and_close_drawer"
AVERAGE = "average"
CAPTION = "Partial: grasped; of the apple task, drawer opened."
PARTIAL = ("is_src_obj_grasped", "grasped", "is_drawer_open")
"""The partial success that is reported beside success, where a rule has one of these."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an episode counts."""

    episode: str
    row: str
    """Of the published tables."""
    task: str
    variant: str
    counted: bool
    """Whether the mean over variants has it."""


def score_of_trials(trials: Iterable[Trial]) -> Score:
    """The score of planned trials."""
    return _score(
        [
            Place(trial.name, trial.task.reported, trial.task.name, trial.variant.name, trial.variant.counted)
            for trial in trials
        ]
    )


def score_of_records(header: Mapping[str, Any], records: Sequence[EpisodeRecord]) -> Score:
    """The score of a journal from before scores were written down, by the names in it alone.

    The rules are those of the names when such journals were written, and are not to follow later ones.
    """
    del header
    return _score([_place(record) for record in records])


def _place(record: EpisodeRecord) -> Place:
    task = record.episode.partition(f"-{record.scene}-")[0]
    row = task
    for pattern, name in (
        (r"google_robot_pick_\w+_coke_can", "google_robot_pick_coke_can"),
        (r"google_robot_move_near_v\d", "google_robot_move_near"),
        (r"google_robot_open_\w+_drawer", "google_robot_open_drawer"),
        (r"google_robot_close_\w+_drawer", "google_robot_close_drawer"),
    ):
        if re.fullmatch(pattern, task):
            row = name
    return Place(record.episode, row, task, record.scene, not record.scene.startswith("camera_"))


def _score(places: Sequence[Place]) -> Score:
    rows: dict[str, dict[str, dict[str, list[Place]]]] = {}
    for place in places:
        variants = rows.setdefault(place.row, {}).setdefault(place.task, {})
        variants.setdefault(place.variant, []).append(place)
    made = {
        row: Score(
            row,
            "alike",
            tuple(
                Score(
                    task,
                    "alike",
                    tuple(
                        Score(
                            variant,
                            episodes=tuple(place.episode for place in found),
                            counts=found[0].counted,
                            row=False,
                        )
                        for variant, found in variants.items()
                    ),
                    row=False,
                )
                for task, variants in tasks.items()
            ),
        )
        for row, tasks in rows.items()
    }
    parts: list[Score] = []
    both = all(name in made for name in DRAWERS)
    for name, score in made.items():
        if both and name in DRAWERS:
            if not any(part.name == BOTH_DRAWERS for part in parts):
                parts.append(Score(BOTH_DRAWERS, "alike", tuple(made[each] for each in rows if each in DRAWERS)))
        else:
            parts.append(score)
    return Score(AVERAGE, "alike", tuple(parts), partial=PARTIAL, caption=CAPTION)
