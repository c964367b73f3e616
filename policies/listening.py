"""Listens to what a policy's network computes: forward hooks that change nothing and are gone afterwards.

A place is ``head``, what the action head of a ``vla`` reads, or the name of a module of the policy as its attributes
name it, e.g. ``model.act_head``. ``*`` in a name stands for one part of it, so that several places can be named at
once; ``layers`` stands for every layer of the language model of a ``vla``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields, is_dataclass
from typing import Any, Literal

import numpy as np

from vla_bench.envs.errors import suggestion
from vla_bench.policies.errors import PolicyError

HEAD = "head"
LAYERS = "layers"
Tokens = Literal["last", "mean", "max"]
_DEPTH = 4
"""Attributes that are followed from a policy to its network."""


class Listener:
    """What was computed at each place since it was last asked, in main memory, one array a call."""

    def __init__(self, places: Sequence[str]) -> None:
        self._heard: dict[str, list[np.ndarray]] = {place: [] for place in places}
        self.dtypes: dict[str, str] = {}
        """By place, what the network computes in, e.g. ``bfloat16``; what is heard is float32 whatever it is."""

    @property
    def places(self) -> tuple[str, ...]:
        """Where it listens."""
        return tuple(self._heard)

    def put(self, place: str, tensor: Any) -> None:
        """Takes a tensor of (B, ...) numbers: detached, and copied to main memory."""
        self.dtypes[place] = str(tensor.dtype).removeprefix("torch.")
        self._heard[place].append(tensor.detach().float().cpu().numpy().copy())

    def forget(self) -> None:
        """Drops what was computed so far."""
        self._heard = {place: [] for place in self._heard}

    def take(self, samples: int) -> dict[str, np.ndarray] | None:
        """Per place a (samples, ...) float32 array, and forgets it; None where a place was not called once a sample.

        Raises:
            PolicyError: a place computed nothing at all.
        """
        found: dict[str, np.ndarray] = {}
        heard, self._heard = self._heard, {place: [] for place in self._heard}
        for place, calls in heard.items():
            if not calls:
                raise PolicyError(f"{place!r} computed nothing while the policy decided; listen somewhere else")
            if sum(map(len, calls)) != samples:
                if samples > 1:
                    return None
                calls = [calls[-1][-1:]]  # of a decision that calls it again and again, the last
            found[place] = np.concatenate(calls)
        return found


@contextmanager
def listening(policy: Any, places: Sequence[str], tokens: Tokens = "last") -> Iterator[Listener]:
    """Listens to a policy at ``places`` for as long as the block lasts.

    What is heard is detached, copied to main memory as float32 and, where a module's output is one vector a token,
    brought down to one a sample at once: in a ``vla`` by its own readout (its action tokens; the maximum over the
    tokens of other readouts), elsewhere by ``tokens``.

    Raises:
        PolicyError: the policy holds no torch module, or none of that name; names the nearest.
    """
    modules = modules_of(policy)
    names = resolve(policy, places, modules)
    listener = Listener(names)
    engine = getattr(policy, "_engine", None)
    network = getattr(engine, "model", None)
    vla = callable(getattr(network, "readout", None)) and hasattr(network, "act_head")
    waiting: list[tuple[str, Any]] = []
    with ExitStack() as stack:
        for name in names:
            if name == HEAD:
                continue

            def hook(_module: Any, _inputs: Any, output: Any, *, name: str = name) -> None:
                tensor = _tensor(output, name)
                if vla and tensor.ndim == 3:
                    waiting.append((name, tensor.detach().clone()))  # the network may go on in it
                else:
                    listener.put(name, _reduced(tensor.detach(), tokens))

            stack.callback(modules[name].register_forward_hook(hook).remove)
        if vla:
            stack.enter_context(_readouts(network, listener, waiting, tokens))
            if HEAD in names:
                stack.enter_context(_heads(network, listener))
        yield listener


@contextmanager
def _readouts(network: Any, listener: Listener, waiting: list[tuple[str, Any]], tokens: Tokens) -> Iterator[None]:
    """Brings what modules of a ``vla`` said of every token down to the tokens that its head reads."""
    readout: Callable[..., Any] = network.readout

    def listened(batch: Any, hidden: Any) -> Any:
        ends = np.cumsum(batch.frames) - 1
        for name, tensor in waiting:
            if tuple(tensor.shape[:2]) == tuple(batch.kinds.shape):
                read = readout(batch, tensor)
                chosen = [read[end] if network.config.readout == "action_token" else read[end].amax(0) for end in ends]
                for each in chosen:
                    listener.put(name, each.reshape(1, -1))
            else:
                listener.put(name, _reduced(tensor, tokens))
        waiting.clear()
        return readout(batch, hidden)

    network.readout = listened
    try:
        yield
    finally:
        del network.readout


@contextmanager
def _heads(network: Any, listener: Listener) -> Iterator[None]:
    """What the head reads of the newest frame of each row, (B, 1, L, d): window, latent, width."""
    features: Callable[..., Any] = network.features

    def listened(batch: Any, hidden: Any) -> Any:
        found, lengths = features(batch, hidden)
        for row, length in zip(found, lengths.tolist(), strict=True):
            listener.put(HEAD, row[length - 1].reshape(1, 1, network.config.latent, -1))
        return found, lengths

    network.features = listened
    try:
        yield
    finally:
        del network.features


def _reduced(tensor: Any, tokens: Tokens) -> Any:
    """(B, ...) to (B, d): of (B, S, d) one vector of the S, of (B, C, H, W) the mean over places."""
    if tensor.ndim == 1:
        return tensor[None]
    if tensor.ndim == 4:
        return tensor.mean((2, 3))
    if tensor.ndim != 3:
        return tensor.flatten(1)
    return tensor[:, -1] if tokens == "last" else tensor.mean(1) if tokens == "mean" else tensor.amax(1)


def _tensor(output: Any, name: str) -> Any:
    """The tensor a module returned, or the first that it returned: no loss, which is one number, and a mask or ids only
    where there is nothing else."""
    import torch

    found = [each for each in _within(output) if isinstance(each, torch.Tensor) and each.ndim]
    for tensor in (*(each for each in found if each.is_floating_point()), *found):
        return tensor
    raise PolicyError(f"{name!r} returns a {type(output).__name__} without a tensor; listen to a module inside it")


def _within(output: Any) -> Iterator[Any]:
    """What is in tuples, lists, mappings (also those of transformers) and dataclasses, in their order."""
    if isinstance(output, Mapping):
        output = tuple(output.values())
    elif is_dataclass(output):
        output = tuple(getattr(output, each.name) for each in fields(output))
    if isinstance(output, tuple | list):
        for each in output:
            yield from _within(each)
    else:
        yield output


def resolve(policy: Any, places: Sequence[str], modules: Mapping[str, Any] | None = None) -> list[str]:
    """The places as full names, each once. Errors as :func:`listening`."""
    modules = modules_of(policy) if modules is None else modules
    config = getattr(getattr(policy, "_engine", None), "config", None)
    found: list[str] = []
    for place in places:
        # The head of a ``vla`` reads and predicts by methods of its own, never called as a module.
        if place == HEAD or (config is not None and place == "model.act_head"):
            if config is None:
                raise PolicyError("head is a place of policy=vla; name a module of yours: --at model.act_head")
            if config.generates_tokens:
                raise PolicyError(
                    f"a {config.structure} policy that generates tokens has no head that reads; type --at layers"
                )
            found.append(HEAD)
            continue
        matching = _layers(modules, config) if place == LAYERS and LAYERS not in modules else _matching(place, modules)
        if not matching:
            raise PolicyError(f"the policy has no module {place!r}.{_nearest(place, modules)}")
        found += matching
    return list(dict.fromkeys(found))


def _matching(place: str, modules: Mapping[str, Any]) -> list[str]:
    pattern = re.compile(re.escape(place).replace(r"\*", r"[^.]+"))
    return [name for name in modules if pattern.fullmatch(name)]


def _layers(modules: Mapping[str, Any], config: Any) -> list[str]:
    """The layers of the longest stack of the backbone that is no encoder of images."""
    if config is None:
        raise PolicyError("layers is a place of policy=vla; name your modules: --at 'model.layers.*'")
    import torch

    stacks = [
        (len(module), name)
        for name, module in modules.items()
        if isinstance(module, torch.nn.ModuleList)
        and name.startswith("model.backbone.")
        and not re.search(r"vision|image|visual|encoder\.(static|gripper)", name)
    ]
    if not stacks:
        raise PolicyError("the backbone has no stack of layers that is known; name them: --at 'model.backbone…*'")
    longest, name = max(stacks)
    return [f"{name}.{number}" for number in range(longest)]


def _nearest(place: str, modules: Mapping[str, Any]) -> str:
    hint = suggestion(place, modules)
    ends = [name for name in modules if name.rpartition(".")[2] == place.rpartition(".")[2]]
    if not hint and ends:
        hint = f" Did you mean {ends[0]!r}?"
    return hint or f" It begins with {', '.join(sorted({name.partition('.')[0] for name in modules}))}."


def modules_of(policy: Any) -> dict[str, Any]:
    """Modules of the policy's networks by name: attributes from the policy on, less those of our own wrapping.

    Raises:
        PolicyError: there is none; it does not run on torch, or in another process.
    """
    try:
        import torch
    except ModuleNotFoundError:
        raise PolicyError("context vectors are taken from torch modules, and torch is not installed") from None
    root = getattr(policy, "_plain", policy)
    root = getattr(root, "_engine", None) or root
    found: dict[str, Any] = {}
    seen: set[int] = set()
    queue: list[tuple[str, Any, int]] = [("", root, 0)]
    while queue:
        path, holder, depth = queue.pop(0)
        if id(holder) in seen:
            continue
        seen.add(id(holder))
        if isinstance(holder, torch.nn.Module):
            for name, module in holder.named_modules():
                full = ".".join(part for part in (path, name) if part)
                if full:
                    found.setdefault(full, module)
            continue
        if depth < _DEPTH:
            held = holder if isinstance(holder, dict) else getattr(holder, "__dict__", {})
            for name, value in list(held.items()):
                if isinstance(name, str) and not isinstance(
                    value, str | int | float | np.ndarray | torch.Tensor | type
                ):
                    queue.append((f"{path}.{name}" if path else name, value, depth + 1))
    if not found:
        raise PolicyError(
            f"{type(root).__name__} holds no torch module: context vectors are taken from a network in this process"
        )
    return found
