"""Reads the JSON configuration that stands beside a published RoboVLMs checkpoint.

Field names and their meaning: Robot-VLAs/RoboVLMs at 8adc1d2, ``configs/``, ``base_trainer.py``,
``base_backbone.py`` and ``eval/calvin/model_wrapper.py``. A field that changes what a policy does is
honoured or refused; the many others (data, optimiser, paths) are passed over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from vla_bench.envs.errors import suggestion
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.vla.config import VlaConfig

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
_SPACES = ("continuous", "down_sample", "discrete")
_HISTORIES = ("post", "pre", "video")
_HEARD = (
    *("model", "act_head", "window_size", "fwd_pred_next_n", "image_size", "parent", "tokenizer", "trainer"),
    *("use_hand_rgb", "use_state", "use_vision_resampler", "use_clip_norm", "llava", "qwen", "tcp_rel"),
    *("norm_action", "norm_min", "norm_max", "use_mu_law", "mu_val", "action_scale"),
    *("arm_gripper_loss_ratio", "clip_norm_ratio", "vl_cotrain_ratio"),
)
_HEARD_OF_HEAD = (
    *("type", "action_space", "history_type", "hidden_size", "latent", "down_sample", "token_source"),
    *("n_bin", "min_action", "max_action", "fill_zero", "num_layers", "policy_rnn_dropout_p", "action_dim"),
)
_ALIKE = 0.8
"""How alike (difflib's ratio) an unknown name is to one above to be taken for a misspelling of it."""
_UNLIKE = ("vision_resampler",)
"""Names of released files that are so alike, but mean something else."""
_QUESTION_STYLES = {"vicuna": "vicuna", "mistral": "mistral", "llama": "llama", "mpt": "phi", "qwen": "qwen"}
"""Chat style of the question by what a model's name contains, the first that it does; else ``phi``."""
_PRECISIONS = {"bf16": "bfloat16", "fp16": "float16"}


def read_config(path: str | Path) -> VlaConfig:
    """The structure that a RoboVLMs JSON file describes; PolicyError says what is missing in it.

    A file in our own format is read as it is.
    """
    fields = _read(Path(path))
    if "act_head" not in fields and "backbone" in fields:
        return VlaConfig.from_mapping(fields)
    return from_robovlms(fields, source=str(path))


def released_dtype(path: str | Path) -> str:
    """The dtype in which the released evaluation runs a model of that file: bfloat16 or float16 where
    ``trainer.precision`` says ``bf16`` or ``fp16``, and float32 for all else, ``16`` included."""
    trainer = _read(Path(path)).get("trainer")
    precision = trainer.get("precision") if isinstance(trainer, Mapping) else None
    return _PRECISIONS.get(str(precision), "float32")


def _read(path: Path, below: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The fields of a file, over those of its ``parent``, as the original merges them."""
    try:
        fields = json.loads(path.read_text())
    except FileNotFoundError:
        named = f"; {below[-1]} names it as its parent" if below else "; give its path as config=..."
        raise PolicyError(f"vla: there is no configuration file {path}{named}") from None
    except OSError as error:
        raise PolicyError(f"vla: {path} cannot be read ({error.strerror}); give a JSON file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise PolicyError(f"vla: {path} is not JSON ({error})") from None
    if not isinstance(fields, dict):
        raise PolicyError(f"vla: {path} holds no JSON object, so it is no configuration")
    parent = fields.get("parent")
    if not isinstance(parent, str) or not parent:
        return fields
    above = Path(parent)
    # The original looks in the current folder; a file that has been moved lies beside its parent.
    above = above if above.is_absolute() or above.is_file() else path.parent / above.name
    if path.resolve() in below:
        raise PolicyError(f"vla: {path} is its own parent, by way of {above}")
    return _merged(_read(above, (*below, path.resolve())), fields)


def _merged(lower: dict[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in upper.items():
        inner = lower.get(name)
        lower[name] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return lower


def from_robovlms(fields: Mapping[str, Any], source: str = "the configuration") -> VlaConfig:
    """The structure that these RoboVLMs fields describe; PolicyError: one is missing, misspelt or impossible.

    ``window_size`` and ``fwd_pred_next_n`` inside ``act_head`` are ignored, since the original
    overrides them with the top-level values; so is ``vision_resampler``, which it never reads. ``use_state``
    asks for a state token, though the original, by a misspelling, never makes one.
    """
    top = _Fields(fields, source, "", _HEARD)
    act_head = fields["act_head"] if "act_head" in fields else top.need("act_head")
    if not isinstance(act_head, Mapping):
        raise PolicyError(f"vla: act_head in {source} is {act_head!r}; a policy needs an action head")
    head = _Fields(act_head, source, "act_head.", _HEARD_OF_HEAD)
    kind = _HEADS[head.one_of("type", _HEADS)]
    space = head.one_of("action_space", _SPACES, "continuous")
    history = head.one_of("history_type", _HISTORIES, "post")
    window = top.whole("window_size")
    if head.whole("action_dim", 7) != 7:
        raise PolicyError(f"vla: act_head.action_dim={act_head['action_dim']} in {source}; actions have 7 numbers")
    if (space == "discrete") != (kind == "none"):
        raise PolicyError(
            f"vla: act_head.type={act_head['type']} in {source} does not go with "
            f"act_head.action_space={space}; DiscreteDecoder goes with discrete, the others with continuous "
            "or down_sample"
        )
    reduction = head.one_of("down_sample", ("none", "pooling", "resampler"), "none")
    if space == "down_sample" and reduction == "none":
        raise PolicyError(
            f"vla: act_head.action_space=down_sample in {source} needs act_head.down_sample=pooling or resampler"
        )
    if space == "continuous" and reduction == "resampler":
        raise PolicyError(
            f"vla: act_head.down_sample=resampler in {source} needs act_head.action_space=down_sample; with "
            "continuous the head reads the action token"
        )
    if kind == "none":
        _refuse_added_tokens(top)
    normalised = top.flag("norm_action")
    return VlaConfig(
        backbone=BACKBONE_NAMES[top.one_of("model", BACKBONE_NAMES)],
        structure=_structure(kind, history, window),
        action_space="discrete" if space == "discrete" else "continuous",
        head=kind,
        hidden=head.whole("hidden_size", 1024),
        lstm_layers=head.whole("num_layers", 4),
        lstm_dropout=head.number("policy_rnn_dropout_p", 0.0),
        window=window,
        chunk=top.whole("fwd_pred_next_n"),
        latent=head.whole("latent", 1),
        readout=reduction if space == "down_sample" else "action_token",
        token_source=head.one_of("token_source", ("all", "text", "vision"), "all"),
        gripper_camera=top.flag("use_hand_rgb"),
        state_token=top.flag("use_state"),
        vision_resampler=top.flag("use_vision_resampler"),
        clip_text=top.flag("use_clip_norm"),
        bins=head.whole("n_bin", 256),
        bin_min=head.number("min_action", -1.0),
        bin_max=head.number("max_action", 1.0),
        norm=(top.number("norm_min"), top.number("norm_max")) if normalised else None,
        mu_law=top.number("mu_val", 255.0) if top.flag("use_mu_law") else None,
        action_frame="tcp" if top.flag("tcp_rel") else "world",
        action_scale=top.number("action_scale", 1.0),
        question_style=_question_style(fields),
        image_size=top.whole("image_size", 224),
        mask_action_token=head.flag("fill_zero"),
        released_window=history == "pre" or kind != "none",
        gripper_loss_ratio=top.number("arm_gripper_loss_ratio", 0.01),
        clip_loss_ratio=top.number("clip_norm_ratio", 0.05),
        cotrain_loss_ratio=top.number("vl_cotrain_ratio", 0.05),
    )


def _structure(kind: str, history: str, window: int) -> str:
    if kind == "none":
        # Discrete training puts all frames into one sequence, whatever history_type says.
        return "one_step" if window == 1 else "interleaved"
    if history == "post":
        return "one_step" if window == 1 and kind == "fc" else "policy_head"
    return {"pre": "interleaved", "video": "video"}[history]


def _question_style(fields: Mapping[str, Any]) -> str:
    """The original looks at ``llava``, else at whether there is a ``qwen``, else at ``model``."""
    if "llava" not in fields and "qwen" not in fields:
        return "backbone"
    name = str(fields.get("llava", "qwen")).lower()
    return next((style for mark, style in _QUESTION_STYLES.items() if mark in name), "phi")


def _refuse_added_tokens(top: _Fields) -> None:
    tokenizer = top.fields.get("tokenizer")
    if isinstance(tokenizer, Mapping) and tokenizer.get("additional_special_tokens"):
        raise PolicyError(
            f"vla: tokenizer.additional_special_tokens in {top.source} moves the action tokens within the "
            "vocabulary, which is not supported; leave it empty"
        )


class _Fields:
    """Fields of one object of the file, converted; errors name the file and the field."""

    def __init__(self, fields: Mapping[str, Any], source: str, where: str, heard: Sequence[str]):
        self.fields, self.source, self._where = fields, source, where
        for name in fields:
            near = get_close_matches(name, heard, n=1, cutoff=_ALIKE)
            if name not in heard and name not in _UNLIKE and near:
                raise PolicyError(f"vla: {source} has an unknown field {where}{name!r}. Did you mean {near[0]!r}?")

    def need(self, name: str) -> Any:
        if self.fields.get(name) is None:
            raise PolicyError(f"vla: {self.source} has no field {self._where}{name!r}, which says what the model is")
        return self.fields[name]

    def one_of(self, name: str, choices: Any, default: str | None = None) -> str:
        value = self._given(name, default)
        if value not in choices:
            raise PolicyError(
                f"vla: {self._where}{name}={value!r} in {self.source}; known: {', '.join(choices)}."
                + suggestion(str(value), choices)
            )
        return value

    def whole(self, name: str, default: int | None = None) -> int:
        value = self._given(name, default)
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if isinstance(value, bool) or not whole:
            self._refuse(name, value, "a whole number")
        return int(value)

    def number(self, name: str, default: float | None = None) -> float:
        value = self._given(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._refuse(name, value, "a number")
        return float(value)

    def flag(self, name: str) -> bool:
        value = self._given(name, False)
        if value not in (True, False):
            self._refuse(name, value, "true or false")
        return bool(value)

    def _given(self, name: str, default: Any) -> Any:
        value = self.fields.get(name)
        return self.need(name) if value is None and default is None else default if value is None else value

    def _refuse(self, name: str, value: Any, wanted: str) -> None:
        raise PolicyError(f"vla: {self._where}{name}={value!r} in {self.source} must be {wanted}")
