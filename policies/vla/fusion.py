"""Joins frames, text, state and action tokens into the rows a language model reads.

One frame is ``[leading text][gripper image][static image][text][state][action x L][trailing text]``; the
order is that of the original, which inserts the gripper image after, and hence before, the static one. A row
holds one frame, or W of them one after the other (interleaved), or one prompt with the images of W (video).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from vla_bench.policies.vla.backbones.contract import SceneImages

PADDING, EDGE, TEXT, VISION, STATE, ACTION = range(-1, 5)
"""What a position of a row holds. EDGE: text before the images or after the action token."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One look at the scene and the prompt that goes with it."""

    text: Tensor
    """(T, d) embeddings of the prompt."""
    mask: Tensor
    """(T,) nonzero where the prompt is not padding."""
    images: Tensor
    """(cameras, V, d): gripper camera first if there is one, static camera last."""
    state: Tensor | None = None
    """(d,) embedding of the robot's state."""


Row = Sequence[Frame]
"""What one row of the batch is made of, oldest frame first. Of a video, the prompt is the newest frame's."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows, padded at the end to the longest."""

    embeds: Tensor
    """(B, S, d)."""
    mask: Tensor
    """(B, S) int64, 0 at padding."""
    kinds: Tensor
    """(B, S) int8: PADDING, EDGE, TEXT, ...."""
    frame: Tensor
    """(B, S) int16: which frame of the row a position belongs to; -1 at padding."""
    frames: tuple[int, ...]
    """Readouts per row: the number of frames, 1 for video."""
    images: SceneImages | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """What is the same for all rows of a model."""

    leading: int
    trailing: int
    layout: Literal["frames", "video"] = "frames"
    cross_attention: bool = False
    mask_inserted: bool = False
    """Whether state and action tokens are hidden from attention."""
    state_added: bool = False
    """Whether the embedding of a frame's state is added to its action tokens."""


def join(rows: Sequence[Row], layout: Layout, action: Tensor | None) -> Batch:
    """Builds the batch.

    Text and action tokens are joined row by row before anything is padded, so that a row's numbers do not
    depend on its neighbours. (The original pads the text first and inserts the action token before
    the last column; hand it text padded by :func:`pad_text` to get its training batches.)

    Args:
        action: (L, d) action tokens, or None when the structure has none.
    """
    alike: dict[tuple[Any, ...], list[int]] = {}
    for number, row in enumerate(rows):
        alike.setdefault(tuple((len(frame.text), frame.state is None) for frame in row), []).append(number)
    parts = [_stacked([rows[number] for number in members], layout, action) for members in alike.values()]
    longest = max(embeds.shape[1] for embeds, *_ in parts)
    # Padded and joined, not written into one tensor: each write would copy all rows' gradients on the way back.
    joined = [
        torch.cat([functional.pad(part, (*rest, 0, longest - part.shape[1]), value=fill) for part in of_kind])
        for of_kind, rest, fill in zip(zip(*parts, strict=True), ((0, 0), (), (), ()), (0, 0, PADDING, -1), strict=True)
    ]
    order = [number for members in alike.values() for number in members]
    if order != sorted(order):
        back = torch.tensor(order, device=joined[0].device).argsort()
        joined = [each[back] for each in joined]
    embeds, mask, kinds, frame = joined
    counts = tuple(1 if layout.layout == "video" else len(row) for row in rows)
    images = _scene_images(rows, frame, layout) if layout.cross_attention else None
    return Batch(embeds, mask, kinds, frame, counts, images)


def pad_text(texts: Sequence[Tensor], pad_id: int) -> tuple[Tensor, Tensor]:
    """Token ids of several prompts, padded at the end to the longest: (B, T) ids and (B, T) mask."""
    ids = torch.nn.utils.rnn.pad_sequence(list(texts), batch_first=True, padding_value=pad_id)
    lengths = torch.tensor([len(text) for text in texts], device=ids.device)
    return ids, (torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]).long()


def _stacked(rows: Sequence[Row], layout: Layout, action: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """G rows with as many frames and as long prompts each: embeddings (G, S, d), mask, kinds and frames (G, S)."""
    frames = [_together(of_rows) for of_rows in zip(*rows, strict=True)]
    if layout.layout == "video":
        # Cameras stay together: all gripper images, then all static ones.
        images = torch.stack([frame.images for frame in frames], dim=2).flatten(1, 3)
        pieces = [_frame(frames[-1], images, layout, action)]
    else:
        pieces = [_frame(frame, frame.images.flatten(1, 2), layout, action) for frame in frames]
    embeds, mask, kinds = (torch.cat(part, dim=1) for part in zip(*pieces, strict=True))
    lengths = torch.tensor([piece[0].shape[1] for piece in pieces], device=embeds.device)
    number = torch.repeat_interleave(torch.arange(len(pieces), device=embeds.device), lengths)
    return embeds, mask, kinds, number.to(torch.int16).expand(len(rows), -1)


def _together(frames: Sequence[Frame]) -> Frame:
    """Frames of several rows as one, every tensor with a leading G."""
    states = [frame.state for frame in frames if frame.state is not None]
    return Frame(
        torch.stack([frame.text for frame in frames]),
        torch.stack([frame.mask for frame in frames]),
        torch.stack([frame.images for frame in frames]),
        torch.stack(states) if states else None,
    )


def _frame(frame: Frame, images: Tensor, layout: Layout, action: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """What G rows hold of a frame, its tensors and ``images`` with a leading G."""
    text, text_mask = frame.text, frame.mask.to(torch.int64)
    rows, length = text_mask.shape
    start, end = layout.leading, length - layout.trailing
    pieces = [(text[:, :start], text_mask[:, :start], EDGE)]
    if not layout.cross_attention:
        pieces.append((images, text_mask.new_ones(images.shape[:2]), VISION))
    pieces.append((text[:, start:end], text_mask[:, start:end], TEXT))
    inserted = [] if frame.state is None else [(frame.state[:, None], STATE)]
    if action is not None:
        tokens = action.expand(rows, -1, -1)
        inserted.append(
            (tokens + frame.state[:, None] if layout.state_added and frame.state is not None else tokens, ACTION)
        )
    for tokens, kind in inserted:
        pieces.append((tokens, text_mask.new_full(tokens.shape[:2], int(not layout.mask_inserted)), kind))
    pieces.append((text[:, end:], text_mask[:, end:], EDGE))
    kinds = torch.cat([text_mask.new_full(tokens.shape[:2], kind, dtype=torch.int8) for tokens, _, kind in pieces], 1)
    return torch.cat([tokens for tokens, _, _ in pieces], 1), torch.cat([mask for _, mask, _ in pieces], 1), kinds


def _scene_images(rows: Sequence[Row], frame: Tensor, layout: Layout) -> SceneImages:
    """Frames as cross-attention sees them; a text position looks at its own frame, in a video at all."""
    most = max(len(row) for row in rows)
    sample = rows[0][0].images.flatten(0, 1)
    tokens = sample.new_zeros(len(rows), most, *sample.shape)
    visible = torch.zeros(*frame.shape, most, dtype=torch.bool, device=frame.device)
    for index, row in enumerate(rows):
        for number, seen in enumerate(row):
            tokens[index, number] = seen.images.flatten(0, 1)
            visible[index, :, number] = frame[index] >= 0 if layout.layout == "video" else frame[index] == number
    return SceneImages(tokens, visible)
