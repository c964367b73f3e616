"""The vision-language models a policy can be built on.

Adding one is one file of about 30 lines (``smolvlm.py``): a subclass of
:class:`vla_bench.policies.vla.backbones.contract.Backbone` that names its class, its prompt and its pixels and
says what is its own in encoding images or running the language model; then one line in
:data:`BACKBONES`. ``tests/integration/test_vla_backbones.py`` walks every entry through every structure.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from vla_bench.envs.errors import suggestion
from vla_bench.policies.errors import PolicyError
from vla_bench.program import installing

if TYPE_CHECKING:
    from vla_bench.policies.vla.backbones.contract import Backbone

BACKBONES = {
    "kosmos2": "vla_bench.policies.vla.backbones.kosmos2:Kosmos2",
    "paligemma": "vla_bench.policies.vla.backbones.paligemma:PaliGemma",
    "llava": "vla_bench.policies.vla.backbones.llava:Llava",
    "moondream": "vla_bench.policies.vla.backbones.llava:Moondream",
    "uform": "vla_bench.policies.vla.backbones.llava:Uform",
    "qwen_vl": "vla_bench.policies.vla.backbones.qwen_vl:QwenVl",
    "smolvlm": "vla_bench.policies.vla.backbones.smolvlm:SmolVlm",
    "idefics": "vla_bench.policies.vla.backbones.idefics:Idefics",
    "florence2": "vla_bench.policies.vla.backbones.florence2:Florence2",
    "small": "vla_bench.policies.vla.backbones.small:Small",
    "tiny": "vla_bench.policies.vla.backbones.kosmos2:Tiny",
}
"""Name to ``module:class``."""


def unknown_backbone(name: str) -> str:
    """What is said of a name that is none; names the nearest known one."""
    hint = suggestion(name, BACKBONES)
    return f"vla: unknown backbone {name!r}.{hint} Known: {', '.join(sorted(BACKBONES))}."


def backbone_class(name: str) -> type[Backbone]:
    """The class of that name; PolicyError if there is none, or if its packages are not installed."""
    if name not in BACKBONES:
        raise PolicyError(unknown_backbone(name))
    module, _, attribute = BACKBONES[name].partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise PolicyError(
            f"vla: backbone {name!r} needs the package {error.name!r}; type: {installing('vla')}"
        ) from None
