"""One training step: what the network says about a batch, and its losses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

from vla_bench.policies.vla.actions.tokenizer import ActionTokens, BinClassifier
from vla_bench.policies.vla.fusion import VISION, Batch, Frame, Layout, join
from vla_bench.policies.vla.heads import HeadOutput
from vla_bench.policies.vla.losses import IGNORE, action_losses, bin_losses, token_losses, total_loss
from vla_bench.policies.vla.model import VlaModel
from vla_bench.policies.vla.training.taught import (
    SCENE_HEAD,
    SUBJECT,
    SUBJECT_HEAD,
    WAYPOINT,
    WAYPOINT_HEAD,
    taught_shares_of,
)


@dataclass(frozen=True, slots=True)
class Looks:
    """M frames that nobody acts on: they only teach what is where."""

    static: Tensor
    """(M, 3, S, S)."""
    gripper: Tensor | None
    """(M, 3, G, G)."""
    scene: Tensor
    """(M, 24)."""
    tool: Tensor
    """(M, 6)."""
    text: Tensor | None = None
    """(M, T) prompt ids of instructions that name a block; for a policy that generates tokens (M, 1, T')."""
    text_mask: Tensor | None = None
    """As ``text``, nonzero where attended to."""
    labels: Tensor | None = None
    """(M, 1, T'), of a policy that generates tokens: which are no :data:`~vla_bench.policies.vla.losses.IGNORE`."""
    state: Tensor | None = None
    """(M, 1, n) robot states."""
    subject: Tensor | None = None
    """(M, 3) where the block is from the tool (:func:`vla_bench.policies.vla.training.subject.subjects`)."""

    def to(self, device: torch.device) -> Looks:
        """The same on a device."""
        held = {each.name: getattr(self, each.name) for each in fields(self)}
        return Looks(**{name: None if value is None else value.to(device) for name, value in held.items()})


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """B windows of W frames."""

    static: Tensor
    """(B, W, 3, S, S) pixels of the static camera."""
    text: Tensor
    """(B, T) prompt ids; for a policy that generates tokens (B, W, T'): prompt, C * 7 action ids, rest of
    the prompt."""
    text_mask: Tensor
    """As ``text``, nonzero where attended to."""
    gripper: Tensor | None = None
    """(B, W, 3, S, S) pixels of the gripper camera."""
    state: Tensor | None = None
    """(B, W, 7) robot states."""
    arm_target: Tensor | None = None
    """(B, W, C, 6) in [-1, 1]."""
    gripper_target: Tensor | None = None
    """(B, W, C), 1 open, 0 closed."""
    scene: Tensor | None = None
    """(B, W, 24) ``scene_obs``, for a model with a scene head."""
    tool: Tensor | None = None
    """(B, W, 6) pose of the tool, likewise."""
    looks: Looks | None = None
    """Further frames for the scene head alone."""
    waypoint: Tensor | None = None
    """(B, W, 5) where the tool goes next, for a model with a waypoint head."""
    chunk_mask: Tensor | None = None
    """(B, W, C), 0 where a chunk reaches beyond the episode."""
    labels: Tensor | None = None
    """(B, W, T') successors to be predicted, :data:`vla_bench.policies.vla.losses.IGNORE` elsewhere."""
    clip_text: Tensor | None = None
    """(B, e) CLIP text features of the instructions, for the regularising head."""

    def tensors(self) -> dict[str, Tensor]:
        """What is there, by name, further frames aside."""
        held = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "looks"}
        return {name: value for name, value in held.items() if value is not None}

    def to(self, device: torch.device) -> TrainingBatch:
        """The same on a device."""
        moved = {name: value.to(device) for name, value in self.tensors().items()}
        return TrainingBatch(**moved, looks=None if self.looks is None else self.looks.to(device))


@dataclass(frozen=True, slots=True)
class Forward:
    """What the network made of a batch, with the intermediate tensors that tests compare."""

    rows: Batch
    hidden: Tensor | None
    """(rows, S, d)."""
    tokens: Tensor | None = None
    """(B, T, n, d) hidden states the head reads; None where rows differ in length."""
    output: HeadOutput | None = None
    logits: Tensor | None = None
    """(B, S, vocabulary), of policies that generate tokens."""
    labels: Tensor | None = None
    extra: dict[str, Tensor] = field(default_factory=dict)
    """Further losses."""


def forward(
    model: VlaModel,
    batch: TrainingBatch,
    *,
    keep_padding: bool = False,
    mark_embeds: Callable[[Tensor], None] | None = None,
) -> Forward:
    """Runs the network on a batch.

    Args:
        keep_padding: see :meth:`VlaModel.rows`; the batches of the original.
        mark_embeds: is shown the embeddings of the rows before the language model runs.
    """
    windows, frames = batch.static.shape[:2]
    static, gripper = batch.static.flatten(0, 1), None if batch.gripper is None else batch.gripper.flatten(0, 1)
    looks = batch.looks
    if looks is not None:
        static = torch.cat([static, looks.static])
        gripper = None if gripper is None or looks.gripper is None else torch.cat([gripper, looks.gripper])
    seen = model.encode_frames(static, gripper)
    looking = _looking(model, batch, seen) | _asking(model, looks, seen[windows * frames :])
    images = seen[: windows * frames].unflatten(0, (windows, frames))
    if model.config.generates_tokens:
        return _forward_tokens(model, batch, images, looking, keep_padding)
    state = None if batch.state is None or not model.config.state_token else model.encode_state(batch.state)
    text = model.embed_text(batch.text)
    rows = model.join(model.rows(text, batch.text_mask, images, state, keep_padding=keep_padding))
    if mark_embeds is not None:
        mark_embeds(rows.embeds)
    hidden = model.hidden(rows)
    features, _ = model.features(rows, hidden)
    steps = 1 if model.config.structure == "video" else frames
    features = features.reshape(windows, steps, -1)
    output = model.act_head(features)
    tokens = model.readout(rows, hidden)
    same = len({len(frame) for frame in tokens}) == 1
    stacked = torch.stack(tokens).unflatten(0, (windows, steps)) if same else None
    extra = looking | _going(model, batch, features)
    if model.config.clip_text and batch.clip_text is not None:
        texts = batch.clip_text.repeat_interleave(steps, dim=0)
        extra["clip_text"] = model.clip_norm_head(tokens, texts)
    return Forward(rows, hidden, stacked, output, extra=extra)


def token_layout(model: VlaModel, *, video: bool = False) -> Layout:
    """Rows of a policy that generates tokens: images after the leading token, nothing after the text."""
    return Layout(
        leading=model.adapter.leading,
        trailing=0,
        layout="video" if video else "frames",
        cross_attention=model.adapter.cross_attention,
    )


def _forward_tokens(
    model: VlaModel, batch: TrainingBatch, images: Tensor, looking: dict[str, Tensor], keep_padding: bool
) -> Forward:
    windows, frames = images.shape[:2]
    rows, kept = _token_rows(model, batch.text, batch.text_mask, images, keep_padding)
    hidden = model.hidden(rows)
    logits = model.adapter.logits(hidden)
    labels = None
    extra = looking
    if batch.labels is not None:
        labels = _in_rows(rows, batch.labels[kept], IGNORE)
        if hasattr(model, WAYPOINT_HEAD):
            before = _before_actions(rows, hidden, batch.labels, kept)
            extra |= _going(model, batch, before.unflatten(0, (windows, frames)))
    return Forward(rows, None, logits=logits, labels=labels, extra=extra)


def _token_rows(model: VlaModel, ids: Tensor, mask: Tensor, images: Tensor, keep_padding: bool) -> tuple[Batch, Tensor]:
    """Rows of a policy that generates tokens, and (B, W, T') bool, which of ``ids`` (B, W, T') are in them."""
    windows, frames = images.shape[:2]
    text = model.embed_text(ids)
    whole = ids.shape[-1]
    ends = torch.arange(1, whole + 1, device=mask.device) * (mask != 0)
    lengths = torch.full_like(ends.amax(-1), whole) if keep_padding else ends.amax(-1)
    rows = join(
        [
            [Frame(text[b, w, : lengths[b, w]], mask[b, w, : lengths[b, w]], images[b, w]) for w in range(frames)]
            for b in range(windows)
        ],
        token_layout(model),
        None,
    )
    return rows, torch.arange(whole, device=lengths.device) < lengths[..., None]


def _in_rows(rows: Batch, values: Tensor, fill: int) -> Tensor:
    """(B, S) ``values`` of the ids that are in rows, at their places; ``fill`` elsewhere."""
    placed = torch.full(rows.kinds.shape, fill, dtype=values.dtype, device=rows.embeds.device)
    placed[(rows.kinds != VISION) & (rows.kinds >= 0)] = values.to(placed.device)
    return placed


def _before_actions(rows: Batch, hidden: Tensor, labels: Tensor, kept: Tensor) -> Tensor:
    """(frames of all rows, d) hidden states that the first action token of each frame is predicted from."""
    wanted = labels != IGNORE
    begins = _in_rows(rows, (wanted & (wanted.cumsum(-1) == 1))[kept], False)
    return hidden[:, :-1][begins[:, 1:]]


def _looking(model: VlaModel, batch: TrainingBatch, seen: Tensor) -> dict[str, Tensor]:
    """The loss of the scene head (:mod:`vla_bench.policies.vla.training.scene`), if the model has one.

    Args:
        seen: (B W + M, cameras, V, d) tokens of the windows' frames and of the further ones.
    """
    if batch.scene is None or batch.tool is None or not hasattr(model, SCENE_HEAD):
        return {}
    scene, tool = batch.scene.flatten(0, 1), batch.tool.flatten(0, 1)
    if batch.looks is not None:
        scene, tool = torch.cat([scene, batch.looks.scene]), torch.cat([tool, batch.looks.tool])
    sides = {camera: model.config.image_side(camera) for camera in ("static", "gripper")}
    return model.scene_head(seen, scene, tool, sides)


def _asking(model: VlaModel, looks: Looks | None, images: Tensor) -> dict[str, Tensor]:
    """The loss of the subject head (:mod:`vla_bench.policies.vla.training.subject`), if the model has one.

    Args:
        images: (M, cameras, V, d) tokens of the further frames.
    """
    if looks is None or looks.text is None or looks.text_mask is None or not hasattr(model, SUBJECT_HEAD):
        return {}
    images = images.unsqueeze(1)
    if looks.labels is not None:
        rows, kept = _token_rows(model, looks.text, looks.text_mask, images, keep_padding=False)
        features = _before_actions(rows, model.hidden(rows), looks.labels, kept)
    else:
        state = None if looks.state is None else model.encode_state(looks.state)
        rows = model.join(model.rows(model.embed_text(looks.text), looks.text_mask, images, state))
        features = model.features(rows, model.hidden(rows))[0].reshape(len(images), -1)
    return {SUBJECT: model.subject_head(features, looks.subject)}


def _going(model: VlaModel, batch: TrainingBatch, features: Tensor) -> dict[str, Tensor]:
    """The loss of the waypoint head (:mod:`vla_bench.policies.vla.training.waypoint`), if the model has one.

    Args:
        features: (B, W or 1, n) what the action head reads; 1 for the newest frame.
    """
    if batch.waypoint is None or not hasattr(model, WAYPOINT_HEAD):
        return {}
    wanted = batch.waypoint[:, -features.shape[1] :]
    return {WAYPOINT: model.waypoint_head(features.flatten(0, 1), wanted.flatten(0, 1))}


def training_losses(
    model: VlaModel,
    batch: TrainingBatch,
    *,
    tokens: ActionTokens | None = None,
    keep_padding: bool = False,
    arm_loss: str = "smooth_l1",
    beta: float = 1.0,
) -> dict[str, Tensor]:
    """All losses of a batch and their weighted sum ``total``.

    Args:
        tokens: where the action tokens lie; needed when the policy generates them.
        arm_loss, beta: see :func:`vla_bench.policies.vla.losses.action_losses`.
    """
    result = forward(model, batch, keep_padding=keep_padding)
    return losses_of(model, batch, result, tokens=tokens, arm_loss=arm_loss, beta=beta)


def losses_of(
    model: VlaModel,
    batch: TrainingBatch,
    result: Forward,
    *,
    tokens: ActionTokens | None = None,
    arm_loss: str = "smooth_l1",
    beta: float = 1.0,
) -> dict[str, Tensor]:
    """The losses of what :func:`forward` returned."""
    config = model.config
    if config.generates_tokens:
        if tokens is None or result.labels is None:
            raise ValueError("a policy that generates tokens needs labels and `tokens`, the place of its action tokens")
        losses = token_losses(result.logits, result.labels, tokens)
    else:
        arm, gripper, mask = batch.arm_target, batch.gripper_target, batch.chunk_mask
        if arm is None or gripper is None:
            raise ValueError("the losses need arm_target and gripper_target")
        if config.structure == "video":
            # The one action token of a video stands for its newest frame.
            arm, gripper = arm[:, -1:], gripper[:, -1:]
            mask = None if mask is None else mask[:, -1:]
        if config.action_space == "discrete":
            bins = BinClassifier(config.bins, config.bin_min, config.bin_max)
            losses = bin_losses(result.output, arm, gripper, bins, mask)
        else:
            losses = action_losses(result.output, arm, gripper, mask, arm_loss=arm_loss, beta=beta)
    losses |= result.extra
    total = total_loss(losses, config)
    for name, taught in taught_shares_of(model).items():
        if name in losses:
            total = total + taught * losses[name]
    return losses | {"total": total}
