"""The policy network: a backbone, an action token and an action head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from vla_bench.policies.errors import PolicyError
from vla_bench.policies.vla.backbones.contract import Backbone
from vla_bench.policies.vla.config import VlaConfig
from vla_bench.policies.vla.fusion import ACTION, TEXT, VISION, Batch, Frame, Layout, Row, join
from vla_bench.policies.vla.heads import build_head
from vla_bench.policies.vla.resampler import PerceiverResampler

CENTRE, REACH = (0.0, -0.1, 0.55), 0.2
"""Middle and half width, roughly, of where the tool of CALVIN's robot goes, metres."""
OPEN = 0.08
"""Width of its open gripper, metres."""


class VlaModel(nn.Module):
    """Parameters are named as in a RoboVLMs checkpoint, less its leading ``model.``:

    ``backbone.*`` (the transformers model's own names), ``action_token`` (d,), ``act_head.*``, and with the
    options ``vision_resampler.*``, ``embed_arm_state``, ``embed_gripper_state``, ``embed_state``,
    ``clip_norm_head``.
    """

    def __init__(self, config: VlaConfig, adapter: Backbone):
        super().__init__()
        self.config = config
        self.adapter = adapter
        self.backbone = adapter.model
        width = adapter.hidden_size()
        self.layout = Layout(
            leading=adapter.leading,
            trailing=adapter.trailing,
            layout="video" if config.structure == "video" else "frames",
            cross_attention=adapter.cross_attention,
            mask_inserted=config.mask_action_token,
            state_added=config.state_added,
        )
        if not config.generates_tokens and config.readout == "action_token":
            self.action_token = nn.Parameter(torch.zeros(width))
            if adapter.action_token_std:
                nn.init.normal_(self.action_token, std=adapter.action_token_std)
        self.act_head = build_head(config, width)
        if config.vision_resampler:
            if adapter.cross_attention:
                raise PolicyError(
                    f"vla: backbone={config.backbone} brings its own resampler; set vision_resampler=false"
                )
            self.vision_resampler = PerceiverResampler(width)
        if config.state_token:
            self.embed_arm_state = nn.Linear(10 if config.state_encoding == "sincos" else 6, width)
            self.embed_gripper_state = nn.Embedding(2, width)
            self.embed_state = nn.Linear(2 * width, width)
        if config.clip_text:
            from vla_bench.policies.vla.clip_text import ClipTextHead

            self.clip_norm_head = ClipTextHead(width)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def embed_text(self, ids: Tensor) -> Tensor:
        """(..., T) token ids to (..., T, d)."""
        return self.adapter.embed(ids.to(self.device))

    def encode_images(self, pixels: Tensor, camera: str = "static") -> Tensor:
        """(N, 3, S, S) to (N, V, d) tokens, start and end tokens included where the backbone has them."""
        encode = self.adapter.encode_gripper_images if camera == "gripper" else self.adapter.encode_images
        tokens = encode(pixels.to(self.device, self.adapter.image_dtype()))
        if self.config.vision_resampler:
            tokens = self.vision_resampler(tokens)
        bounds = self.adapter.image_bounds()
        if bounds is not None:
            edges = self.embed_text(torch.tensor(bounds)).to(tokens.dtype).expand(len(tokens), -1, -1)
            tokens = torch.cat([edges[:, :1], tokens, edges[:, 1:]], dim=1)
        return tokens

    def encode_frames(self, static: Tensor, gripper: Tensor | None = None) -> Tensor:
        """(N, 3, S, S) pixels and (N, 3, G, G) of the gripper camera to (N, cameras, V, d), the gripper camera
        first."""
        if self.config.blind and len(static) > 1:
            # All images are the same black one.
            return self.encode_frames(static[:1], None if gripper is None else gripper[:1]).expand(
                len(static), -1, -1, -1
            )
        if gripper is None:
            return self.encode_images(static).unsqueeze(1)
        apart = type(self.adapter).encode_gripper_images is not Backbone.encode_gripper_images
        if apart or gripper.shape != static.shape:
            return torch.stack([self.encode_images(gripper, "gripper"), self.encode_images(static)], dim=1)
        tokens = self.encode_images(torch.cat([gripper, static]))
        return tokens.unflatten(0, (2, len(static))).transpose(0, 1)

    def encode_state(self, state: Tensor) -> Tensor:
        """(N, 7) robot states (xyz in metres, Euler angles in radians, gripper -1 closed or 1 open) to (N,
        d)."""
        state = state.to(self.device, self.embed_arm_state.weight.dtype)
        gripper = (state[..., 6] > 0).long()
        arm = state[..., :6]
        if self.config.state_encoding == "sincos":
            place = (arm[..., :3] - arm.new_tensor(CENTRE)) / REACH
            opening = 2 * state[..., 7:8] / OPEN - 1
            arm = torch.cat([place, arm[..., 3:].sin(), arm[..., 3:].cos(), opening], dim=-1)
        both = [self.embed_arm_state(arm), self.embed_gripper_state(gripper)]
        numbers = torch.cat(both, dim=-1)
        # The original's two layers in a row are one; a small network is glad of two.
        return self.embed_state(functional.gelu(numbers) if self.config.state_encoding == "sincos" else numbers)

    def join(self, rows: Sequence[Row]) -> Batch:
        """Rows as a batch, with this model's action tokens."""
        action = None
        if hasattr(self, "action_token"):
            action = self.action_token.expand(self.config.latent, -1)
        return join(rows, self.layout, action)

    def hidden(self, batch: Batch) -> Tensor:
        """(B, S, d) hidden states after the final norm."""
        return self.adapter.decode(batch.embeds, batch.mask, images=batch.images).hidden

    def readout(self, batch: Batch, hidden: Tensor) -> list[Tensor]:
        """Hidden states that the head reads, one (n, d) tensor per frame, row after row."""
        source = {"all": None, "text": TEXT, "vision": VISION}[self.config.token_source]
        if self.config.readout == "action_token":
            source = ACTION
        wanted = batch.kinds >= 0 if source is None else batch.kinds == source
        counts = []
        for row, frames in enumerate(batch.frames):
            of_row = batch.frame[row][wanted[row]].long()
            counts += torch.bincount(of_row, minlength=frames).tolist()
        if 0 in counts:
            raise PolicyError(
                f"vla: token_source={self.config.token_source} names no token in a row of backbone "
                f"{self.config.backbone}; set token_source=all"
            )
        return list(hidden[wanted].split(counts))

    def features(self, batch: Batch, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, L * d) features of the frames of each row, padded at the end, and (B,) frame counts."""
        tokens = self.readout(batch, hidden)
        read: list[Tensor | None] = [None] * len(tokens)
        by_length: dict[int, list[int]] = {}
        for index, frame in enumerate(tokens):
            by_length.setdefault(len(frame), []).append(index)
        for members in by_length.values():
            for index, feature in zip(
                members, self.act_head.read(torch.stack([tokens[i] for i in members])), strict=True
            ):
                read[index] = feature
        rows = torch.stack(read).split(list(batch.frames))
        lengths = torch.tensor(batch.frames, device=hidden.device)
        return nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths

    def rows(
        self,
        text: Tensor,
        mask: Tensor,
        images: Tensor,
        state: Tensor | None = None,
        *,
        keep_padding: bool = False,
    ) -> list[Row]:
        """Rows of a training batch: one per frame, or one per sample when frames share a sequence.

        Args:
            text: (B, T, d) prompt embeddings. mask: (B, T).
            images: (B, W, cameras, V, d). state: (B, W, d).
            keep_padding: leave the padding of the prompts where it is, inside the rows, as the original's
            training did.
        """
        rows: list[Row] = []
        # Taken apart at once: the gradient of text[sample] is as large as the whole batch's, for each sample.
        seen = [frames.unbind() for frames in images.unbind()]
        states = None if state is None else [frames.unbind() for frames in state.unbind()]
        for sample, (prompt, kept) in enumerate(zip(text.unbind(), mask.unbind(), strict=True)):
            length = len(prompt) if keep_padding else int(kept.sum())
            frames = [
                Frame(prompt[:length], kept[:length], image, None if states is None else states[sample][number])
                for number, image in enumerate(seen[sample])
            ]
            rows += [frames] if self.config.structure in ("interleaved", "video") else [[f] for f in frames]
        return rows
