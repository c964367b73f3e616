"""What a task is set in: scene, lighting, colours of the arm, distractors, and the photo behind it.

*Visual matching* lays a real photo behind robot and objects and repeats every trial with four
colourings of the arm; *variant aggregation* shows the simulated scene itself, changed one factor at a
time. Sources: ``scripts/*.sh`` of SimplerEnv 4ab7178.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vla_bench.envs.simpler.tasks import (
    APPLE_TASK,
    BRIDGE_TASKS,
    COKE_TASKS,
    DRAWER_TASKS,
    MOVE_NEAR_TASK,
    MOVE_NEAR_V1_TASK,
    Task,
)


@dataclass(frozen=True, slots=True)
class Variant:
    """One setting of one task."""

    name: str
    scene: str
    """Stage under ``hab2_bench_assets/stages``, or a ``dummy`` of the package's own."""
    arm: str = ""
    """Recoloured URDF of the Google Robot; empty: the default one."""
    photo: str = ""
    """Picture under ``real_inpainting`` laid behind what is simulated; empty: none. ``{station}``
    stands for the name of the place the robot was photographed from."""
    environment: str = ""
    """Another environment than the task's own."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    ray_traced: bool = False
    """Rendered by path tracing in the original."""
    counted: bool = True
    """Whether the published mean over variants has it."""


ARMS = {
    "arm_default": "",
    "arm_tabletop_1": "recolor_tabletop_visual_matching_1",
    "arm_tabletop_2": "recolor_tabletop_visual_matching_2",
    "arm_cabinet_1": "recolor_cabinet_visual_matching_1",
}
TABLE = "google_pick_coke_can_1_v4"
_PHOTO_STATION = {"station_name": "mk_station_recolor", "light_mode": "simple", "disable_bad_material": True}


def bridge(task: Task) -> tuple[Variant, ...]:
    """The one setting of the WidowX tasks."""
    if task.sink:
        return (Variant("photo", "bridge_table_1_v2", photo="bridge_sink.png"),)
    return (Variant("photo", "bridge_table_1_v1", photo="bridge_real_eval_1.png"),)


def visual_matching(task: Task) -> tuple[Variant, ...]:
    """The four colourings of the arm in front of the task's photo."""
    if task in DRAWER_TASKS or task == APPLE_TASK:
        arguments = dict(_PHOTO_STATION)
        if task == APPLE_TASK:
            arguments["model_ids"] = "baked_apple_v2"
        common: dict[str, Any] = {
            "scene": "dummy_drawer",
            "photo": "open_drawer_{station}.png",
            "arguments": arguments,
            "ray_traced": True,
        }
    elif task in COKE_TASKS:
        common = {"scene": TABLE, "photo": "google_coke_can_real_eval_1.png"}
    elif task in (MOVE_NEAR_TASK, MOVE_NEAR_V1_TASK):
        common = {"scene": TABLE, "photo": "google_move_near_real_eval_1.png"}
    else:
        return bridge(task)
    return tuple(Variant(name, arm=arm, **common) for name, arm in ARMS.items())


def variant_aggregation(task: Task) -> tuple[Variant, ...]:
    """The changed scenes of a Google Robot task, cameras last (they are run, not counted).

    ValueError for a WidowX task: there are no variants of those.
    """
    if task in BRIDGE_TASKS:
        raise ValueError(f"{task.name} has no variants; variant aggregation is for the Google Robot")
    if task in COKE_TASKS:
        crowd = "GraspSingleOpenedCokeCanDistractorInScene-v0"
        return (
            Variant("base", TABLE),
            *_backgrounds_and_tables(),
            Variant("lighting_darker", TABLE, arguments={"slightly_darker_lighting": True}),
            Variant("lighting_brighter", TABLE, arguments={"slightly_brighter_lighting": True}),
            Variant("distractors_less", TABLE, environment=crowd),
            Variant("distractors_more", TABLE, environment=crowd, arguments={"distractor_config": "more"}),
            *_cameras("GraspSingleOpenedCokeCanAltGoogleCamera"),
        )
    if task in (MOVE_NEAR_TASK, MOVE_NEAR_V1_TASK):
        plain = "MoveNearGoogleInScene-v0"
        moved = (
            Variant("base", TABLE),
            Variant("no_distractor", TABLE, arguments={"no_distractor": True}),
            *_backgrounds_and_tables(),
            Variant("lighting_darker", TABLE, arguments={"slightly_darker_lighting": True}),
            Variant("lighting_brighter", TABLE, arguments={"slightly_brighter_lighting": True}),
        )
        variants = tuple(Variant(each.name, each.scene, environment=plain, arguments=each.arguments) for each in moved)
        return (*variants, *_cameras("MoveNearAltGoogleCamera"))
    fruit = {"model_ids": "apple"} if task == APPLE_TASK else {}
    changes = (
        ("base", "frl_apartment_stage_simple", {}),
        ("background_1", "modern_bedroom_no_roof", {}),
        ("background_2", "modern_office_no_roof", {}),
        ("lighting_brighter", "frl_apartment_stage_simple", {"light_mode": "brighter"}),
        ("lighting_darker", "frl_apartment_stage_simple", {"light_mode": "darker"}),
        ("station_2", "frl_apartment_stage_simple", {"station_name": "mk_station2"}),
        ("station_3", "frl_apartment_stage_simple", {"station_name": "mk_station3"}),
    )
    return tuple(
        Variant(name, scene, arguments={**change, **fruit}, ray_traced=True) for name, scene, change in changes
    )


def _backgrounds_and_tables() -> tuple[Variant, ...]:
    return (
        Variant("background_1", f"{TABLE}_alt_background"),
        Variant("background_2", f"{TABLE}_alt_background_2"),
        Variant("table_1", "Baked_sc1_staging_objaverse_cabinet1_h870"),
        Variant("table_2", "Baked_sc1_staging_objaverse_cabinet2_h870"),
    )


def _cameras(environment: str) -> tuple[Variant, ...]:
    return tuple(
        Variant(f"camera_{number}", TABLE, environment=f"{environment}{suffix}InScene-v0", counted=False)
        for number, suffix in ((1, ""), (2, "2"))
    )
