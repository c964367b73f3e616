"""A loss that asks the action head's input where the block is that the instruction names.

Demonstrations show few tables, and what a network learns from them about "the red block" and the way there holds for
those tables. Any further frame will do to ask for it: an instruction that names a block is drawn for it, the network
reads both as if it had to act, and a small head has to say where that block is, seen from the tool. Nobody has to act
on these frames. The head is thrown away afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from vla_bench.envs.calvin.dataset.annotations import Annotation
from vla_bench.envs.calvin.scenes import scene_named
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.vla.model import VlaModel
from vla_bench.policies.vla.training.taught import SUBJECT_HEAD

BETA = 0.1
HIDDEN = 256
REACH = 0.15
"""Metres that count as 1."""


class SubjectHead(nn.Module):
    """(N, features) to what :func:`subjects` says."""

    def __init__(self, features: int, ratio: float):
        """``features``: numbers the action head reads. ``ratio``: weight of the loss."""
        super().__init__()
        self.ratio = ratio
        self.mlp = nn.Sequential(nn.Linear(features, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 3))

    def forward(self, features: Tensor, wanted: Tensor) -> Tensor:
        """The loss: smooth L1 between what is read off and ``wanted`` (N, 3)."""
        return functional.smooth_l1_loss(self.mlp(features.float()), wanted.to(features.device), beta=BETA)


def block_order(annotations: Iterable[Annotation], folder: object) -> tuple[str, ...]:
    """Colours of the blocks in the order in which ``scene_obs`` has them, which is not the same in all scenes.

    Raises:
        PolicyError: it differs among the scenes of these annotations, or these do not say of which they are.
    """
    scenes = {each.scene for each in annotations}
    if None in scenes:
        raise PolicyError(
            f"train.subject_loss needs to know of which scene the frames of {folder} are, and its annotations do not "
            "say; drop train.subject_loss"
        )
    found = {tuple(block.name.removeprefix("block_") for block in scene_named(str(name)).blocks) for name in scenes}
    if len(found) > 1:
        raise PolicyError(
            f"train.subject_loss: scene_obs has the blocks in another order in each of the scenes "
            f"{', '.join(sorted(map(str, scenes)))} of {folder}; train on one of them (or on B and D), or drop it"
        )
    return next(iter(found), ())


def named_block(task: str, order: Sequence[str]) -> int | None:
    """Which block of :func:`block_order` a task of CALVIN is about; None where it names none."""
    return next((number for number, colour in enumerate(order) if f"_{colour}_block" in task), None)


def subjects(blocks: np.ndarray, scene: np.ndarray, tool: np.ndarray) -> np.ndarray:
    """Where blocks are from the tool.

    Args:
        blocks: (M,) numbers as :func:`named_block` says them.
        scene: (M, 24) ``scene_obs``.
        tool: (M, 6 or more) ``robot_obs``.

    Returns:
        (M, 3) float32, along the axes of the world, 0.15 m as 1.
    """
    places = scene[:, 6:].reshape(-1, 3, 6)[np.arange(len(scene)), blocks, :3]
    return ((places - tool[:, :3]) / REACH).astype(np.float32)


def add_subject_head(model: VlaModel, ratio: float) -> None:
    """Gives the model a head for the loss."""
    features = model.adapter.hidden_size() * (1 if model.config.generates_tokens else model.config.latent)
    model.add_module(SUBJECT_HEAD, SubjectHead(features, ratio).to(model.device))


def check_named(annotations: Sequence[Annotation], chosen: Iterable[int], folder: object) -> None:
    """PolicyError: no task of those chosen names a block, so that there is nothing to ask; or see :func:`block_order`,
    which is asked of all, since further frames may be of any."""
    order = block_order(annotations, folder)
    if not any(named_block(annotations[number].task, order) is not None for number in chosen):
        raise PolicyError(
            "train.subject_loss asks where the block is that an instruction names, and of those trained on in "
            f"{folder} none does; drop train.subject_loss"
        )
