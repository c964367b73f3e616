"""Qwen2.5-VL, the current class for the Qwen-VL of the original (Qwen/Qwen2.5-VL-3B-Instruct)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from vla_bench.policies.vla.backbones.contract import Backbone
from vla_bench.policies.vla.prompts import CAPTION_PROMPTS


class QwenVl(Backbone):
    """No BOS and no EOS around the text: images come first, the action token last.

    Positions are plain (one axis): the row is built of embeddings, without the grid of an image.
    """

    model_class = Qwen2_5_VLForConditionalGeneration
    prompt = CAPTION_PROMPTS["qwen"]
    question_style = "qwen"
    leading = 0
    trailing = 0

    @classmethod
    def tiny_config(cls) -> Qwen2_5_VLConfig:
        text = dict(
            vocab_size=576,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            bos_token_id=1,
            eos_token_id=2,
            rope_parameters=dict(rope_type="default", rope_theta=1e6, mrope_section=[2, 3, 3]),
        )
        vision = dict(
            depth=1,
            hidden_size=16,
            intermediate_size=32,
            num_heads=2,
            out_hidden_size=32,
            patch_size=7,
            window_size=28,
            fullatt_block_indexes=[0],
        )
        return Qwen2_5_VLConfig(
            text_config=text,
            vision_config=vision,
            vision_start_token_id=3,
            vision_end_token_id=4,
            image_token_id=5,
            video_token_id=6,
        )

    def image_bounds(self) -> tuple[int, int]:
        return self.model.config.vision_start_token_id, self.model.config.vision_end_token_id

    def vision_tower(self) -> nn.Module:
        return self.model.model.visual

    def encode_images(self, pixels: Tensor) -> Tensor:
        vision = self.model.config.vision_config
        patch, merge, frames = vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size
        count, channels, side, _ = pixels.shape
        grid = side // patch
        # A still image is a clip of `temporal_patch_size` equal frames, cut into patches that lie in
        # groups of merge x merge (the layout of transformers' Qwen2VLImageProcessor).
        patches = pixels.unsqueeze(1).expand(-1, frames, -1, -1, -1)
        patches = patches.reshape(
            count, frames, channels, grid // merge, merge, patch, grid // merge, merge, patch
        ).permute(0, 3, 6, 4, 7, 2, 1, 5, 8)
        patches = patches.reshape(count * grid * grid, channels * frames * patch * patch)
        grids = torch.tensor([[1, grid, grid]], device=pixels.device).expand(count, -1)
        merged = self.model.model.visual(patches, grid_thw=grids).pooler_output
        return merged.reshape(count, -1, merged.shape[-1])
