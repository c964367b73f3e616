"""Tiny random policies and made-up observations for the tests of ``vla_bench.policies.vla``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from vla_bench.policies.vla.engine import Engine
from vla_bench.policies.vla.options import VlaOptions

STRUCTURES: dict[str, dict[str, Any]] = {
    "one_step": {"structure": "one_step", "head": "fc", "window": 1},
    "one_step_tokens": {"structure": "one_step", "head": "none", "window": 1, "action_space": "discrete"},
    "interleaved": {"structure": "interleaved", "head": "fc"},
    "interleaved_lstm": {"structure": "interleaved", "head": "lstm"},
    "interleaved_tokens": {"structure": "interleaved", "head": "none", "action_space": "discrete"},
    "video": {"structure": "video", "head": "fc"},
    "policy_head_fc": {"structure": "policy_head", "head": "fc"},
    "policy_head_lstm": {"structure": "policy_head", "head": "lstm"},
    "policy_head_gpt": {"structure": "policy_head", "head": "gpt"},
    "policy_head_lstm_bins": {"structure": "policy_head", "head": "lstm", "action_space": "discrete"},
    "policy_head_gpt_bins": {"structure": "policy_head", "head": "gpt", "action_space": "discrete"},
    "policy_head_fc_bins": {"structure": "policy_head", "head": "fc", "action_space": "discrete"},
    "pooled": {"structure": "policy_head", "head": "lstm", "readout": "pooling", "latent": 2},
    "pooled_text": {"structure": "interleaved", "head": "fc", "readout": "pooling", "token_source": "text"},
    "all_tokens": {"structure": "interleaved", "head": "fc", "readout": "all", "latent": 100},
    "all_text": {"structure": "policy_head", "head": "lstm", "readout": "all", "token_source": "text", "latent": 100},
    "resampled": {"structure": "policy_head", "head": "gpt", "readout": "resampler"},
    "state_token": {"structure": "interleaved", "head": "fc", "latent": 2, "state_token": True},
}
"""Every structure, by the fields that make it."""

INSTRUCTIONS = ("open the drawer", "push", "take the blue block and rotate it to the right")


def options(structure: str = "policy_head_lstm", *, model: dict[str, Any] | None = None, **more: Any) -> VlaOptions:
    """A tiny policy with random weights."""
    fields = {
        "backbone": "tiny",
        "hidden": 16,
        "window": 3,
        "chunk": 2,
        "image_size": 28,
        "gripper_camera": True,
    }
    return VlaOptions.from_arguments({"seed": 1, "model": {**fields, **STRUCTURES[structure], **(model or {})}, **more})


def engine(structure: str = "policy_head_lstm", **more: Any) -> Engine:
    """The tiny policy, with weights large enough that every input shows in the output."""
    made = Engine.from_options(options(structure, **more))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in made.model.named_parameters():
            if parameter.dim() > 1:
                fan = parameter[0].numel() if "embed" not in name and "wpe" not in name else 2.0
                parameter.normal_(std=1.2 / fan**0.5, generator=generator)
            elif name == "action_token":
                parameter.normal_(generator=generator)
    made._prompts.clear()
    return made


def observation(seed: int) -> dict[str, np.ndarray]:
    """What a CALVIN camera pair and the robot might show."""
    random = np.random.default_rng(seed)
    return {
        "rgb_static": random.integers(0, 256, (40, 40, 3), dtype=np.uint8),
        "rgb_gripper": random.integers(0, 256, (20, 20, 3), dtype=np.uint8),
        "robot_obs": random.normal(size=15),
    }
