"""SmolVLM: SigLIP, pixel shuffle and a small Llama (HuggingFaceTB/SmolVLM-Instruct)."""

from __future__ import annotations

from torch import Tensor, nn
from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

from vla_bench.policies.vla.backbones.contract import Backbone
from vla_bench.policies.vla.images import PixelRecipe
from vla_bench.policies.vla.prompts import TextPrompt


class SmolVlm(Backbone):
    """One tile per image, at the size the configuration names."""

    model_class = SmolVLMForConditionalGeneration
    prompt = TextPrompt("{instruction}")
    pixels = PixelRecipe(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))

    @classmethod
    def tiny_config(cls) -> SmolVLMConfig:
        text = dict(vocab_size=576, hidden_size=32, intermediate_size=64, num_hidden_layers=2)
        vision = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, image_size=28, patch_size=7)
        heads = dict(num_attention_heads=2)
        return SmolVLMConfig(
            text_config=dict(text, **heads, model_type="llama", pad_token_id=1),
            vision_config=dict(vision, **heads),
        )

    def encode_images(self, pixels: Tensor) -> Tensor:
        # The model's own way leaves out images that are all zero, which a black frame may be.
        return self.model.model.connector(self.model.model.vision_model(pixels).last_hidden_state)

    def language_model(self) -> nn.Module:
        return self.model.model.text_model
