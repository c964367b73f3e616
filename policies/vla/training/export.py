"""A checkpoint of ours under RoboVLMs' names: one ``.pt`` file and the JSON configuration beside it.

Field names: Robot-VLAs/RoboVLMs at 8adc1d2, ``configs/``; what :mod:`vla_bench.policies.vla.robovlms_config` reads.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch

from vla_bench.policies.errors import PolicyError
from vla_bench.policies.vla.checkpoints import read_tensors
from vla_bench.policies.vla.config import VlaConfig
from vla_bench.policies.vla.robovlms_config import BACKBONE_NAMES, read_config

_HEADS = {"fc": "FCDecoder", "lstm": "LSTMDecoder", "gpt": "GPTDecoder", "none": "DiscreteDecoder"}
_CLASSES = {
    "kosmos": "RoboKosMos",
    "paligemma": "RoboPaligemma",
    "llava": "RoboLLaVA",
    "qwen": "RoboQwen",
    "moondream": "RoboMoonDream",
    "uform": "RoboUform",
    "flamingo": "RoboFlamingo",
}


def to_robovlms(folder: str | Path, target: str | Path) -> Path:
    """Writes ``target`` (``.pt``) and its configuration; returns the latter's path.

    Raises:
        PolicyError: the checkpoint has something that RoboVLMs has no name for, or is not in our own format.
    """
    folder, target = Path(folder), Path(target)
    if not (folder / "vla.json").is_file():
        raise PolicyError(f"{folder} is no checkpoint in our own format: it has no vla.json")
    structure = read_config(folder / "vla.json")
    fields = robovlms_fields(structure)
    state = {f"model.{name}": value for name, value in read_tensors(folder).items()}
    part = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        torch.save({"state_dict": state}, part)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    beside = target.with_suffix(".json")
    beside.write_text(json.dumps(fields, indent=1) + "\n")
    return beside


def robovlms_fields(structure: VlaConfig) -> dict[str, Any]:
    """The configuration as RoboVLMs types it; :func:`read_config` of it gives the structure back, but for what
    RoboVLMs does not know (stride). PolicyError: it knows too little."""
    names = {ours: theirs for theirs, ours in BACKBONE_NAMES.items()}
    names["tiny"] = "kosmos"
    if structure.backbone not in names:
        raise PolicyError(f"RoboVLMs has no backbone {structure.backbone}; it has {', '.join(sorted(names))}")
    for wanted, said in (
        (
            structure.norm is not None and isinstance(structure.norm[0], tuple),
            "one pair of bounds for the whole arm, and "
            "this was trained with one for each number (train.normalise=given trains with policy.model.norm)",
        ),
        (structure.action_space == "discrete" and structure.head != "none", "no head that classifies"),
        (structure.readout == "all", "no head that reads all tokens"),
        (structure.state_token, "no state token that works"),
        (structure.blind, "no blind policy"),
        (structure.action_frame == "tcp_pose", "no action_frame=tcp_pose"),
    ):
        if wanted:
            raise PolicyError(f"RoboVLMs has {said}")
    name = names[structure.backbone]
    space = "discrete" if structure.generates_tokens else "continuous"
    if structure.readout != "action_token":
        space = "down_sample"
    history = {"interleaved": "pre", "video": "video"}.get(structure.structure, "post")
    head = {
        "type": _HEADS[structure.head],
        "hidden_size": structure.hidden,
        "action_dim": 7,
        "down_sample": structure.readout if space == "down_sample" else "none",
        "token_source": structure.token_source,
        "latent": structure.latent,
        "fwd_pred_next_n": structure.chunk,
        "window_size": structure.window,
        "action_space": space,
        "with_history": structure.window > 1,
        "history_type": history,
        "num_layers": structure.lstm_layers,
        "policy_rnn_dropout_p": structure.lstm_dropout,
        "n_bin": structure.bins,
        "min_action": structure.bin_min,
        "max_action": structure.bin_max,
        "fill_zero": structure.mask_action_token,
    }
    low, high = structure.norm or (-0.65, 0.65)
    fields: dict[str, Any] = {
        "robovlm_name": _CLASSES[name],
        "model": name,
        "window_size": structure.window,
        "fwd_pred_next_n": structure.chunk,
        "image_size": structure.image_size,
        "use_hand_rgb": structure.gripper_camera,
        "use_state": False,
        "use_vision_resampler": structure.vision_resampler,
        "use_clip_norm": structure.clip_text,
        "norm_action": structure.norm is not None,
        "norm_min": low,
        "norm_max": high,
        "use_mu_law": structure.mu_law is not None,
        "mu_val": structure.mu_law or 255.0,
        "tcp_rel": structure.action_frame == "tcp",
        "action_scale": structure.action_scale,
        "arm_gripper_loss_ratio": structure.gripper_loss_ratio,
        "clip_norm_ratio": structure.clip_loss_ratio,
        "vl_cotrain_ratio": structure.cotrain_loss_ratio,
        "act_head": head,
    }
    return fields
