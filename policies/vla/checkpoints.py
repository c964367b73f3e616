"""Reads and writes weights.

A model is built with parameters on the meta device and filled with the file's own memory-mapped tensors,
converted one by one when the dtype differs, so that a file as large as the memory left needs no second copy.
"""

from __future__ import annotations

import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vla_bench.policies.errors import PolicyError
from vla_bench.policies.vla.config import VlaConfig
from vla_bench.program import installing, program

DROPPED = re.compile(
    r"(text_model\.model\.embed_positions\.weights|embeddings\.position_ids|rotary_emb\.inv_freq)$"
    r"|^(lm_head\.|clip_norm_head\.model\.)"
)
"""Keys of older files that hold constants or a second name of ``act_head``; they are not loaded."""
_STATE_TOKEN = ("embed_arm_state.", "embed_gripper_state.", "embed_state.")
_PICKLE = b"\x80"
"""First byte of a pickle of protocol 2 or later."""
OWN_WEIGHTS, OWN_CONFIG = "model.safetensors", "vla.json"
"""Files of a folder in our own format."""


def read_tensors(path: str | Path, *, trust: bool = False) -> dict[str, Tensor]:
    """All tensors of a checkpoint, memory-mapped, under names without ``module.`` and the leading ``model.``.

    Reads safetensors, a folder in our own format, and ``torch.save`` files: a bare state dict, or one under
    ``state_dict``, ``model_state_dict`` or ``module`` (Lightning, RoboVLMs, DeepSpeed).

    Args:
        trust: allow a file that holds more than tensors and plain containers. Such a file can run any code
            when it is read; say so only of files whose maker you trust.
    """
    path = Path(path)
    if path.is_dir():
        path = _weights_in(path)
    if not path.exists():
        raise PolicyError(f"vla: there is no checkpoint {path}; give its path as checkpoint=...")
    raw = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path, trust)
    tensors: dict[str, Tensor] = {}
    for key, value in raw.items():
        if not isinstance(value, Tensor):
            continue
        name = plain_name(key)
        if DROPPED.search(name):
            continue
        if name in tensors and not _same(tensors[name], value):
            raise PolicyError(f"vla: {path} holds {name!r} twice, with different numbers")
        tensors[name] = value
    if not tensors:
        raise PolicyError(f"vla: {path} holds no tensors; it is not a checkpoint")
    return tensors


def plain_name(key: str) -> str:
    """A parameter's name in :class:`vla_bench.policies.vla.model.VlaModel`.

    ``module.`` and ``_forward_module.`` are wrappers of DDP and DeepSpeed; the leading ``model.`` is that of
    the original's trainer.
    """
    key = key.replace("_forward_module.", "")
    if key.startswith("module."):
        key = key.replace("module.", "")
    return key.removeprefix("model.")


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype and bool(torch.equal(one, other))


def _weights_in(folder: Path) -> Path:
    if (folder / OWN_WEIGHTS).exists():
        return folder / OWN_WEIGHTS
    if any(folder.glob("*zero_pp_rank_*")) or (folder / "latest").exists():
        raise PolicyError(
            f"vla: {folder} is a sharded DeepSpeed checkpoint; make one file of it with the zero_to_fp32.py "
            "that "
            "lies in it, and give that file"
        )
    files = sorted(path for pattern in ("*.safetensors", "*.pt", "*.ckpt") for path in folder.glob(pattern))
    if len(files) != 1:
        raise PolicyError(
            f"vla: {folder} holds {len(files)} checkpoint files; give the path of one "
            f"({', '.join(file.name for file in files[:4]) or '*.pt, *.ckpt, *.safetensors'})"
        )
    return files[0]


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise PolicyError(
            f"vla: {path} cannot be read ({error}); it is truncated or no safetensors file. Fetch it again."
        ) from None


def _read_torch(path: Path, trust: bool) -> Mapping[str, Any]:
    # Only zip archives can be mapped; torch wrote them from version 1.6 on, and pickles before.
    mapped = zipfile.is_zipfile(path)
    if not mapped and not _start(path).startswith(_PICKLE):
        raise PolicyError(_truncated(path))
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            content = torch.load(path, map_location="cpu", mmap=mapped, weights_only=not trust)
    except pickle.UnpicklingError as error:
        if "weights_only" in str(error) or "Unsupported" in str(error) or "GLOBAL" in str(error):
            raise PolicyError(
                f"vla: {path} holds more than tensors, and reading it can run code "
                f"({_culprit(error)}). If you trust its maker, type policy.trust_checkpoint=true, "
                "or --trust to have it described"
            ) from None
        raise PolicyError(_truncated(path, error)) from None
    except (RuntimeError, EOFError, OSError, ValueError, LookupError) as error:
        raise PolicyError(_truncated(path, error)) from None
    for name in ("state_dict", "model_state_dict", "module"):
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            return content[name]
    if isinstance(content, Mapping) and any(isinstance(value, Tensor) for value in content.values()):
        return content
    found = ", ".join(map(str, list(content)[:6])) if isinstance(content, Mapping) else type(content).__name__
    raise PolicyError(f"vla: {path} has no state_dict or model_state_dict; it holds {found}")


def _culprit(error: Exception) -> str:
    named = re.search(r"GLOBAL ([\w.]+)", str(error))
    return f"it names {named.group(1)}" if named else "it names classes"


def _start(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(24)


def _truncated(path: Path, error: Exception | None = None) -> str:
    start = _start(path)
    if not start:
        reason = "it is empty"
    elif error is None and start.startswith(b"PK"):
        reason = "its end, which lists what it holds, is missing"
    elif error is None:
        reason = f"it starts with {start!r}"
    else:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return f"vla: {path} cannot be read ({reason}); it is truncated or no checkpoint. Fetch it again."


@contextmanager
def parameters_on_meta() -> Iterator[None]:
    """Modules built in this context have parameters without memory, and buffers with their values.

    Building on the meta device outright would lose buffers that no checkpoint holds (position tables).
    """
    original = nn.Module.register_parameter

    def register(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        # A parameter that is there already is being tied to a second place, and must stay one object.
        if parameter is not None and not parameter.is_meta:
            parameter = nn.Parameter(parameter.to("meta"), requires_grad=parameter.requires_grad)
        original(module, name, parameter)

    nn.Module.register_parameter = register
    try:
        yield
    finally:
        nn.Module.register_parameter = original


def load_into(
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    *,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
    allow_missing: Sequence[str] = (),
    allow_unexpected: Sequence[str] = (),
    source: str = "the checkpoint",
) -> None:
    """Fills the model; every missing, unexpected or misshapen tensor is an error that lists them.

    Args:
        allow_missing: prefixes of names that may keep their initial value.
        allow_unexpected: prefixes of names that are left out.
    """
    expected = model.state_dict()
    shared = _shared_names(model)
    missing = [
        name
        for name in expected
        if name not in tensors
        and not any(other in tensors for other in shared.get(name, ()))
        and not name.startswith(tuple(allow_missing))
    ]
    unexpected = [name for name in tensors if name not in expected and not name.startswith(tuple(allow_unexpected))]
    misshapen = [
        f"{name} {tuple(tensors[name].shape)}, not {tuple(value.shape)}"
        for name, value in expected.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    if missing or unexpected or misshapen:
        raise PolicyError(_mismatch(source, missing, unexpected, misshapen))
    ready = {}
    for name, value in expected.items():
        if name in tensors:
            wanted = dtype if value.is_floating_point() else value.dtype
            ready[name] = tensors[name].to(device=device, dtype=wanted)
    model.load_state_dict(ready, strict=False, assign=True)
    tie = getattr(getattr(model, "backbone", None), "tie_weights", None)
    if tie is not None:
        tie()
    unfilled = [name for name, parameter in model.named_parameters() if parameter.is_meta]
    if unfilled:
        raise PolicyError(
            f"vla: {source} leaves {len(unfilled)} parameters without a value ({_some(unfilled)}); "
            "allow_missing cannot be used with a model that was never initialised"
        )


def _shared_names(model: nn.Module) -> dict[str, list[str]]:
    """Names of the same parameter: tied embeddings may be stored once."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    groups = [group for group in names.values() if len(group) > 1]
    tied = getattr(getattr(model, "backbone", None), "all_tied_weights_keys", None) or {}
    groups += [[f"backbone.{one}", f"backbone.{other}"] for one, other in dict(tied).items()]
    return {name: [other for other in group if other != name] for group in groups for name in group}


def _some(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _mismatch(source: str, missing: Sequence[str], unexpected: Sequence[str], misshapen: Sequence[str]) -> str:
    parts = []
    for label, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen)):
        if names:
            parts.append(f"{len(names)} {label}: {_some(names)}")
    if missing and all(name.startswith(_STATE_TOKEN) for name in missing):
        # The original reads use_state under a misspelt name, and so never makes a state token.
        parts.append("it has no state token, whatever use_state says: type policy.model.state_token=false")
    return (
        f"vla: {source} does not fit the configured structure. {'; '.join(parts)}. "
        f"`{program()} describe <checkpoint>` shows which structure it has."
    )


def save(folder: str | Path, model: nn.Module, config: VlaConfig, tokenizer: Any) -> None:
    """Writes our own format, which needs nothing beside it: ``model.safetensors`` under the names of the
    network, ``vla.json``, and the backbone's configuration and tokenizer as transformers writes them."""
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    seen: dict[int, str] = {}
    tensors = {}
    for name, value in model.state_dict().items():
        # A tied tensor is stored once; loading ties it again.
        if value.numel() and seen.setdefault(value.data_ptr(), name) != name:
            continue
        tensors[name] = value.detach().contiguous().cpu()
    save_file(tensors, folder / OWN_WEIGHTS)
    (folder / OWN_CONFIG).write_text(json.dumps(config.to_mapping(), indent=1) + "\n")
    model.backbone.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def merge_adapter(model: nn.Module, path: str | Path) -> None:
    """Adds a LoRA adapter (peft) to the backbone's weights, in place."""
    try:
        from peft import PeftModel
    except ModuleNotFoundError:
        raise PolicyError(f"vla: lora=... needs the package 'peft'; type: {installing('vla')}") from None
    if not (Path(path) / "adapter_config.json").is_file():
        raise PolicyError(f"vla: {path} is no LoRA adapter; it has no adapter_config.json")
    PeftModel.from_pretrained(model.backbone, str(path)).merge_and_unload()
