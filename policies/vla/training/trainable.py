"""What of a network trains: freezing, LoRA, dropout, gradient checkpointing."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from vla_bench.envs.errors import suggestion
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.vla.model import VlaModel
from vla_bench.policies.vla.training.config import TrainingConfig
from vla_bench.policies.vla.training.taught import TAUGHT

_DROPOUTS = ("dropout", "attention_dropout", "activation_dropout", "hidden_dropout", "dropout_p", "layerdrop")
_BASE = ".base_layer."


def choose(model: VlaModel, config: TrainingConfig) -> None:
    """Freezes parts of the network and puts LoRA into it, in place.

    In the order of the original (``_trainable_params_setup`` of Robot-VLAs/RoboVLMs at 8adc1d2), in which later
    choices override earlier ones: backbone or its last layers, vision tower, LoRA, word embedding (and what is tied
    to it), resampler, head. The action token always trains. What is named in ``freeze`` is frozen last.

    Raises:
        PolicyError: a part is named that the network does not have, or nothing is left to train.
    """
    adapter = model.adapter
    model.requires_grad_(True)
    model.backbone.requires_grad_(not config.freeze_backbone)
    layers = config.train_decoder_layers
    if not config.freeze_backbone and layers >= 0:
        model.backbone.requires_grad_(False)
        # The slice [-0:] is the whole list, which is what 0 means in the original.
        for layer in list(adapter.decoder_layers())[-layers:]:
            layer.requires_grad_(True)
    adapter.vision_tower().requires_grad_(config.train_vision)
    if config.lora_r:
        add_lora(model, config)
    adapter.word_embedding().requires_grad_(config.train_text_embedding)
    if hasattr(model, "vision_resampler"):
        model.vision_resampler.requires_grad_(not config.freeze_resampler)
    _freeze_named(model, config.freeze)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise PolicyError("train.freeze leaves nothing to train; drop a part of it")


def _freeze_named(model: nn.Module, prefixes: tuple[str, ...]) -> None:
    names = [name for name, _ in model.named_parameters()]
    for prefix in prefixes:
        if not any(name == prefix or name.startswith(prefix.rstrip(".") + ".") for name in names):
            parts = {".".join(name.split(".")[:depth]) for name in names for depth in range(1, name.count(".") + 2)}
            top = sorted({name.split(".")[0] for name in names})
            raise PolicyError(
                f"train.freeze={prefix}: the network has no such part.{suggestion(prefix, parts)} Its parts begin "
                f"with {', '.join(top)}"
            )
        for name, parameter in model.named_parameters():
            if name == prefix or name.startswith(prefix.rstrip(".") + "."):
                parameter.requires_grad_(False)


def lora_targets(model: VlaModel) -> list[str]:
    """Last parts of the names of the backbone's linear layers, the output layer's left out: LLaVA's rule
    (``find_all_linear_names``). peft matches by the ends of names, so that the vision tower's layers are met too."""
    found = {
        name.rpartition(".")[2] for name, module in model.backbone.named_modules() if isinstance(module, nn.Linear)
    }
    return sorted(found - {"lm_head"})


def add_lora(model: VlaModel, config: TrainingConfig) -> None:
    """Puts low-rank adapters beside the backbone's linear layers, and freezes everything else of it."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ModuleNotFoundError:
        raise PolicyError("train.lora_r needs the package 'peft'; type: pip install -e '.[vla]'") from None
    known = lora_targets(model)
    targets = list(config.lora_targets) or known
    for target in targets:
        if target not in known:
            raise PolicyError(
                f"train.lora_targets={target}: no linear layer is called so.{suggestion(target, known)} "
                f"Layers: {', '.join(known)}"
            )
    chosen = LoraConfig(
        r=config.lora_r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=targets,
        bias="none",
    )
    inject_adapter_in_model(chosen, model.backbone)
    for name, parameter in model.backbone.named_parameters():
        parameter.requires_grad_(".lora_" in name)


def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """The state dict under the names of a network without LoRA, its adapters added to what they adapt; without the
    heads that only training asks."""
    deltas = {
        name: module.get_delta_weight("default")
        for name, module in model.named_modules()
        if hasattr(module, "get_delta_weight") and "default" in getattr(module, "lora_A", {})
    }
    plain: dict[str, Tensor] = {}
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if ".lora_" in name or name.startswith(tuple(f"{head}." for head in TAUGHT)):
                continue
            if _BASE in name:
                module, _, part = name.rpartition(_BASE)
                value = value + deltas[module] if part == "weight" else value
                name = f"{module}.{part}"
            plain[name] = value.detach()
    return plain


def trained(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Parameters that train, by name, each once."""
    return ((name, each) for name, each in model.named_parameters() if each.requires_grad)


def set_dropout(model: nn.Module, share: float) -> None:
    """One dropout for every layer, head and backbone, whatever they say themselves."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = share
        for name in _DROPOUTS:
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, share)


def set_gradient_checkpointing(model: VlaModel) -> None:
    """Activations of the backbone's layers are computed again in the backward pass.

    Raises:
        PolicyError: this backbone cannot.
    """
    try:
        enable = getattr(model.backbone, "activation_checkpointing_enable", None)  # its name in later releases
        (enable or model.backbone.gradient_checkpointing_enable)()
    except (ValueError, AttributeError) as error:
        raise PolicyError(f"train.gradient_checkpointing: the backbone cannot ({error})") from None
