"""Joins frames, text, state and action tokens into the rows a language model reads.

One frame is ``[leading text][gripper image][static image][text][state][action x L][trailing text]``; the
order is that of the original, which inserts the gripper image after, and hence before, the static one. A row
holds one frame, or W of them one after the other (interleaved), or one prompt with the images of W (video).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

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
    parts = [_row(row, layout, action) for row in rows]
    longest = max(len(embeds) for embeds, *_ in parts)
    device, width = parts[0][0].device, parts[0][0].shape[-1]
    embeds = parts[0][0].new_zeros(len(rows), longest, width)
    mask = torch.zeros(len(rows), longest, dtype=torch.int64, device=device)
    kinds = torch.full((len(rows), longest), PADDING, dtype=torch.int8, device=device)
    frame = torch.full((len(rows), longest), -1, dtype=torch.int16, device=device)
    for index, (row_embeds, row_mask, row_kinds, row_frame) in enumerate(parts):
        length = len(row_embeds)
        embeds[index, :length] = row_embeds
        mask[index, :length] = row_mask
        kinds[index, :length] = row_kinds
        frame[index, :length] = row_frame
    counts = tuple(1 if layout.layout == "video" else len(row) for row in rows)
    images = _scene_images(rows, frame, layout) if layout.cross_attention else None
    return Batch(embeds, mask, kinds, frame, counts, images)


def pad_text(texts: Sequence[Tensor], pad_id: int) -> tuple[Tensor, Tensor]:
    """Token ids of several prompts, padded at the end to the longest: (B, T) ids and (B, T) mask."""
    ids = torch.nn.utils.rnn.pad_sequence(list(texts), batch_first=True, padding_value=pad_id)
    lengths = torch.tensor([len(text) for text in texts], device=ids.device)
    return ids, (torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]).long()


def _row(row: Row, layout: Layout, action: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if layout.layout == "video":
        # Cameras stay together: all gripper images, then all static ones.
        images = torch.stack([frame.images for frame in row], dim=1).flatten(0, 2)
        pieces = [_frame(row[-1], images, layout, action)]
    else:
        pieces = [_frame(frame, frame.images.flatten(0, 1), layout, action) for frame in row]
    embeds, mask, kinds = (torch.cat(part) for part in zip(*pieces, strict=True))
    lengths = torch.tensor([len(piece[0]) for piece in pieces], device=embeds.device)
    number = torch.repeat_interleave(torch.arange(len(pieces), device=embeds.device), lengths)
    return embeds, mask, kinds, number


def _frame(frame: Frame, images: Tensor, layout: Layout, action: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    text, text_mask = frame.text, frame.mask.to(torch.int64)
    start, end = layout.leading, len(text) - layout.trailing
    pieces = [(text[:start], text_mask[:start], EDGE)]
    if not layout.cross_attention:
        pieces.append((images, text_mask.new_ones(len(images)), VISION))
    pieces.append((text[start:end], text_mask[start:end], TEXT))
    inserted = [] if frame.state is None else [(frame.state[None], STATE)]
    if action is not None:
        inserted.append((action + frame.state if layout.state_added and frame.state is not None else action, ACTION))
    for tokens, kind in inserted:
        pieces.append((tokens, text_mask.new_full((len(tokens),), int(not layout.mask_inserted)), kind))
    pieces.append((text[end:], text_mask[end:], EDGE))
    kinds = torch.cat([text_mask.new_full((len(tokens),), kind) for tokens, _, kind in pieces])
    return (
        torch.cat([tokens for tokens, _, _ in pieces]),
        torch.cat([mask for _, mask, _ in pieces]),
        kinds.to(torch.int8),
    )


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
