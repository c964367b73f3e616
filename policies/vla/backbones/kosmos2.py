"""Kosmos-2: the backbone of the published checkpoints (microsoft/kosmos-2-patch14-224)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import Kosmos2Config, Kosmos2ForConditionalGeneration

from vla_bench.policies.vla.backbones.contract import Backbone, SceneImages
from vla_bench.policies.vla.prompts import CAPTION_PROMPTS


class Kosmos2(Backbone):
    """Order of a row: ``<s>``, images, text, action token, ``</s>``. The model scales all embeddings by
    sqrt(d)."""

    model_class = Kosmos2ForConditionalGeneration
    prompt = CAPTION_PROMPTS["kosmos"]

    @classmethod
    def tiny_config(cls) -> Kosmos2Config:
        text = dict(vocab_size=576, embed_dim=32, layers=2, attention_heads=2, ffn_dim=64, max_position_embeddings=128)
        vision = dict(
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=28,
            patch_size=14,
        )
        return Kosmos2Config(text_config=text, vision_config=vision, latent_query_num=4)

    def hidden_size(self) -> int:
        return self.model.config.text_config.embed_dim

    def embed(self, ids: Tensor) -> Tensor:
        return self.model.text_model.model.embed_tokens(ids)

    def encode_images(self, pixels: Tensor) -> Tensor:
        vision = self.model.vision_model(pixel_values=pixels)
        features = self.model.vision_model.model.post_layernorm(vision.last_hidden_state)
        features = torch.nn.functional.normalize(features, dim=-1)
        return self.model.image_to_text_projection(features)[0]

    def vision_tower(self) -> nn.Module:
        return self.model.vision_model

    def word_embedding(self) -> nn.Module:
        return self.model.text_model.model.embed_tokens

    def language_model(self) -> nn.Module:
        return self.model.text_model.model

    def inputs(self, embeds: Tensor, positions: Tensor | None, images: SceneImages | None) -> dict[str, Any]:
        if positions is not None:
            # Positions are rows of a sinusoidal table whose first padding_idx + 1 rows are not for tokens.
            positions = positions + self.language_model().embed_positions.padding_idx + 1
        return super().inputs(embeds, positions, images)

    def logits(self, hidden: Tensor) -> Tensor:
        return self.model.text_model.lm_head(hidden)


class Tiny(Kosmos2):
    """A Kosmos-2 of some 10^5 random parameters, built on the spot: smoke runs and CI need no download."""
