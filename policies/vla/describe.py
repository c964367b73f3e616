"""Says what a checkpoint is: its groups of tensors, and which structure they fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from vla_bench.policies.vla.checkpoints import read_tensors

_BACKBONE_MARKS = {
    "backbone.image_to_text_projection.": "kosmos2",
    "backbone.encoders.static.": "small",
    "backbone.model.gated_cross_attn_layers.": "idefics",
    "backbone.model.visual.": "qwen_vl",
    "backbone.model.connector.": "smolvlm",
    "backbone.model.language_model.decoder.": "florence2",
    "backbone.model.multi_modal_projector.linear_1.": "llava",
    "backbone.model.multi_modal_projector.linear.": "paligemma",
}
"""A name that only this backbone has. LLaVA's also fits moondream and uform, which are its class."""

_EMBEDDINGS = (
    "text_model.model.embed_tokens.weight",
    "language_model.embed_tokens.weight",
    "language_model.shared.weight",
    "embed_tokens.weight",
)
_OUTPUT_LAYER = 6
"""Index of the last linear layer within an output head's ``mlp``."""


@dataclass(frozen=True, slots=True)
class Group:
    """Tensors that share the first part of their name."""

    name: str
    tensors: int
    parameters: int
    megabytes: float
    dtypes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Description:
    """What a checkpoint holds and what it fits."""

    groups: tuple[Group, ...]
    fits: Mapping[str, Any]
    """Fields of :class:`vla_bench.policies.vla.config.VlaConfig` that the tensors decide."""
    undecided: tuple[str, ...]
    """What they leave open, in sentences."""


def describe(path: str | Path, *, trust: bool = False) -> Description:
    """Reads a checkpoint, memory-mapped, and describes it; PolicyError as :func:`read_tensors`."""
    return describe_tensors(read_tensors(path, trust=trust))


def tensor_lines(tensors: Mapping[str, Tensor]) -> list[str]:
    """Name, shape and dtype of every tensor, a line each."""
    return [
        f"{name}  {tuple(tensor.shape)}  {str(tensor.dtype).removeprefix('torch.')}" for name, tensor in tensors.items()
    ]


def describe_tensors(tensors: Mapping[str, Tensor]) -> Description:
    """Describes tensors under the names of the network."""
    members: dict[str, list[Tensor]] = {}
    for name, tensor in tensors.items():
        depth = 2 if name.startswith(("backbone.", "act_head.")) else 1
        members.setdefault(".".join(name.split(".")[:depth]), []).append(tensor)
    groups = tuple(
        Group(
            name,
            len(group),
            sum(tensor.numel() for tensor in group),
            sum(tensor.numel() * tensor.element_size() for tensor in group) / 1e6,
            tuple(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in group})),
        )
        for name, group in members.items()
    )
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    fits, undecided = _fit(shapes)
    return Description(groups, fits, tuple(undecided))


def _fit(shapes: Mapping[str, tuple[int, ...]]) -> tuple[dict[str, Any], list[str]]:
    fits: dict[str, Any] = {}
    undecided: list[str] = []
    backbone = next(
        (name for mark, name in _BACKBONE_MARKS.items() if any(key.startswith(mark) for key in shapes)), None
    )
    if backbone is None:
        undecided.append("backbone: no known one has these names")
    else:
        fits["backbone"] = backbone
    if backbone == "llava":
        undecided.append("backbone: moondream and uform have the same names as llava")
    for field, prefix in (
        ("vision_resampler", "vision_resampler."),
        ("state_token", "embed_state."),
        ("clip_text", "clip_norm_head."),
    ):
        if any(key.startswith(prefix) for key in shapes):
            fits[field] = True
    if not any(key.startswith("act_head.") for key in shapes):
        fits |= {"head": "none", "action_space": "discrete"}
        undecided.append("structure: one_step or interleaved; window and chunk are not in the weights")
        return fits, undecided
    width = _width(shapes)
    if "action_token" not in shapes:
        resampled = any(key.startswith("act_head.resampler.") for key in shapes)
        fits["readout"] = "resampler" if resampled else "pooling"
        if not resampled:
            undecided.append("readout: all fits too, with latent=n for n tokens and hidden the head's inner width")
    fits |= _output(shapes)
    head, sizes = _head(shapes, width)
    fits |= {"head": head, **sizes}
    if head == "fc":
        undecided.append("structure: one_step, interleaved, video or policy_head; a head without memory fits all")
        undecided.append("window is not in the weights")
    else:
        fits["structure"] = "policy_head"
        undecided.append(f"structure: interleaved fits too (no released model has it with head={head})")
    if head == "lstm":
        undecided.append("window is not in the weights (the released models have 8 or 16)")
    undecided.append("gripper_camera is not in the weights")
    return fits, undecided


def _width(shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    if "action_token" in shapes:
        return shapes["action_token"][0]
    return next((shapes[key][1] for key in shapes if key.endswith(_EMBEDDINGS)), None)


def _output(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    bins = shapes.get(f"act_head.bins.mlp.{_OUTPUT_LAYER}.weight")
    if bins is not None:
        return {"action_space": "discrete", "chunk": bins[0] // (7 * 256)}
    arm = shapes.get(f"act_head.actions.mlp.{_OUTPUT_LAYER}.weight")
    return {"action_space": "continuous"} | ({"chunk": arm[0] // 6} if arm else {})


def _head(shapes: Mapping[str, tuple[int, ...]], width: int | None) -> tuple[str, dict[str, int]]:
    if "act_head.rnn.weight_ih_l0" in shapes:
        inputs, inner = shapes["act_head.rnn.weight_ih_l0"][1], shapes["act_head.rnn.weight_hh_l0"][1]
        latent = inputs // width if width else 1
        layers = sum(name.startswith("act_head.rnn.weight_hh_l") for name in shapes)
        return "lstm", {"latent": latent, "hidden": inner // latent, "lstm_layers": layers}
    if "act_head.gpt.wpe.weight" in shapes:
        window, inner = shapes["act_head.gpt.wpe.weight"]
        hidden = shapes.get("act_head.fc.weight", (width or inner,))[0]
        return "gpt", {"latent": inner // hidden, "hidden": hidden, "window": window}
    inputs, inner = shapes["act_head.mlp.0.weight"][1], shapes["act_head.mlp.2.weight"][0]
    latent = inputs // width if width else 1
    return "fc", {"latent": latent, "hidden": inner // latent}


def as_text(description: Description) -> str:
    """A table of the groups and what they fit, for the screen."""
    widest = max(len(group.name) for group in description.groups)
    lines = [f"{'group':<{widest}}  tensors    parameters         MB  dtype"]
    for group in description.groups:
        lines.append(
            f"{group.name:<{widest}}  {group.tensors:7d}  {group.parameters:12,d}  {group.megabytes:9,.1f}  "
            + ", ".join(group.dtypes)
        )
    total = sum(group.parameters for group in description.groups)
    size = sum(group.megabytes for group in description.groups)
    count = sum(group.tensors for group in description.groups)
    lines.append(f"{'total':<{widest}}  {count:7d}  {total:12,d}  {size:9,.1f}")
    lines += [
        "",
        "fits " + " ".join(f"policy.model.{name}={value}" for name, value in description.fits.items()),
    ]
    lines += [f"open: {sentence}" for sentence in description.undecided]
    return "\n".join(lines)
