"""The tasks: their simulator, limits, instructions, success rule, and what counts as partial success.

Names are SimplerEnv's own. ``success`` of a trial is the rule's verdict after the last step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vla_bench.envs.simpler.robots import GOOGLE_ROBOT, WIDOWX, Robot


@dataclass(frozen=True, slots=True)
class Rule:
    """How a kind of task is judged; the backends compute it, this says what they compute."""

    name: str
    success: str
    flags: tuple[str, ...]
    """Partial successes and measurements of an episode, in the order of the original's
    ``episode_stats``."""


PUT_ON = Rule(
    "put_on",
    "the source's centre lies within the target's half diagonal + 3 mm in xy and at most 2 cm above it "
    "(eggplant 6 cm); carrot and cube touch nothing but the target and the robot",
    ("moved_correct_obj", "moved_wrong_obj", "is_src_obj_grasped", "consecutive_grasp", "src_on_target"),
)
PICK = Rule(
    "pick",
    "the can is held, touches nothing else and has risen by 1 cm, or had risen by 2 cm in 5 steps",
    ("n_lift_significant", "consec_grasp", "grasped"),
)
MOVE_NEAR = Rule(
    "move_near",
    "the source moved more than 3 cm and most of all, lies within 10 cm of the target beyond their half "
    "diagonals and nearest to it, and nothing fell",
    ("all_obj_keep_height", "moved_correct_obj", "moved_wrong_obj", "near_tgt_obj", "is_closest_to_tgt"),
)
OPEN_DRAWER = Rule("open_drawer", "the drawer is open by at least 15 cm", ("qpos",))
CLOSE_DRAWER = Rule("close_drawer", "the drawer, which starts open by 20 cm, is open by at most 5 cm", ("qpos",))
PLACE_IN_DRAWER = Rule(
    "place_in_drawer",
    "in the second subtask, the drawer is open by at least 5 cm and the object has touched its inside",
    ("qpos", "is_drawer_open", "has_contact"),
)
GRASP_FLAGS = ("is_src_obj_grasped", "grasped", "is_drawer_open")
"""The partial success that is reported beside success, where a rule has one of these."""


@dataclass(frozen=True, slots=True)
class Task:
    """One task."""

    name: str
    reported: str
    """The row of the published tables it belongs to; a row is the unweighted mean of its tasks."""
    robot: Robot
    environment: str
    """Environment of the original package."""
    rule: Rule
    step_limit: int
    """Control steps of a whole trial."""
    instructions: tuple[str, ...]
    """One per subtask; empty text: it depends on the trial."""
    subtasks: tuple[str, ...]
    objects: tuple[str, ...] = ()
    """Models that must be there, where they do not depend on the trial: source first, then target."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Further keyword arguments of the environment."""
    sink: bool = False
    """WidowX at the sink instead of at the table."""
    modern: str = ""
    """The ManiSkill3 environment; empty: only the original package has the task."""


def _bridge(
    name: str,
    environment: str,
    modern: str,
    text: str,
    limit: int,
    source: str,
    target: str,
    sink: bool = False,
) -> Task:
    return Task(
        name=name,
        reported=name,
        robot=WIDOWX,
        environment=environment,
        rule=PUT_ON,
        step_limit=limit,
        instructions=(text,),
        subtasks=(name,),
        objects=(source, target),
        sink=sink,
        modern=modern,
    )


BRIDGE_TASKS = (
    _bridge(
        "widowx_spoon_on_towel",
        "PutSpoonOnTableClothInScene-v0",
        "PutSpoonOnTableClothInScene-v1",
        "put the spoon on the towel",
        60,
        "bridge_spoon_generated_modified",
        "table_cloth_generated_shorter",
    ),
    _bridge(
        "widowx_carrot_on_plate",
        "PutCarrotOnPlateInScene-v0",
        "PutCarrotOnPlateInScene-v1",
        "put carrot on plate",
        60,
        "bridge_carrot_generated_modified",
        "bridge_plate_objaverse_larger",
    ),
    _bridge(
        "widowx_stack_cube",
        "StackGreenCubeOnYellowCubeBakedTexInScene-v0",
        "StackGreenCubeOnYellowCubeBakedTexInScene-v1",
        "stack the green block on the yellow block",
        60,
        "baked_green_cube_3cm",
        "baked_yellow_cube_3cm",
    ),
    _bridge(
        "widowx_put_eggplant_in_basket",
        "PutEggplantInBasketScene-v0",
        "PutEggplantInBasketScene-v1",
        "put eggplant into yellow basket",
        120,
        "eggplant",
        "dummy_sink_target_plane",
        sink=True,
    ),
)

COKE_TASKS = tuple(
    Task(
        name=f"google_robot_pick_{orientation}_coke_can",
        reported="google_robot_pick_coke_can",
        robot=GOOGLE_ROBOT,
        environment="GraspSingleOpenedCokeCanInScene-v0",
        rule=PICK,
        step_limit=80,
        instructions=("pick coke can",),
        subtasks=(f"google_robot_pick_{orientation}_coke_can",),
        objects=("opened_coke_can",),
        arguments={argument: True},
    )
    for orientation, argument in (
        ("horizontal", "lr_switch"),
        ("vertical", "laid_vertically"),
        ("standing", "upright"),
    )
)

MOVE_NEAR_TASK = Task(
    name="google_robot_move_near_v0",
    reported="google_robot_move_near",
    robot=GOOGLE_ROBOT,
    environment="MoveNearGoogleBakedTexInScene-v0",
    rule=MOVE_NEAR,
    step_limit=80,
    instructions=("",),
    subtasks=("google_robot_move_near_v0",),
)
MOVE_NEAR_V1_TASK = Task(
    name="google_robot_move_near_v1",
    reported="google_robot_move_near",
    robot=GOOGLE_ROBOT,
    environment="MoveNearGoogleBakedTexInScene-v1",
    rule=MOVE_NEAR,
    step_limit=80,
    instructions=("",),
    subtasks=("google_robot_move_near_v1",),
)
"""What ``simpler_env.make`` gives for move near; the published tables are made with v0."""

DRAWERS = ("top", "middle", "bottom")
DRAWER_TASKS = tuple(
    Task(
        name=f"google_robot_{verb}_{drawer}_drawer",
        reported=f"google_robot_{verb}_drawer",
        robot=GOOGLE_ROBOT,
        environment=f"{verb.capitalize()}{drawer.capitalize()}DrawerCustomInScene-v0",
        rule=rule,
        step_limit=113,
        instructions=(f"{verb} {drawer} drawer",),
        subtasks=(f"google_robot_{verb}_{drawer}_drawer",),
    )
    for verb, rule in (("open", OPEN_DRAWER), ("close", CLOSE_DRAWER))
    for drawer in DRAWERS
)

APPLE_TASK = Task(
    name="google_robot_place_apple_in_closed_top_drawer",
    reported="google_robot_place_apple_in_closed_top_drawer",
    robot=GOOGLE_ROBOT,
    environment="PlaceIntoClosedTopDrawerCustomInScene-v0",
    rule=PLACE_IN_DRAWER,
    step_limit=200,
    instructions=("open top drawer", "place apple into top drawer"),
    subtasks=("open_top_drawer", "google_robot_place_apple_in_closed_top_drawer"),
)
FORCED_ADVANCE = 100
"""After so many steps of the apple task the next one already belongs to its second subtask, whose
instruction is read after that step: the first instruction stands for 101 steps."""

TASKS = {
    task.name: task
    for task in (*BRIDGE_TASKS, *COKE_TASKS, MOVE_NEAR_TASK, MOVE_NEAR_V1_TASK, *DRAWER_TASKS, APPLE_TASK)
}
