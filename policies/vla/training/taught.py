"""Losses that only teach: their heads and names. The heads are thrown away when training is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from vla_bench.policies.vla.model import VlaModel

SCENE_HEAD, WAYPOINT_HEAD, SUBJECT_HEAD = "scene_head", "waypoint_head", "subject_head"
"""Attributes of a model that is also asked where things are, where the tool goes, or where the block is that is meant,
and beginnings of their parameters' names."""
TAUGHT = (SCENE_HEAD, WAYPOINT_HEAD, SUBJECT_HEAD)
"""Heads that only training asks."""
SCENE, WAYPOINT, SUBJECT = "scene", "waypoint", "subject"
POINTING = {"static": "pointing_static", "gripper": "pointing_gripper"}
"""Names of losses; of pointing by camera."""
POINTING_SHARE = 0.1
"""Weight of the cross-entropy of the maps beside the distance of what is read off."""


def taught_shares(scene: float, waypoint: float, subject: float) -> dict[str, float]:
    """What each of these losses counts in the sum that is minimised, for ``train.scene_loss``,
    ``train.waypoint_loss`` and ``train.subject_loss``."""
    pointing = dict.fromkeys(POINTING.values(), POINTING_SHARE * scene)
    return {SCENE: scene, **pointing, WAYPOINT: waypoint, SUBJECT: subject}


def taught_shares_of(model: VlaModel) -> dict[str, float]:
    """The same, as the model's heads were made; 0 where there is none."""
    held = [cast(float, getattr(model, head).ratio) if hasattr(model, head) else 0.0 for head in TAUGHT]
    return taught_shares(*held)
