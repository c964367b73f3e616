"""Reads the JSON configuration that stands beside a published RoboVLMs checkpoint.

Field names and their meaning: Robot-VLAs/RoboVLMs at 8adc1d2, ``configs/`` and
``robovlms/model/backbone/base_backbone.py``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policies.errors import PolicyError
from policies.vla.config import VlaConfig

BACKBONE_NAMES = {
    "kosmos": "kosmos2",
    "paligemma": "paligemma",
    "llava": "llava",
    "qwen": "qwen_vl",
    "moondream": "moondream",
    "uform": "uform",
    "flamingo": "idefics",
}
_HEADS = {"FCDecoder": "fc", "LSTMDecoder": "lstm", "GPTDecoder": "gpt", "DiscreteDecoder": "none"}


def read_config(path: str | Path) -> VlaConfig:
    """The structure that a RoboVLMs JSON file describes; PolicyError says what is missing in it."""
    path = Path(path)
    try:
        fields = json.loads(path.read_text())
    except FileNotFoundError:
        raise PolicyError(
            f"vla: there is no configuration file {path}; give its path as config=..."
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise PolicyError(f"vla: {path} is not JSON ({error})") from None
    if not isinstance(fields, dict):
        raise PolicyError(f"vla: {path} holds no JSON object, so it is no configuration")
    if "act_head" not in fields and "backbone" in fields:
        return VlaConfig.from_mapping(fields)
    return from_robovlms(fields, source=str(path))


def from_robovlms(fields: Mapping[str, Any], source: str = "the configuration") -> VlaConfig:
    """The structure that these RoboVLMs fields describe.

    ``window_size`` and ``fwd_pred_next_n`` inside ``act_head`` are ignored, since the original
    overrides them with the top-level values; so is ``vision_resampler``, which it never reads.
    """

    def need(mapping: Mapping[str, Any], name: str, where: str) -> Any:
        if name not in mapping:
            raise PolicyError(f"vla: {source} has no field {where}{name!r}, which says what the model is")
        return mapping[name]

    act_head = need(fields, "act_head", "")
    if not isinstance(act_head, Mapping):
        raise PolicyError(f"vla: act_head in {source} is {act_head!r}; a policy needs an action head")
    model = str(need(fields, "model", "")).lower()
    backbone = next((ours for theirs, ours in BACKBONE_NAMES.items() if model.startswith(theirs)), None)
    if backbone is None:
        raise PolicyError(
            f"vla: model={model!r} in {source} is no backbone we know; known: {', '.join(BACKBONE_NAMES)}"
        )
    kind = need(act_head, "type", "act_head.")
    if kind not in _HEADS:
        raise PolicyError(f"vla: act_head.type={kind!r} in {source}; known: {', '.join(_HEADS)}")
    window = int(need(fields, "window_size", ""))
    space = act_head.get("action_space", "continuous")
    history = act_head.get("history_type", "post")
    if history == "pre":
        structure = "interleaved"
    elif history == "video":
        structure = "video"
    elif history == "post":
        structure = "one_step" if window == 1 and _HEADS[kind] in ("fc", "none") else "policy_head"
    else:
        raise PolicyError(f"vla: act_head.history_type={history!r} in {source}; known: post, pre, video")
    if _HEADS[kind] == "none" and structure == "policy_head":
        # The discrete structure always trains on interleaved frames; history_type is not consulted.
        structure = "interleaved"
    reduction = act_head.get("down_sample", "none")
    return VlaConfig(
        backbone=backbone,
        structure=structure,
        action_space="discrete" if space == "discrete" else "continuous",
        head=_HEADS[kind],
        hidden=int(act_head.get("hidden_size", 1024)),
        window=window,
        chunk=int(need(fields, "fwd_pred_next_n", "")),
        latent=int(act_head.get("latent", 1)),
        readout=reduction if space == "down_sample" else "action_token",
        token_source=act_head.get("token_source", "all"),
        gripper_camera=bool(fields.get("use_hand_rgb", False)),
        state_token=bool(fields.get("use_state", False)),
        vision_resampler=bool(fields.get("use_vision_resampler", False)),
        clip_text=bool(fields.get("use_clip_norm", False)),
        bins=int(act_head.get("n_bin", 256)),
        bin_min=float(act_head.get("min_action", -1)),
        bin_max=float(act_head.get("max_action", 1)),
        norm=(float(fields["norm_min"]), float(fields["norm_max"])) if fields.get("norm_action") else None,
        mu_law=float(fields.get("mu_val", 255)) if fields.get("use_mu_law") else None,
        action_frame="tcp" if fields.get("tcp_rel") else "world",
        image_size=int(fields.get("image_size", 224)),
        mask_action_token=bool(act_head.get("fill_zero", False)),
    )
