"""Builds the network and its tokenizer from a structure, a backbone folder and a checkpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vla_bench.policies.errors import PolicyError
from vla_bench.policies.vla.adapters import merge_adapter
from vla_bench.policies.vla.backbones import backbone_class
from vla_bench.policies.vla.backbones.contract import Backbone
from vla_bench.policies.vla.backbones.tokenizers import load_tokenizer
from vla_bench.policies.vla.checkpoints import load_into, parameters_on_meta, read_checkpoint
from vla_bench.policies.vla.config import VlaConfig
from vla_bench.policies.vla.describe import describe_tensors
from vla_bench.policies.vla.model import VlaModel

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
TINY = "tiny"
"""In place of a backbone folder: the backbone's tiny configuration and a byte-level tokenizer."""


@dataclass(frozen=True, slots=True)
class Built:
    """A network ready to be run, and what turns text into its tokens."""

    model: VlaModel
    tokenizer: Any
    remark: str = ""
    """What has to be said of the weights that were taken."""


def device_named(name: str) -> torch.device:
    """The device of that name (``cpu``, ``cuda``, ``cuda:1``, ``auto``); PolicyError if it is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise PolicyError(f"vla: unknown device {name!r}; use cpu, cuda, cuda:0 or auto") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise PolicyError(f"vla: device={name}, but no GPU is found here; type policy.device=cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise PolicyError(f"vla: device={name}, but there are {torch.cuda.device_count()} GPUs; they count from cuda:0")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise PolicyError(f"vla: device={name}, but there is no GPU of Apple's here; type policy.device=cpu")
    if device.type not in ("cpu", "cuda", "mps"):
        raise PolicyError(f"vla: unknown device {name!r}; use cpu, cuda, cuda:0 or auto")
    return device


def dtype_named(name: str) -> torch.dtype:
    """float32, bfloat16 or float16; PolicyError otherwise."""
    if name not in DTYPES:
        raise PolicyError(f"vla: unknown dtype {name!r}; use one of {', '.join(DTYPES)}")
    return DTYPES[name]


def build(
    config: VlaConfig,
    *,
    backbone_path: str | Path = TINY,
    checkpoint: str | Path | None = None,
    lora: str | Path | None = None,
    seed: int | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    trust: bool = False,
    weights: str | None = None,
    allow_missing: Sequence[str] = (),
    allow_unexpected: Sequence[str] = (),
    trainable: bool = False,
) -> Built:
    """The network in evaluation mode, or ready to be trained.

    Args:
        backbone_path: a folder (or hub name) with the backbone's ``config.json`` and tokenizer, or ``tiny``.
        checkpoint: weights of the whole policy. None: random ones drawn from ``seed``.
        lora: folder of a peft adapter for the backbone, merged into it.
        weights: which of several sets in the file; see :func:`vla_bench.policies.vla.checkpoints.read_checkpoint`.
        allow_missing, allow_unexpected: prefixes; see :func:`vla_bench.policies.vla.checkpoints.load_into`.
        trainable: leave it in training mode, with gradients for every parameter;
            :func:`vla_bench.policies.vla.training.trainable.choose` freezes parts.
    """
    place, number = device_named(device), dtype_named(dtype)
    adapter_class = backbone_class(config.backbone)
    if checkpoint is None and seed is None:
        raise PolicyError("vla: no weights; give checkpoint=<file>, or seed=<number> for random ones (a smoke run)")
    remark = ""
    if checkpoint is None:
        with seeded(seed):
            model = _network(config, adapter_class, backbone_path)
        model.to(device=place, dtype=number)
    else:
        tensors, remark = read_checkpoint(checkpoint, trust=trust, weights=weights)
        with contextlib.ExitStack() as stack:
            if allow_missing:
                # What the file lacks keeps an initial value, so there must be one.
                stack.enter_context(seeded(seed or 0))
            else:
                stack.enter_context(parameters_on_meta())
            model = _network(config, adapter_class, backbone_path)
        try:
            load_into(
                model,
                tensors,
                dtype=number,
                device=place,
                allow_missing=allow_missing,
                allow_unexpected=allow_unexpected,
                source=str(checkpoint),
            )
        except PolicyError as error:
            raise PolicyError(f"{error}{_fitting(tensors, config)}") from None
        model.to(device=place, dtype=number)
    if lora is not None:
        merge_adapter(model, lora)
    tokenizer = adapter_class.tiny_tokenizer() if str(backbone_path) == TINY else load_tokenizer(backbone_path)
    if trainable:
        # Loading leaves parameters that are views of a memory-mapped file.
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()
    return Built(model.train(trainable).requires_grad_(trainable), tokenizer, remark)


def _fitting(tensors: Mapping[str, Tensor], config: VlaConfig) -> str:
    """What to type for a checkpoint of another structure, as far as its tensors tell."""
    fits = describe_tensors(tensors).fits
    alike = issubclass(backbone_class(config.backbone), backbone_class(fits.get("backbone", config.backbone)))
    other = {
        name: value
        for name, value in fits.items()
        if getattr(config, name) != value and not (name == "backbone" and alike)
    }
    typed = " ".join(f"policy.model.{name}={value}" for name, value in other.items())
    return f" Its tensors fit {typed}." if typed else ""


def compile_layers(model: VlaModel, *, graphs: bool = False, backend: str = "inductor") -> None:
    """Compiles each layer of the backbone in place, when it first runs; names of parameters stay.

    Layers of a stack share one compiled form, which takes seconds where the whole model takes minutes, and
    lengths are symbols, so that another instruction or batch does not compile again.

    Args:
        graphs: also record each layer's kernels as a CUDA graph, once for every shape it meets, and replay
            that.
    """
    more = {"mode": "reduce-overhead"} if graphs else {"backend": backend}
    for module in model.backbone.modules():
        if isinstance(module, torch.nn.ModuleList):
            for layer in module:
                layer.compile(dynamic=True, **more)


def _network(config: VlaConfig, adapter_class: type[Backbone], backbone_path: str | Path) -> VlaModel:
    backbone_config = (
        adapter_class.tiny_config() if str(backbone_path) == TINY else _backbone_config(adapter_class, backbone_path)
    )
    return VlaModel(config, adapter_class(adapter_class.build(backbone_config)))


def _backbone_config(adapter_class: type[Backbone], path: str | Path) -> Any:
    wanted = adapter_class.model_class.config_class
    try:
        plain, _ = wanted.get_config_dict(str(path))
    except (OSError, ValueError) as error:
        plain, reason = {}, f" ({str(error).splitlines()[0]})"
    else:
        reason = ""
    if not plain:
        # transformers would go on with a full-size default.
        raise PolicyError(
            f"vla: no configuration of {adapter_class.__name__} at {path}{reason}; give a folder that holds "
            "config.json as policy.backbone_path=..."
        )
    found = plain.get("model_type", wanted.model_type)
    if found != wanted.model_type:
        raise PolicyError(
            f"vla: {path} configures a model of type {found!r}; backbone {adapter_class.__name__} needs "
            f"{wanted.model_type!r}"
        )
    return wanted.from_pretrained(str(path))


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draws from a generator state of its own, and puts the process's back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
