"""A loss that asks the images' tokens where things are.

A network that learns from actions alone finds out late what its eyes are for. ``scene_obs`` of the data says where
blocks, door and drawer are; a small head that has to read that off the images' tokens teaches the eyes directly. It is
thrown away afterwards.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vla_bench.policies.errors import PolicyError
from vla_bench.policies.vla.model import VlaModel
from vla_bench.policies.vla.training.step import SCENE_HEAD

BETA = 0.2
HIDDEN = 256
CENTRE, REACH = (0.05, -0.02, 0.46), 0.15
"""Middle and half width of where blocks lie, metres."""
SLIDE, DRAWER = 0.28, 0.22
"""Joint positions, roughly, of the door on the left and of the open drawer, metres."""
TARGETS = 19


class SceneHead(nn.Module):
    """(N, cameras, V, d) tokens to what :func:`scene_targets` makes of the state."""

    def __init__(self, features: int, ratio: float):
        """``features``: cameras * V * d. ``ratio``: weight of the loss."""
        super().__init__()
        self.ratio = ratio
        self.mlp = nn.Sequential(nn.Linear(features, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, TARGETS))

    def forward(self, images: Tensor, scene: Tensor) -> Tensor:
        """The loss: smooth L1 between what is read off and ``scene`` (N, 24)."""
        said = self.mlp(images.flatten(1)).float()
        return functional.smooth_l1_loss(said, scene_targets(scene.to(said.device)), beta=BETA)


def scene_targets(scene: Tensor) -> Tensor:
    """``scene_obs`` (N, 24) as (N, 19) numbers of about the same size: places of the three blocks, their yaws up to a
    half turn (a block looks the same from behind), door, drawer, light bulb and LED."""
    blocks = scene[:, 6:].unflatten(1, (3, 6)).float()
    places = (blocks[..., :3] - blocks.new_tensor(CENTRE)) / REACH
    yaw = 2 * blocks[..., 5]
    fixtures = scene[:, (0, 1, 4, 5)].float() / scene.new_tensor((SLIDE, DRAWER, 1.0, 1.0)).float()
    return torch.cat([places.flatten(1), yaw.cos(), yaw.sin(), fixtures], dim=1)


def add_scene_head(model: VlaModel, ratio: float) -> None:
    """Gives the model a head for the loss. PolicyError: its images never become tokens."""
    config = model.config
    if model.adapter.cross_attention:
        raise PolicyError(
            f"train.scene_loss reads the images' tokens, and backbone={config.backbone} has none; drop it"
        )
    features = 0
    with torch.no_grad():
        for camera in ("gripper", "static") if config.gripper_camera else ("static",):
            side = config.image_side(camera)
            features += model.encode_images(torch.zeros(1, 3, side, side), camera).numel()
    model.add_module(SCENE_HEAD, SceneHead(features, ratio).to(model.device))
