"""Begins a training with eyes that learned to see before: the vision tower of another policy's checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch

from vla_bench.policies.errors import PolicyError
from vla_bench.policies.vla.backbones import backbone_class
from vla_bench.policies.vla.checkpoints import OWN_CONFIG, read_tensors, some_names
from vla_bench.policies.vla.config import VlaConfig
from vla_bench.policies.vla.model import VlaModel
from vla_bench.policies.vla.robovlms_config import read_config


def take_vision_tower(model: VlaModel, checkpoint: str | Path, *, trust: bool = False) -> None:
    """Copies the tensors of the vision tower (``Backbone.vision_tower``) out of a checkpoint of any structure.

    Args:
        checkpoint: of a policy with the same backbone; its other tensors are left alone.
        trust: see :func:`vla_bench.policies.vla.checkpoints.read_checkpoint`.

    Raises:
        PolicyError: it has no such tower, one of another shape, or one that saw other images.
    """
    said = f"train.vision_from={checkpoint}"
    folder = Path(checkpoint) if Path(checkpoint).is_dir() else Path(checkpoint).parent
    if (structure := folder / OWN_CONFIG).is_file():
        _check_seen(said, read_config(structure), model.config)
    found = read_tensors(checkpoint, trust=trust)
    tower = model.adapter.vision_tower()
    own = {id(each) for each in (*tower.parameters(), *tower.buffers())}
    wanted = {name: each for name, each in model.state_dict(keep_vars=True).items() if id(each) in own}
    if missing := [name for name in wanted if name not in found]:
        raise PolicyError(
            f"{said} has not the vision tower of backbone={model.config.backbone}: it lacks {some_names(missing)}. "
            "Give a checkpoint of the same backbone"
        )
    misshapen = [
        f"{name} is {tuple(found[name].shape)}, not {tuple(each.shape)}"
        for name, each in wanted.items()
        if found[name].shape != each.shape
    ]
    if misshapen:
        raise PolicyError(f"{said} has a vision tower of another shape: {some_names(misshapen)}")
    with torch.no_grad():
        for name, each in wanted.items():
            each.copy_(found[name])


def _check_seen(said: str, theirs: VlaConfig, ours: VlaConfig) -> None:
    one_class, other_class = backbone_class(theirs.backbone), backbone_class(ours.backbone)
    if not (issubclass(one_class, other_class) or issubclass(other_class, one_class)):
        raise PolicyError(
            f"{said} has backbone={theirs.backbone}, and this is {ours.backbone}; give a checkpoint of the same"
        )
    if theirs.blind:
        raise PolicyError(f"{said} is a blind policy, whose eyes saw nothing; give one that sees")
    for camera in ("static", "gripper") if ours.gripper_camera else ("static",):
        if camera == "gripper" and not theirs.gripper_camera:
            raise PolicyError(
                f"{said} has not seen the gripper camera; type policy.model.gripper_camera=false, or give another"
            )
        one, other = theirs.image_side(camera), ours.image_side(camera)
        if one != other:
            name = "image_size" if camera == "static" else "gripper_image_size"
            raise PolicyError(
                f"{said} saw {camera} images of {one} pixels, and these are of {other}; type policy.model.{name}={one}"
            )
