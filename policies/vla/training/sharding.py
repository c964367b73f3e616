"""Parameters, gradients and the optimiser's state divided among processes, so that none holds a whole network.

torch's ``fully_shard`` (FSDP2; Zhao et al. 2023, "PyTorch FSDP"), each transformer layer a unit of its own, what is
left another. It computes what copies in each process would, to rounding. States to go on from and checkpoints are whole
and the same as without it: a run may go on with more processes, fewer, or one.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor


class ShardedModule:
    """A module that is divided in place among all processes."""

    def __init__(self, module: nn.Module, *, device: torch.device, processes: int, first: bool):
        """``first``: of the processes; it keeps a whole copy in main memory, which checkpoints are written from."""
        self.module = module
        self._whole = copy.deepcopy(module).to("cpu") if first else None
        mesh = init_device_mesh(device.type, (processes,))
        for layer in layers_in(module):
            fully_shard(layer, mesh=mesh)
        fully_shard(module, mesh=mesh)

    @contextlib.contextmanager
    def quiet(self, still: bool) -> Iterator[None]:
        """Gradients stay in this process while ``still``."""
        assert isinstance(self.module, FSDPModule)
        self.module.set_requires_gradient_sync(not still)
        try:
            yield
        finally:
            self.module.set_requires_gradient_sync(True)

    def gathered(self) -> nn.Module:
        """The module with whole parameters, in the first process; in others the divided one. All have to ask."""
        state = whole_tensors(self.module.state_dict(), keep=self._whole is not None)
        if self._whole is None:
            return self.module
        self._whole.load_state_dict(state)
        return self._whole


def layers_in(module: nn.Module) -> list[nn.Module]:
    """Members of the outermost lists of blocks, as transformers have their layers."""
    found: list[nn.Module] = []
    for child in module.children():
        if isinstance(child, nn.ModuleList) and all(any(True for _ in each.children()) for each in child):
            found += [each for each in child if any(True for _ in each.parameters())]
        else:
            found += layers_in(child)
    return found


def whole_tensors(tree: Any, *, keep: bool = True) -> Any:
    """Nested dicts and lists with whole tensors in main memory in place of divided ones; all processes have to ask.
    ``keep``: whether this process wants them."""
    if isinstance(tree, DTensor):
        full = tree.full_tensor()
        return full.detach().cpu() if keep else None
    if isinstance(tree, Mapping):
        return {name: whole_tensors(each, keep=keep) for name, each in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [whole_tensors(each, keep=keep) for each in tree]
    return tree


def divided_as(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, held by all processes, as ``like`` is divided."""
    if not isinstance(like, DTensor) or value.dim() == 0:
        return value
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)


def load_whole(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copies whole tensors by name into a module that may be divided; other names stay as they are."""
    own = module.state_dict()
    with torch.no_grad():
        for name, value in state.items():
            if name in own:
                own[name].copy_(divided_as(value, own[name]))


def load_optimiser(optimiser: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """The inverse of its whole state dict, divided as its parameters are."""
    members = [each for group in optimiser.param_groups for each in group["params"]]
    divided = {
        number: {
            name: divided_as(each, members[number]) if isinstance(each, Tensor) else each for name, each in held.items()
        }
        for number, held in state["state"].items()
    }
    optimiser.load_state_dict({**state, "state": divided})
