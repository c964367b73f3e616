"""LLaVA and the models of its build: a vision tower, a projector, a decoder-only language model.

Moondream (SigLIP and Phi) and UForm-Gen (CLIP and a small decoder) are not classes of transformers; they
stand here as the same build with their own parts and prompts. Their published weights carry other names.
"""

from __future__ import annotations

from transformers import LlavaConfig, LlavaForConditionalGeneration

from vla_bench.policies.vla.backbones.contract import Backbone
from vla_bench.policies.vla.prompts import CAPTION_PROMPTS

_TEXT = dict(vocab_size=576, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)
_VISION = dict(
    hidden_size=16,
    intermediate_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    image_size=28,
    patch_size=14,
)


class Llava(Backbone):
    """llava-hf/llava-1.5-7b-hf and its kin; text carries no EOS, so the action token stands before its
    last piece."""

    model_class = LlavaForConditionalGeneration
    prompt = CAPTION_PROMPTS["llava"]

    @classmethod
    def tiny_config(cls) -> LlavaConfig:
        return LlavaConfig(
            text_config=dict(_TEXT, model_type="llama", num_key_value_heads=2),
            vision_config=dict(_VISION, model_type="clip_vision_model"),
            image_seq_length=4,
        )


class Moondream(Llava):
    """SigLIP and Phi, with Moondream's prompt."""

    prompt = CAPTION_PROMPTS["moondream"]

    @classmethod
    def tiny_config(cls) -> LlavaConfig:
        return LlavaConfig(
            text_config=dict(_TEXT, model_type="phi", num_key_value_heads=2),
            vision_config=dict(_VISION, model_type="siglip_vision_model"),
            vision_feature_select_strategy="full",
            image_seq_length=4,
        )


class Uform(Llava):
    """CLIP and a small decoder, with UForm-Gen's prompt."""

    prompt = CAPTION_PROMPTS["uform"]

    @classmethod
    def tiny_config(cls) -> LlavaConfig:
        return LlavaConfig(
            text_config=dict(_TEXT, model_type="qwen2", num_key_value_heads=1),
            vision_config=dict(_VISION, model_type="clip_vision_model"),
            image_seq_length=4,
        )
