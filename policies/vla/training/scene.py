"""A loss that asks the images' tokens where things are.

A network that learns from actions alone finds out late what its eyes are for. ``scene_obs`` of the data says where
blocks, door and drawer are; a small head that has to read that off the images' tokens teaches the eyes directly. It is
thrown away afterwards. Eyes that point at places (``Backbone.pointing``) are told besides where in the picture the
three blocks are, after which they find them as well in half as many steps. Random shifts of the pictures are not undone
in what is asked: leave them out (``rgb_pad=0``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vla_bench.envs.calvin.cameras import seen_places
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.vla.model import VlaModel
from vla_bench.policies.vla.training.taught import POINTING, SCENE, SCENE_HEAD

BETA = 0.2
HIDDEN = 256
CENTRE, REACH = (0.05, -0.02, 0.46), 0.15
"""Middle and half width of where blocks lie, metres."""
SLIDE, DRAWER = 0.28, 0.22
"""Joint positions, roughly, of the door on the left and of the open drawer, metres."""
TARGETS = 19


class SceneHead(nn.Module):
    """(N, cameras, V, d) tokens to what :func:`scene_targets` makes of the state."""

    def __init__(self, features: int, ratio: float, pointing: dict[str, tuple[nn.Module, float, int]]):
        """``features``: cameras * V * d. ``ratio``: weight of the loss. ``pointing``: as the backbone says it."""
        super().__init__()
        self.ratio = ratio
        self.cameras = tuple(pointing)
        self.mlp = nn.Sequential(nn.Linear(features, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, TARGETS))
        self._maps: dict[str, Tensor] = {}
        for camera, (layer, sharpness, every) in pointing.items():
            layer.register_forward_hook(self._watch(camera, sharpness, every))

    def _watch(self, camera: str, sharpness: float, every: int) -> Any:
        def hook(layer: nn.Module, given: Any, maps: Tensor) -> None:
            # The first map of each of the first three tokens.
            self._maps[camera] = maps[:, : 3 * every : every].float() * sharpness

        return hook

    def forward(self, images: Tensor, scene: Tensor, tool: Tensor, sides: dict[str, int]) -> dict[str, Tensor]:
        """The losses: ``scene``, smooth L1 between what is read off and ``scene`` (N, 24), and by camera how far from
        the blocks the eyes point.

        Args:
            images: tokens of the very images that were encoded last.
            tool: (N, 6) pose of the tool.
            sides: pixels of the images, by camera.
        """
        said = self.mlp(images.flatten(1)).float()
        losses = {SCENE: functional.smooth_l1_loss(said, scene_targets(scene.to(said.device)), beta=BETA)}
        maps, self._maps = self._maps, {}
        for camera, logits in maps.items():
            if len(logits) == len(scene):  # a blind policy's one black image shows no block
                losses[POINTING[camera]] = pointing_loss(logits, camera, sides[camera], scene, tool)
        return losses


def pointing_loss(logits: Tensor, camera: str, side: int, scene: Tensor, tool: Tensor) -> Tensor:
    """Cross-entropy between maps (N, 3, h, w) and the cells in which the blocks' centres are, shared among the four
    cells around a centre as in bilinear interpolation; blocks outside the picture do not count."""
    cells = logits.shape[-1]
    places, inside = blocks_seen(camera, side, scene, tool)
    wanted = torch.from_numpy(bilinear(places * (cells / side) - 0.5, cells)).to(logits.device)
    lost = -(wanted * logits.flatten(2).log_softmax(-1)).sum(-1)
    counts = torch.from_numpy(inside).to(lost)
    return (lost * counts).sum() / counts.sum().clamp(min=1)


def blocks_seen(camera: str, side: int, scene: Tensor, tool: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Where the three blocks are in pictures of a camera: :func:`vla_bench.envs.calvin.cameras.seen_places`."""
    blocks = scene[:, 6:].unflatten(1, (3, 6))[..., :3].double().cpu().numpy()
    return seen_places(camera, side, blocks, tool.double().cpu().numpy())


def bilinear(places: np.ndarray, cells: int) -> np.ndarray:
    """(n, k, cells * cells) float32 weights of the cells around places (n, k, 2), in cells, clipped to their middles;
    each sums to 1."""
    places = np.clip(places, 0, cells - 1)
    low = np.minimum(places.astype(np.int64), cells - 2)
    rest = places - low
    weights = np.zeros((*places.shape[:2], cells, cells), np.float32)
    one, other = np.indices(places.shape[:2])
    for down in (0, 1):
        for right in (0, 1):
            share = np.abs(1 - right - rest[..., 0]) * np.abs(1 - down - rest[..., 1])
            weights[one, other, low[..., 1] + down, low[..., 0] + right] = share
    return weights.reshape(*places.shape[:2], -1)


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
    model.add_module(SCENE_HEAD, SceneHead(features, ratio, model.adapter.pointing()).to(model.device))
