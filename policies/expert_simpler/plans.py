"""What to do in each task: stages of a pick, and of a place, as targets for the point between the fingers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from vla_bench.envs.simpler.state import SimplerState
from vla_bench.policies.expert_simpler.grasps import height_of

UP = np.array([0.0, 0.0, 1.0])
RELIEF = 0.003
"""Metres the hand rises while it closes: fingers that press on the table do not close."""

Place = Callable[[SimplerState], np.ndarray]
"""From the state to where the point between the fingers should be, (3,), metres, world frame."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One leg of a plan."""

    name: str
    place: Place
    """Asked once, when the stage begins; a stage that follows an object says so with ``follows``."""
    closed: bool
    """Gripper command while it lasts."""
    rest: int = 0
    """Steps to stay once there: fingers take their time."""
    follows: bool = False
    """Whether ``place`` is asked before every step."""
    turns: bool = False
    """Whether the hand still turns with the source."""
    again: bool = False
    """Whether the plan begins anew when the place cannot be reached, e.g. with the object in the way."""
    carries: bool = False
    """Whether the source should be in the hand; when it is not, the plan begins anew."""


@dataclass(frozen=True, slots=True)
class PutOn:
    """Take the source from above, carry it over the target, let it go. Lengths in metres."""

    over: float = 0.08
    """Height above the source from which the hand comes down, and to which it lifts."""
    grip: float = 0.0
    """Height of the fingers' middle above the source's centre."""
    drop: float = 0.005
    """Gap left under the source when it is let go."""

    def stages(self, state: SimplerState) -> Iterator[Stage]:
        """The plan from this state on; heights are those of the objects as they lie."""
        source, target = state.source, state.target
        rest = (height_of(state, source) + height_of(state, target)) / 2 + self.drop
        carry = float(state.centres[source][2]) + self.over

        def at_source(now: SimplerState) -> np.ndarray:
            return now.centres[source] + self.grip * UP

        def held(now: SimplerState) -> np.ndarray:
            """The fingers as seen from the source's centre; constant while it is held."""
            return now.tcp[:3] - now.centres[source]

        def above_target(now: SimplerState) -> np.ndarray:
            goal = now.centres[target] + held(now)
            goal[2] = max(carry, float(now.centres[target][2]) + rest + self.over / 2) + held(now)[2]
            return goal

        def onto_target(now: SimplerState) -> np.ndarray:
            return now.centres[target] + held(now) + rest * UP

        above = self.over * UP
        yield Stage("over the source", lambda now: at_source(now) + above, closed=False, follows=True, turns=True)
        yield Stage("down to it", at_source, closed=False, rest=1, follows=True, again=True)
        yield Stage("grasp", lambda now: now.tcp[:3] + RELIEF * UP, closed=True, rest=4)
        yield Stage("lift", lambda now: now.tcp[:3] + above, closed=True, carries=True)
        yield Stage("over the target", above_target, closed=True, rest=1, follows=True, carries=True)
        yield Stage("down to it", onto_target, closed=True, rest=1, carries=True)
        yield Stage("let go", lambda now: now.tcp[:3], closed=False, rest=2)
        yield Stage("away", lambda now: now.tcp[:3] + above, closed=False)


@dataclass(frozen=True, slots=True)
class Pick:
    """Take the source from above and lift it."""

    over: float = 0.10
    lift: float = 0.15
    deepest: float = 0.03
    """How far below the object's top the fingers' middle goes, at most."""

    def stages(self, state: SimplerState) -> Iterator[Stage]:
        """The plan from this state on."""
        source = state.source
        centre = state.centres[source]
        top = float(state.objects[source][2]) + height_of(state, source) / 2
        grip = np.array([centre[0], centre[1], max(float(centre[2]), top - self.deepest)])
        yield Stage("over the can", lambda _: grip + self.over * UP, closed=False)
        yield Stage("down to it", lambda _: grip, closed=False, rest=1)
        yield Stage("grasp", lambda _: grip, closed=True, rest=4)
        yield Stage("lift", lambda _: grip + self.lift * UP, closed=True, carries=True)


PLANS: dict[str, PutOn | Pick] = {
    "widowx_spoon_on_towel": PutOn(grip=0.004, drop=0.01),
    "widowx_carrot_on_plate": PutOn(drop=0.01),
    "widowx_stack_cube": PutOn(),
    "widowx_put_eggplant_in_basket": PutOn(over=0.14, drop=0.03),
    "google_robot_pick_horizontal_coke_can": Pick(),
    "google_robot_pick_vertical_coke_can": Pick(),
    "google_robot_pick_standing_coke_can": Pick(),
}
"""Plan of every task there is one for."""
