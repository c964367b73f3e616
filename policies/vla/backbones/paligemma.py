"""PaliGemma: SigLIP and Gemma (google/paligemma-3b-pt-224)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration

from vla_bench.policies.vla.backbones.contract import Backbone, SceneImages
from vla_bench.policies.vla.images import PixelRecipe
from vla_bench.policies.vla.prompts import CAPTION_PROMPTS


class PaliGemma(Backbone):
    """Gemma scales embeddings by sqrt(d); image tokens are divided by it first, the action token is not.

    Attention is causal over the whole row: handed embeddings alone, the model of the original's time knew
    of no prefix. It must be said, since the present class would attend both ways in rows without padding
    only.
    """

    model_class = PaliGemmaForConditionalGeneration
    prompt = CAPTION_PROMPTS["paligemma"]
    pixels = PixelRecipe(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))

    @classmethod
    def tiny_config(cls) -> PaliGemmaConfig:
        text = dict(
            model_type="gemma",
            vocab_size=576,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=16,
        )
        vision = dict(
            model_type="siglip_vision_model",
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=28,
            patch_size=14,
        )
        return PaliGemmaConfig(text_config=text, vision_config=vision, projection_dim=32, hidden_size=32)

    @classmethod
    def build(cls, config: PaliGemmaConfig) -> nn.Module:
        config.text_config.use_bidirectional_attention = False
        return super().build(config)

    def embed(self, ids: Tensor) -> Tensor:
        # The embedding module of transformers 5 scales by itself; rows are scaled in inputs, once.
        return functional.embedding(ids, self.model.get_input_embeddings().weight)

    def encode_images(self, pixels: Tensor) -> Tensor:
        return super().encode_images(pixels) / self.hidden_size() ** 0.5

    def inputs(self, embeds: Tensor, positions: Tensor | None, images: SceneImages | None) -> dict[str, Any]:
        return super().inputs(embeds * self.hidden_size() ** 0.5, positions, images)
