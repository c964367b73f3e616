"""What is said about a policy where it is chosen: its structure, its weights, and how it is run. No torch."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from vla_bench.envs.action_spec import ActionSpec
from vla_bench.envs.errors import suggestion
from vla_bench.envs.observation import Camera, Sensors
from vla_bench.policies.base import PolicySpec
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.vla.config import Compatibility, VlaConfig
from vla_bench.policies.vla.files import descriptions_digest
from vla_bench.policies.vla.weight_files import is_absent, near, refuse_other_files

Batching = Literal["exact", "fast"]
Dtype = Literal["float32", "bfloat16", "float16"]

RELATIVE = ActionSpec(
    name="relative",
    size=7,
    control="tcp_delta",
    frame="world",
    rotation="euler_xyz",
    position_scale=0.02,
    rotation_scale=0.05,
    bounded=True,
)
"""CALVIN's relative action, in whose units the models were trained: 0.02 m and 0.05 rad."""


@dataclass(frozen=True, slots=True)
class VlaOptions:
    """Arguments of the policy ``vla``; typed as ``policy.<name>=``."""

    model: VlaConfig
    """The structure: ``policy.model.<field>=``, or read from ``config``."""
    config: str | None = None
    """JSON file that the structure was read from: RoboVLMs' beside a checkpoint, or one in our own format."""
    checkpoint: str | None = None
    """Weights: a RoboVLMs .pt or .ckpt, safetensors, or a folder in our own format."""
    weights: str | None = None
    """Which of several sets of weights in the file, e.g. ``ema_state_dict``; null: the usual one. What else
    there is, is said."""
    backbone_path: str = ""
    """Folder or hub name with the backbone's config.json and tokenizer, e.g. microsoft/kosmos-2-patch14-224.
    ``tiny``: a small configuration of that backbone, with random weights. Empty: the checkpoint's folder
    if it is in our own format, or ``tiny`` when there is no checkpoint."""
    lora: str | None = None
    """Folder of a peft adapter for the backbone."""
    seed: int | None = None
    """Seed of random weights, for a run without a checkpoint."""
    trust_checkpoint: bool = False
    """Whether the file may hold more than tensors; reading such a file can run code."""
    allow_missing: tuple[str, ...] = ()
    allow_unexpected: tuple[str, ...] = ()
    """Prefixes of parameter names that the file may lack, or that are left out."""
    device: str = "cpu"
    dtype: Dtype = "float32"
    """float32, bfloat16 or float16. The released evaluation runs in float32 unless its configuration says
    precision ``bf16`` or ``fp16`` (the published Kosmos-2 configurations say ``16``, which is float32 there);
    ``compat=released`` with ``config=`` does the same unless told a dtype."""
    batching: Batching = "exact"
    """exact: a slot's numbers do not depend on the other slots. fast: one batch for all slots."""
    compile: bool | str = False
    """true: torch.compile makes kernels of the backbone's layers, in the first decisions. Its rounding
    differs, so it goes with batching=fast only. ``graphs``: they are also recorded as CUDA graphs; needs a
    GPU."""
    threads: int = 1
    """CPU threads of torch; part of what makes numbers repeat."""
    execute: int = 1
    """Actions of a chunk that are executed before the policy looks again; the structure's ``stride`` unless
    typed."""
    ensemble: float | None = None
    """Decay of temporal ensembling (ACT uses 0.01); null: none."""
    compat: Compatibility = "intended"
    """released: reproduces what the released evaluation does where it differs from what was meant. An
    interleaved policy executes the prediction for the oldest frame it remembers; the gripper is un-scaled
    together with the arm; generated tokens may be any of the vocabulary, seven of them, with the images of
    all frames (history ``pre``), or of the newest only, before one prompt; a video policy is shown the newest
    frame only; the backbone's prompt is used whatever the model was trained with."""
    statistics: str | None = None
    """On the robots of bridge and fractal: JSON file with the quantiles of the data set the model was trained on; null:
    those of BridgeData V2 and fractal."""
    name: str = ""
    """Name shown in tables; made from the structure when empty."""

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> VlaOptions:
        """Checked options; PolicyError names what is unknown, missing or impossible."""
        known = [field.name for field in dataclasses.fields(cls)]
        for name in arguments:
            if name not in known:
                raise PolicyError(
                    f"policy 'vla' has no argument {name!r}.{suggestion(name, known)} It takes {', '.join(known)}."
                )
        values = dict(arguments)
        config = values.get("config")
        values["model"] = _structure(values.pop("model", None), config, values.get("checkpoint"))
        for name in ("allow_missing", "allow_unexpected"):
            listed = values.get(name) or ()
            values[name] = (listed,) if isinstance(listed, str) else tuple(str(item) for item in listed)
        if values.get("execute") is None:
            values["execute"] = values["model"].stride or 1
        if values.get("compat") is False:
            del values["compat"]
        if values.get("compat") == "released" and config is not None and values.get("dtype") is None:
            from vla_bench.policies.vla.robovlms_config import released_dtype

            values["dtype"] = released_dtype(config)
        return cls(**values)

    def __post_init__(self) -> None:
        for name, kind in (("batching", Batching), ("compat", Compatibility), ("dtype", Dtype)):
            choices = get_args(kind)
            value = getattr(self, name)
            if value not in choices:
                raise PolicyError(
                    f"policy.{name}={value!r} is not one of {', '.join(choices)}.{suggestion(str(value), choices)}"
                )
        if self.compile not in (True, False, "graphs"):
            raise PolicyError(f"policy.compile={self.compile!r} must be true, false or graphs")
        if self.compile and self.batching == "exact":
            raise PolicyError(
                f"policy.compile={_typed(self.compile)} chooses kernels by what comes first, so its numbers "
                "may not repeat; add policy.batching=fast"
            )
        if self.compile == "graphs" and not self.device.startswith(("cuda", "auto")):
            raise PolicyError(
                f"policy.compile=graphs records CUDA graphs, but policy.device={self.device}; type "
                "policy.device=cuda, or policy.compile=true"
            )
        if self.seed is not None and (isinstance(self.seed, bool) or not isinstance(self.seed, int)):
            raise PolicyError(f"policy.seed={self.seed!r} must be a whole number")
        if not isinstance(self.trust_checkpoint, bool):
            raise PolicyError(f"policy.trust_checkpoint={self.trust_checkpoint!r} must be true or false")
        for name in ("execute", "threads"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise PolicyError(f"policy.{name}={value!r} must be a whole number of at least 1")
        if self.ensemble is not None and (
            isinstance(self.ensemble, bool) or not isinstance(self.ensemble, int | float)
        ):
            raise PolicyError(f"policy.ensemble={self.ensemble!r} must be a number such as 0.01, or null")
        if self.execute > self.model.chunk:
            raise PolicyError(
                f"policy.execute={self.execute}, but the model predicts {self.model.chunk} actions at once"
            )
        stride, remembers = self.model.stride, self.model.window > 1
        if stride is not None and remembers and self.execute != stride:
            raise PolicyError(
                f"policy.execute={self.execute}, but the model was trained on windows of frames {stride} steps "
                f"apart, and would remember frames {self.execute} apart; type policy.execute={stride}"
            )
        if self.compat == "released" and (self.execute > 1 or self.ensemble is not None):
            raise PolicyError(
                "policy.compat=released executes the first action of each chunk, without ensembling; drop "
                "execute "
                "and ensemble, or type policy.compat=intended"
            )
        if self.checkpoint is None and self.seed is None:
            raise PolicyError(
                "policy 'vla' has no weights: give policy.checkpoint=<file>, or policy.seed=<number> for random ones"
            )
        file = None if self.checkpoint is None else Path(self.checkpoint)
        if file is not None and is_absent(file):
            raise PolicyError(f"policy.checkpoint={self.checkpoint}: there is no such file or folder.{near(file)}")
        if file is not None and not os.path.isdir(file) and not file.name.endswith(".index.json"):
            refuse_other_files(file)
        if self.lora is not None and not (Path(self.lora).exists() or Path(self.lora).is_symlink()):
            raise PolicyError(f"policy.lora={self.lora}: there is no such folder")
        if self.statistics is not None and not Path(self.statistics).is_file():
            raise PolicyError(f"policy.statistics={self.statistics}: there is no such file")
        if not self.backbone_path:
            object.__setattr__(self, "backbone_path", self._backbone_beside())

    def _backbone_beside(self) -> str:
        if self.checkpoint is None:
            return "tiny"
        if (Path(self.checkpoint) / "config.json").is_file():
            return self.checkpoint
        raise PolicyError(
            "policy.checkpoint needs policy.backbone_path=<folder or hub name with the backbone's "
            "config.json "
            "and tokenizer>, e.g. microsoft/kosmos-2-patch14-224"
        )

    def spec(self) -> PolicySpec:
        """What the policy needs, and the switches that enter the protocol's hash."""
        model = self.model
        head = "tokens" if model.generates_tokens else model.head
        blind = "-blind" if model.blind else ""
        switches = {"compat": self.compat}
        if self.ensemble is not None:
            switches["temporal_ensemble"] = repr(float(self.ensemble))
        if self.dtype != "float32":
            switches["dtype"] = self.dtype
        if model.blind:
            switches["blind"] = "true"
        if self.batching != "exact":
            switches["batching"] = self.batching
        if self.compile:
            switches["compile"] = _typed(self.compile)
        return PolicySpec(
            name=self.name or f"{model.backbone}-{model.structure}-{head}-{model.action_space}{blind}",
            action=RELATIVE,
            sensors=_sensors(model),
            chunk=model.chunk,
            execute=self.execute,
            batched=self.batching == "fast",
            switches=switches,
            files=self._files(),
        )

    def _files(self) -> dict[str, str]:
        """Of a backbone's folder only the descriptions count: the weights are the checkpoint's. What the other
        arguments name is read whole by :mod:`vla_bench.policies.identity`."""
        if self.backbone_path == self.checkpoint or not Path(self.backbone_path).is_dir():
            return {}
        return {"backbone_path": descriptions_digest(Path(self.backbone_path))}


def _sensors(model: VlaConfig) -> Sensors:
    if model.blind:
        return Sensors()
    sides = model.camera_sides or (None, None)
    cameras = [Camera(name, width=side, height=side) for name, side in zip(("static", "gripper"), sides, strict=True)]
    return Sensors(tuple(cameras if model.gripper_camera else cameras[:1]))


def _typed(value: bool | str) -> str:
    return str(value).lower()


def _structure(fields: Any, config: Any, checkpoint: Any) -> VlaConfig:
    """From ``config=``, else from a checkpoint folder in our own format; ``model`` changes single fields."""
    if fields is not None and not isinstance(fields, Mapping):
        raise PolicyError(f"policy.model={fields!r}: type single fields, e.g. policy.model.structure=policy_head")
    source = config
    if source is None and checkpoint is not None and (Path(checkpoint) / "vla.json").is_file():
        source = Path(checkpoint) / "vla.json"
    if source is None:
        if not fields:
            if checkpoint is not None and Path(checkpoint).is_file():  # one that is no weights needs no structure
                refuse_other_files(Path(checkpoint))
            raise PolicyError(
                "policy 'vla' is told no structure: give policy.config=<json beside the checkpoint>, or "
                "policy.model.<field>=, or choose a preset such as policy=vla_policy_head_lstm"
            )
        return VlaConfig.from_mapping(fields)
    from vla_bench.policies.vla.robovlms_config import read_config

    return VlaConfig.from_mapping({**read_config(source).to_mapping(), **(fields or {})})
