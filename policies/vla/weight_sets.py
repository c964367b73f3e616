"""Which of the sets of weights in a file are taken: a file may hold averaged ones beside the raw."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vla_bench.envs.errors import suggestion
from vla_bench.policies.errors import PolicyError

USUAL = (
    "state_dict",
    "model_state_dict",
    "module",
    "model",
    "model_state",
    "network",
    "net",
    "policy",
    "params",
    "weights",
)
"""Names under which trainers keep a network, those that are looked for first in front."""
AVERAGED = (
    *("ema_state_dict", "state_dict_ema", "model_ema", "ema_model", "ema", "ema_params", "shadow_params", "averaged"),
    *("swa_state_dict", "swa_model", "target", "teacher"),
)
"""Names of averaged or second copies."""
_NEVER = ("optimizer", "optim", "optimizer_states", "lr_scheduler", "lr_schedulers", "scheduler", "scaler", "amp")


def choose_set(content: Any, wanted: str | None, path: Path) -> tuple[Mapping[str, Any], str]:
    """The set of weights to take, and what to say of it; empty when the file holds no other.

    Args:
        content: what the file holds.
        wanted: name of a set (``policy.weights=``); None: the usual one.

    Raises:
        PolicyError: there is no such set, or several of which none has a usual name.
    """
    if not isinstance(content, Mapping):
        raise PolicyError(f"vla: {path} has no state_dict or model_state_dict; it holds {type(content).__name__}")
    sets = sets_in(content)
    if wanted is not None:
        if wanted not in sets:
            there = f"it has {', '.join(sets)}" if sets else "it has no names for sets"
            raise PolicyError(f"vla: {path} has no weights {wanted!r}; {there}.{suggestion(wanted, sets)}")
        return sets[wanted], f"weights={wanted}" if len(sets) > 1 else ""
    if not sets:
        if any(isinstance(value, Tensor) for value in content.values()):
            return content, ""
        found = ", ".join(map(str, list(content)[:6])) or "nothing"
        raise PolicyError(f"vla: {path} has no state_dict or model_state_dict; it holds {found}")
    usual = [name for name in USUAL if name in sets]
    if not usual and len(sets) > 1:
        raise PolicyError(f"vla: {path} holds several sets of weights; choose one with policy.weights={'|'.join(sets)}")
    name = usual[0] if usual else next(iter(sets))
    others = [other for other in sets if other != name]
    if not others:
        return sets[name], ""
    return sets[name], (
        f"of {path.name} the weights {name} are taken; it also holds {', '.join(others)}, which "
        f"policy.weights={others[0]} takes"
    )


def sets_in(content: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The sets of weights in a file, by name; none when the names of one network are all that it holds."""
    found: dict[str, Mapping[str, Any]] = {}
    for name, value in content.items():
        if not isinstance(value, Mapping) or str(name).lower() in _NEVER:
            continue
        if any(isinstance(item, Tensor) for item in value.values()):
            found[str(name)] = value
            continue
        for inner, deeper in value.items():
            if isinstance(deeper, Mapping) and any(isinstance(item, Tensor) for item in deeper.values()):
                found[f"{name}.{inner}"] = deeper
    for name in [name for name in found if "." in name]:  # {"ema": {"state_dict": ...}} is called ema
        outer = name.partition(".")[0]
        if sum(other.startswith(f"{outer}.") for other in found) == 1 and outer not in found:
            found[outer] = found.pop(name)
    return found or _by_prefix(content)


def _by_prefix(content: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """One flat set of names in which a copy stands under a prefix: ``ema.x`` beside ``model.x``."""
    groups: dict[str, dict[str, Any]] = {}
    for key, value in content.items():
        if isinstance(value, Tensor):
            first, _, rest = str(key).partition(".")
            groups.setdefault(first, {})[rest] = value
    copies = [name for name in groups if name in AVERAGED]
    others = [name for name in groups if name not in AVERAGED]
    if not copies or not others:
        return {}
    raw = {str(key): value for key, value in content.items() if str(key).partition(".")[0] not in AVERAGED}
    bare = {key.removeprefix("model.") for key in raw}
    if not all({key.removeprefix("model.") for key in groups[name]} <= bare for name in copies):
        return {}
    return {"model": raw, **{name: groups[name] for name in copies}}
