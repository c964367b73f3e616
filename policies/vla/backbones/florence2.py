"""Florence-2: an encoder and a decoder (florence-community/Florence-2-base)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import Florence2Config, Florence2ForConditionalGeneration

from vla_bench.policies.vla.backbones.contract import Backbone, Decoded, SceneImages
from vla_bench.policies.vla.images import PixelRecipe
from vla_bench.policies.vla.prompts import TextPrompt


class Florence2(Backbone):
    """The encoder reads each image by itself, once; text and action tokens are the decoder's, whose positions
    look at the images of their own frame through cross-attention."""

    model_class = Florence2ForConditionalGeneration
    prompt = TextPrompt("{instruction}")
    pixels = PixelRecipe(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))  # ImageNet's
    cross_attention = True

    @classmethod
    def tiny_config(cls) -> Florence2Config:
        layers = dict(encoder_layers=1, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2)
        text = dict(vocab_size=576, d_model=32, encoder_ffn_dim=64, decoder_ffn_dim=64, **layers)
        vision = dict(embed_dim=(8, 16), depths=(1, 1), num_heads=(1, 2), num_groups=(1, 2), window_size=2)
        patches = dict(patch_size=(7, 3), patch_stride=(7, 2), patch_padding=(0, 1), patch_prenorm=(False, True))
        return Florence2Config(
            text_config=dict(text, model_type="bart", max_position_embeddings=512),
            vision_config=dict(vision, **patches, projection_dim=32),
            image_token_id=575,
        )

    def hidden_size(self) -> int:
        return self.model.config.text_config.d_model

    def encode_images(self, pixels: Tensor) -> Tensor:
        tokens = super().encode_images(pixels)
        return self.model.model.language_model.encoder(inputs_embeds=tokens).last_hidden_state

    def language_model(self) -> nn.Module:
        return self.model.model.language_model.decoder

    def inputs(self, embeds: Tensor, positions: Tensor | None, images: SceneImages | None) -> dict[str, Any]:
        if images is None:
            raise ValueError("Florence-2 looks at images through cross-attention; none were given")
        # Padding looks at everything, since attending to nothing is not a number.
        visible = images.visible | ~images.visible.any(dim=-1, keepdim=True)
        return {
            "inputs_embeds": embeds,
            "encoder_hidden_states": images.tokens.flatten(1, 2),
            "encoder_attention_mask": visible.repeat_interleave(images.tokens.shape[2], dim=2)[:, None],
        }

    def decode(self, embeds: Tensor, mask: Tensor | None, *, positions: Tensor | None = None, **more: Any) -> Decoded:
        if positions is not None:
            # The decoder counts positions by itself, padding included.
            table, cache = self.language_model().embed_positions, more.get("cache")
            counted = torch.arange(embeds.shape[1], device=embeds.device)
            counted += cache.get_seq_length() if cache is not None else 0
            embeds = embeds + (table.weight[positions + table.offset] - table.weight[counted + table.offset])
        return super().decode(embeds, mask, **more)
