"""Merges a LoRA adapter (peft) into a backbone, as strictly as a checkpoint is read.

peft itself warns of names that fit nothing and leaves those parts as they were drawn: the base model would be
evaluated under the adapter's name.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vla_bench.policies.errors import PolicyError
from vla_bench.policies.vla.checkpoints import some_names
from vla_bench.policies.vla.weight_files import read_weights, refuse_other_files
from vla_bench.program import installing

CONFIG = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_PREFIX = "base_model.model."


def merge_adapter(model: nn.Module, path: str | Path) -> None:
    """Adds the adapter to the weights of ``model.backbone``, in place.

    PolicyError: no adapter, or one whose names or shapes are not those that its configuration makes of this
    backbone; every missing, unexpected and misshapen one is told.
    """
    folder = Path(path)
    try:
        import peft
    except ModuleNotFoundError:
        raise PolicyError(f"vla: lora=... needs the package 'peft'; type: {installing('vla')}") from None
    tensors = _tensors(folder)
    try:
        with warnings.catch_warnings(action="ignore"):
            config = peft.PeftConfig.from_pretrained(str(folder))
            config.inference_mode = True
            adapted = peft.get_peft_model(model.backbone, config)
            expected = peft.get_peft_model_state_dict(adapted, save_embedding_layers=False)
    except Exception as error:  # whatever the library has to say of a configuration
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise PolicyError(f"vla: the adapter {folder} does not go with this backbone: {said}") from None
    if problem := _misfit(tensors, expected):
        raise PolicyError(f"vla: the adapter {folder} does not fit the backbone. {problem}")
    with warnings.catch_warnings(action="ignore"):
        peft.set_peft_model_state_dict(adapted, dict(tensors))
    merge = getattr(adapted, "merge_and_unload", None)
    if merge is None or not hasattr(adapted.base_model, "merge_and_unload"):
        raise PolicyError(f"vla: the adapter {folder} is of type {config.peft_type}, which cannot be merged")
    merge()


def _tensors(folder: Path) -> Mapping[str, Tensor]:
    if folder.is_symlink() and not folder.exists():
        raise PolicyError(f"vla: the adapter {folder} is a link to {folder.readlink()}, which is not there")
    if folder.is_file():
        raise PolicyError(f"vla: {folder} is a file; give the folder that holds it and {CONFIG} as policy.lora=")
    settings = folder / CONFIG
    if not settings.is_file():
        if settings.is_symlink():
            refuse_other_files(settings)
        raise PolicyError(f"vla: {folder} is no LoRA adapter; it has no {CONFIG}")
    try:
        kind = json.loads(settings.read_text(encoding="utf-8"))["peft_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        said = "it has no peft_type" if isinstance(error, KeyError | TypeError) else str(error)
        raise PolicyError(f"vla: {settings} is no adapter's configuration ({said})") from None
    if not isinstance(kind, str):
        raise PolicyError(f"vla: {settings} is no adapter's configuration (its peft_type is {kind!r})")
    files = [folder / name for name in WEIGHTS if (folder / name).exists() or (folder / name).is_symlink()]
    if not files:
        lying = ", ".join(sorted(path.name for path in folder.iterdir())[:6])
        raise PolicyError(
            f"vla: the adapter {folder} has no weights: neither {' nor '.join(WEIGHTS)} is there ({lying} is). Copy "
            "the whole folder, or save the adapter again"
        )
    found = read_weights(files[0])
    tensors = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
    if not tensors:
        raise PolicyError(f"vla: {files[0]} holds no tensors; it is no adapter's file")
    return tensors


def _misfit(tensors: Mapping[str, Tensor], expected: Mapping[str, Any]) -> str:
    missing = [name for name in expected if name not in tensors]
    unexpected = [name for name in tensors if name not in expected]
    misshapen = [
        f"{name} {tuple(tensors[name].shape)}, not {tuple(value.shape)}"
        for name, value in expected.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    listed = (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
    parts = [f"{len(names)} {label}: {some_names(names)}" for label, names in listed if names]
    if missing and unexpected and (other := _other_prefix(missing, unexpected)):
        parts.append(f"its names begin with {other[0]} where {other[1]} is expected: it was made for a wrapped model")
    return "; ".join(parts)


def _other_prefix(missing: list[str], unexpected: list[str]) -> tuple[str, str] | None:
    """The two beginnings in which all names differ, where that is all."""
    one = missing[0].removeprefix(_PREFIX)
    for name in unexpected:
        for start in range(len(one)):
            if (start == 0 or one[start - 1] == ".") and name.endswith(one[start:]):
                theirs, mine = name[: len(name) - len(one) + start], _PREFIX + one[:start]
                renamed = {mine + each.removeprefix(theirs) for each in unexpected if each.startswith(theirs)}
                if renamed == set(missing):
                    return theirs, mine
    return None
