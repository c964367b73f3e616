"""Reads and writes weights.

A model is built with parameters on the meta device and filled with the file's own memory-mapped tensors,
converted one by one when the dtype differs, so that a file as large as the memory left needs no second copy.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vla_bench.policies.errors import PolicyError
from vla_bench.policies.vla.config import VlaConfig
from vla_bench.policies.vla.weight_files import read_weights, unreadable
from vla_bench.policies.vla.weight_sets import choose_set
from vla_bench.program import program

DROPPED = re.compile(
    r"(text_model\.model\.embed_positions\.weights|embeddings\.position_ids|rotary_emb\.inv_freq)$"
    r"|^(lm_head\.|clip_norm_head\.model\.)"
)
"""Keys of older files that hold constants or a second name of ``act_head``; they are not loaded."""
_STATE_TOKEN = ("embed_arm_state.", "embed_gripper_state.", "embed_state.")
_WRAPPERS = re.compile(r"(?:(?<=\.)|^)(?:_forward_module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_BESIDE_WEIGHTS = re.compile(r"training_args|optimizer|scheduler|rng_state|scaler|random_states|adapter_model")
"""Files that trainers leave beside the weights."""
INDEX = ".index.json"
"""Ends the name of the list of a sharded checkpoint's files."""
OWN_WEIGHTS, OWN_CONFIG = "model.safetensors", "vla.json"
"""Files of a folder in our own format."""


def read_tensors(path: str | Path, *, trust: bool = False, weights: str | None = None) -> dict[str, Tensor]:
    """All tensors of a checkpoint; see :func:`read_checkpoint`."""
    return read_checkpoint(path, trust=trust, weights=weights)[0]


def read_checkpoint(
    path: str | Path, *, trust: bool = False, weights: str | None = None
) -> tuple[dict[str, Tensor], str]:
    """All tensors of a checkpoint, memory-mapped, under the network's names, and what to say of the choice.

    Reads safetensors, ``torch.save`` files (a bare state dict, or one under ``state_dict``,
    ``model_state_dict``, ``module``, ``model`` and the like: Lightning, RoboVLMs, DeepSpeed), a folder in our own
    format or with transformers' names, and files that an ``index.json`` lists.

    Args:
        trust: allow a file that holds more than tensors and plain containers. Such a file can run any code
            when it is read; say so only of files whose maker you trust.
        weights: which of several sets in the file to take; None: the usual one.

    Raises:
        PolicyError: it is not there, no checkpoint, damaged, or has no such set.
    """
    path = Path(path)
    if os.path.isdir(path):
        try:
            path = _weights_in(path)
        except OSError as error:
            raise PolicyError(f"vla: {unreadable(path, error)}") from None
    raw, said = _read(path, trust, weights)
    tensors: dict[str, Tensor] = {}
    for key, value in raw.items():
        if not isinstance(value, Tensor):
            continue
        name = plain_name(str(key))
        if DROPPED.search(name):
            continue
        if name in tensors and not _same(tensors[name], value):
            raise PolicyError(f"vla: {path} holds {name!r} twice, with different numbers")
        tensors[name] = value
    if not tensors:
        raise PolicyError(f"vla: {path} holds no tensors; it is not a checkpoint")
    return tensors, said


def _read(path: Path, trust: bool, weights: str | None) -> tuple[Mapping[str, Any], str]:
    if path.name.endswith(INDEX) and path.is_file():
        return choose_set(_read_shards(path, trust), weights, path)
    return choose_set(read_weights(path, trust=trust), weights, path)


def _read_shards(index: Path, trust: bool) -> dict[str, Any]:
    """The tensors of all files that an index lists."""
    try:
        listed = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted({str(name) for name in listed.values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise PolicyError(f"vla: {index} lists no weights (it has no weight_map); fetch it again") from None
    if not names:
        raise PolicyError(f"vla: {index} lists no weights (its weight_map is empty); fetch it again")
    absent = [name for name in names if not (index.parent / name).exists()]
    if absent:
        raise PolicyError(
            f"vla: {index} lists {len(names)} files of which {len(absent)} are not there: {some_names(absent)}. Fetch "
            "them, too"
        )
    tensors: dict[str, Any] = {}
    for name in names:
        tensors |= read_weights(index.parent / name, trust=trust)
    if lacking := [name for name in listed if name not in tensors]:
        raise PolicyError(
            f"vla: the files of {index} lack {len(lacking)} of the tensors that it lists: {some_names(lacking)}. They "
            "are not of one checkpoint; fetch all again"
        )
    return tensors


def plain_name(key: str) -> str:
    """A parameter's name in :class:`vla_bench.policies.vla.model.VlaModel`.

    ``module.`` and ``_forward_module.`` are wrappers of DDP and DeepSpeed, ``_orig_mod.`` of torch.compile,
    ``_fsdp_wrapped_module.`` and ``_checkpoint_wrapped_module.`` of FSDP and activation checkpointing; the leading
    ``model.`` is that of the original's trainer.
    """
    key = _WRAPPERS.sub("", key)
    if key.startswith("module."):
        key = key.replace("module.", "")
    return key.removeprefix("model.")


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype and bool(torch.equal(one, other))


def _weights_in(folder: Path) -> Path:
    for name in (OWN_WEIGHTS, f"{OWN_WEIGHTS}{INDEX}", "pytorch_model.bin", f"pytorch_model.bin{INDEX}"):
        if (folder / name).exists() or (folder / name).is_symlink():
            return folder / name
    if any(folder.glob("*zero_pp_rank_*")) or (folder / "latest").exists():
        raise PolicyError(
            f"vla: {folder} is a sharded DeepSpeed checkpoint; make one file of it with the zero_to_fp32.py "
            "that "
            "lies in it, and give that file"
        )
    if (folder / "adapter_config.json").exists():
        raise PolicyError(
            f"vla: {folder} is an adapter, not a checkpoint; give it as policy.lora={folder}, and the checkpoint that "
            "it was trained on as policy.checkpoint="
        )
    patterns = ("*.safetensors", "*.pt", "*.pth", "*.ckpt", "*.bin")
    files = sorted(
        path for pattern in patterns for path in folder.glob(pattern) if not _BESIDE_WEIGHTS.match(path.name)
    )
    indices = sorted(folder.glob(f"*{INDEX}"))
    if len(indices) == 1:
        return indices[0]
    if len(files) != 1:
        raise PolicyError(
            f"vla: {folder} holds {len(files)} checkpoint files; give the path of one "
            f"({', '.join(file.name for file in files[:4]) or '*.pt, *.ckpt, *.safetensors'})"
        )
    return files[0]


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
            f"vla: {source} leaves {len(unfilled)} parameters without a value ({some_names(unfilled)}); "
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


def some_names(names: Sequence[str], most: int = 8) -> str:
    """The first names, and how many there are beyond."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _mismatch(source: str, missing: Sequence[str], unexpected: Sequence[str], misshapen: Sequence[str]) -> str:
    parts = []
    for label, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen)):
        if names:
            parts.append(f"{len(names)} {label}: {some_names(names)}")
    if missing and all(name.startswith(_STATE_TOKEN) for name in missing):
        # The original reads use_state under a misspelt name, and so never makes a state token.
        parts.append("it has no state token, whatever use_state says: type policy.model.state_token=false")
    return (
        f"vla: {source} does not fit the configured structure. {'; '.join(parts)}. "
        f"`{program()} describe <checkpoint>` shows which structure it has."
    )


def save(
    folder: str | Path,
    model: nn.Module,
    config: VlaConfig,
    tokenizer: Any,
    tensors: Mapping[str, Tensor] | None = None,
) -> None:
    """Writes our own format, which needs nothing beside it: ``model.safetensors`` under the names of the
    network, ``vla.json``, and the backbone's configuration and tokenizer as transformers writes them.

    Args:
        tensors: what is written in place of the model's own state dict.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    seen: dict[Any, str] = {}
    kept = {}
    for name, value in (model.state_dict() if tensors is None else tensors).items():
        # A tied tensor is stored once; loading ties it again.
        place = value.data_ptr(), value.shape, value.stride()
        if value.numel() and seen.setdefault(place, name) != name:
            continue
        kept[name] = value.detach().contiguous().cpu()
    save_file(kept, folder / OWN_WEIGHTS)
    (folder / OWN_CONFIG).write_text(json.dumps(config.to_mapping(), indent=1) + "\n")
    model.backbone.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
