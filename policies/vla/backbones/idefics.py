"""IDEFICS: a language model that looks at images through gated cross-attention, as Flamingo does."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import IdeficsConfig, IdeficsForVisionText2Text

from vla_bench.policies.vla.backbones.contract import Backbone, SceneImages
from vla_bench.policies.vla.images import PixelRecipe
from vla_bench.policies.vla.prompts import TextPrompt


class Idefics(Backbone):
    """HuggingFaceM4/idefics-9b and its kin, in the place of the original's OpenFlamingo."""

    model_class = IdeficsForVisionText2Text
    prompt = TextPrompt("{instruction}{eos}")
    pixels = PixelRecipe()
    cross_attention = True

    @classmethod
    def tiny_config(cls) -> IdeficsConfig:
        return IdeficsConfig(
            vocab_size=576,
            additional_vocab_size=0,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            cross_layer_interval=1,
            # Gates of zero, the initial value of Flamingo, would hide the images from a random model.
            alpha_initializer="ones",
            use_resampler=True,
            perceiver_config=dict(
                use_resampler=True,
                resampler_n_latents=4,
                resampler_depth=1,
                resampler_n_heads=2,
                resampler_head_dim=8,
            ),
            vision_config=dict(
                embed_dim=16,
                intermediate_size=32,
                num_hidden_layers=1,
                num_attention_heads=2,
                image_size=28,
                patch_size=14,
            ),
        )

    def hidden_size(self) -> int:
        return self.model.config.hidden_size

    def encode_images(self, pixels: Tensor) -> Tensor:
        features = self.model.model.vision_model(pixel_values=pixels).last_hidden_state
        if self.model.config.use_resampler:
            features = self.model.model.perceiver_resampler(features)
        return features

    def language_model(self) -> nn.Module:
        return self.model.model

    def inputs(self, embeds: Tensor, positions: Tensor | None, images: SceneImages | None) -> dict[str, Any]:
        if images is None:
            raise ValueError("IDEFICS looks at images through cross-attention; none were given")
        kind = "perceiver_embeddings" if self.model.config.use_resampler else "image_encoder_embeddings"
        seen = {"image_attention_mask": images.visible, kind: images.tokens}
        return super().inputs(embeds, positions, images) | seen
