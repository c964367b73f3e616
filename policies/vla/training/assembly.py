"""From choices to a run that can begin: data opened, bounds measured, network built, parts frozen."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vla_bench.envs.calvin.cameras import LENSES
from vla_bench.envs.calvin.dataset import open_dataset
from vla_bench.envs.calvin.dataset.packed import PackedDataset
from vla_bench.envs.calvin.dataset.source import Dataset
from vla_bench.envs.errors import DatasetError
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.vla.backbones import backbone_class
from vla_bench.policies.vla.build import TINY, build, seeded
from vla_bench.policies.vla.config import VlaConfig
from vla_bench.policies.vla.model import VlaModel
from vla_bench.policies.vla.training.config import TrainingConfig
from vla_bench.policies.vla.training.conversations import Conversations
from vla_bench.policies.vla.training.items import WindowItems
from vla_bench.policies.vla.training.loop import TrainingRun
from vla_bench.policies.vla.training.normalisation import quantile_bounds
from vla_bench.policies.vla.training.pictures import CAMERAS
from vla_bench.policies.vla.training.scene import add_scene_head
from vla_bench.policies.vla.training.step import forward
from vla_bench.policies.vla.training.subject import add_subject_head, check_named
from vla_bench.policies.vla.training.trainable import choose, set_dropout, set_gradient_checkpointing
from vla_bench.policies.vla.training.vision_tower import take_vision_tower
from vla_bench.policies.vla.training.waypoint import add_waypoint_head


def assemble(
    structure: VlaConfig,
    config: TrainingConfig,
    *,
    backbone_path: str | Path = TINY,
    checkpoint: str | Path | None = None,
    trust: bool = False,
    allow_missing: Sequence[str] = (),
    allow_unexpected: Sequence[str] = (),
    dataset: Dataset | None = None,
    validation: Dataset | None = None,
    annotations: Sequence[int] | None = None,
    about: Mapping[str, Any] | None = None,
) -> TrainingRun:
    """Everything a run needs, checked.

    Args:
        backbone_path: folder or hub name with the backbone's configuration and tokenizer, or ``tiny``.
        checkpoint: weights to start from; None draws them from ``config.seed``.
        trust, allow_missing, allow_unexpected: see :func:`vla_bench.policies.vla.build.build`.
        dataset, validation: in place of those that ``config`` names.
        annotations: train on these alone, by number.
        about: further plain data that its checkpoints carry.

    Raises:
        PolicyError, DatasetError: it cannot be trained; says what to type.
    """
    data = dataset if dataset is not None else _open(config)
    other = validation if validation is not None else _validation_set(config, data)
    kept, held = _split(data, config, annotations, hold_out=other is None)
    if config.subject_loss:
        check_named(data.annotations, kept, data.folder)
    structure = finished_structure(structure, config, data, kept, tiny=str(backbone_path) == TINY)
    built = build(
        structure,
        backbone_path=backbone_path,
        checkpoint=checkpoint,
        seed=config.seed,
        trust=trust,
        allow_missing=allow_missing,
        allow_unexpected=allow_unexpected,
        trainable=True,
    )
    if config.vision_from is not None:
        take_vision_tower(built.model, config.vision_from, trust=trust)
    with seeded(config.seed):  # LoRA draws its first weights
        choose(built.model, config)
        if config.scene_loss:
            add_scene_head(built.model, config.scene_loss)
        if config.waypoint_loss:
            add_waypoint_head(built.model, config.waypoint_loss)
        if config.subject_loss:
            add_subject_head(built.model, config.subject_loss)
    if config.dropout is not None:
        set_dropout(built.model, config.dropout)
    if config.gradient_checkpointing:
        set_gradient_checkpointing(built.model)
    adapter = backbone_class(structure.backbone)

    def windows_of(source: Dataset, numbers: Sequence[int] | None, *, augment: bool) -> WindowItems:
        chosen = None if numbers is None else tuple(numbers)
        return WindowItems(source, structure, config, adapter, built.tokenizer, chosen, augment)

    checked = windows_of(other, None, augment=False) if other is not None else None
    if checked is None and held:
        checked = windows_of(data, held, augment=False)
    talks = None
    if config.conversations is not None:
        talks = Conversations(
            config.conversations,
            structure,
            adapter,
            built.tokenizer,
            batch=config.conversation_batch,
            seed=config.seed,
        )
    facts = {
        "data": {
            "digest": data.digest,
            "label": data.label,
            "annotations": len(kept),
            "validation": other.digest if other is not None else f"{len(held)} annotations held out",
        },
        "training": dataclasses.asdict(config),
        **(about or {}),
    }
    learned = windows_of(data, kept, augment=True)
    if structure.readout == "all":
        for items in (learned, checked):
            if items is not None:
                _check_room(built.model, items)
    return TrainingRun(built.model, learned, config, checked, talks, about=facts)


def _check_room(model: VlaModel, items: WindowItems) -> None:
    """Reads the row with the longest instruction, which a training might meet in its last hour. PolicyError: the head
    has no room for it."""
    lengths = {text: len(items.prompt(text)) for text in {each.instruction for each in items.dataset.annotations}}
    longest = max(
        range(len(items)),
        key=lambda number: lengths[items.dataset.annotations[items.windows[number].annotation].instruction],
        default=None,
    )
    if longest is not None:
        with torch.no_grad():
            forward(model, items.batch([longest], [0]))


def finished_structure(
    structure: VlaConfig,
    config: TrainingConfig,
    data: Dataset,
    annotations: Sequence[int],
    *,
    tiny: bool = False,
) -> VlaConfig:
    """The structure with what training adds to it: stride, bounds, the image size of a tiny backbone."""
    more: dict[str, Any] = {"stride": config.stride, "camera_sides": structure.camera_sides or _camera_sides(data)}
    if config.normalise == "quantiles":
        more["norm"] = quantile_bounds(data, [data.annotations[number] for number in annotations])
    if tiny:
        more["image_size"] = backbone_class(structure.backbone).tiny_image_size()
    return dataclasses.replace(structure, **more)


def _camera_sides(data: Dataset) -> tuple[int, int] | None:
    """Of a set whose images were rendered in other sizes than the environment's own; None: they were not, or it is
    packed, and may have been resized by that."""
    own = [LENSES[name].height for name in CAMERAS]
    shapes = [data.shapes.get(f"rgb_{name}") for name in CAMERAS]
    sides = [side if shape is None else shape[0] for side, shape in zip(own, shapes, strict=True)]
    return None if isinstance(data, PackedDataset) or sides == own else (sides[0], sides[1])


def _open(config: TrainingConfig) -> Dataset:
    if not config.data:
        raise PolicyError("training needs a data set: type train.data=<folder>")
    return open_dataset(config.data)


def _validation_set(config: TrainingConfig, data: Dataset) -> Dataset | None:
    if config.validation_data is not None:
        return open_dataset(config.validation_data, "validation" if _has_split(config.validation_data) else None)
    if config.data and _has_split(config.data) and data.folder.name != "validation":
        try:
            return open_dataset(config.data, "validation")
        except DatasetError:
            return None
    return None


def _has_split(folder: str) -> bool:
    return (Path(folder) / "validation").is_dir()


def _split(
    data: Dataset, config: TrainingConfig, annotations: Sequence[int] | None, *, hold_out: bool
) -> tuple[list[int], list[int]]:
    """Numbers of annotations to train on and to hold out: whole ones, chosen by the seed alone."""
    numbers = list(range(len(data.annotations))) if annotations is None else sorted(annotations)
    if not numbers:
        raise PolicyError(f"{data.folder} has no annotations; nothing says what its frames show")
    wanted = round(config.held_out * len(numbers)) if hold_out else 0
    if config.held_out and hold_out and len(numbers) > 1:
        wanted = max(1, wanted)
    mixed = np.random.default_rng(20_260_101).permutation(len(numbers))
    out = {numbers[place] for place in mixed[:wanted]}
    return [number for number in numbers if number not in out], sorted(out)
