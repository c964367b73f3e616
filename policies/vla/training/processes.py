"""One process or many, on one device each, through ``accelerate``; divided networks through torch's own FSDP2."""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vla_bench.policies.errors import PolicyError
from vla_bench.policies.vla.build import device_named
from vla_bench.policies.vla.training.config import TrainingConfig
from vla_bench.policies.vla.training.sharding import ShardedModule, whole_tensors

_PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}
LONGEST_WAIT = datetime.timedelta(hours=6)
"""Processes wait so long for the first one, which evaluates in the simulator."""


def _quick(device: torch.device) -> str:
    """bf16 where the device multiplies it faster than float32; most processors would emulate it."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    able = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return "bf16" if able.get("avx512_bf16") or able.get("amx_bf16") else "fp32"


class Processes:
    """What the loop asks of the others. ``torchrun`` or ``accelerate launch`` start them."""

    def __init__(self, config: TrainingConfig):
        try:
            from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
            from accelerate.state import AcceleratorState
        except ModuleNotFoundError:
            raise PolicyError("training needs the package 'accelerate'; type: pip install -e '.[vla]'") from None
        if config.device not in ("cpu", "cuda", "auto"):
            raise PolicyError(
                f"train.device={config.device}: cpu, cuda or auto; CUDA_VISIBLE_DEVICES chooses among GPUs"
            )
        try:
            device = device_named(config.device)
        except PolicyError:
            raise PolicyError(
                f"train.device={config.device}, but no GPU is found here; type train.device=cpu"
            ) from None
        if config.precision == "fp16" and device.type != "cuda":
            raise PolicyError("train.precision=fp16 scales its loss on a GPU, and none is used; type bf16 or fp32")
        if config.precision == "fp16" and config.sharded:
            raise PolicyError("train.sharded=true does not scale losses; type train.precision=bf16 or fp32")
        if os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true":
            raise PolicyError(
                "FSDP is not taken from accelerate's configuration; leave it there and type train.sharded=true"
            )
        # accelerate keeps the precision of the first run of a process for good; a grid of runs may have several.
        alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
        AcceleratorState._reset_state(reset_partial_state=alone)
        self._accelerator = Accelerator(
            cpu=device.type == "cpu",
            mixed_precision=_PRECISIONS[_quick(device) if config.precision == "auto" else config.precision],
            kwargs_handlers=[
                DistributedDataParallelKwargs(find_unused_parameters=True),
                InitProcessGroupKwargs(timeout=LONGEST_WAIT),
            ],
        )
        self._sharding = config.sharded and self.count > 1
        self._sharded: ShardedModule | None = None

    @property
    def count(self) -> int:
        """Processes in all."""
        return self._accelerator.num_processes

    @property
    def rank(self) -> int:
        """Number of this one, from 0."""
        return self._accelerator.process_index

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self._accelerator.is_main_process

    @property
    def device(self) -> torch.device:
        """This process's own."""
        return self._accelerator.device

    def prepare(
        self, module: nn.Module, optimiser_of: Callable[[nn.Module], torch.optim.Optimizer]
    ) -> tuple[nn.Module, Any]:
        """Module and optimiser on the device, wrapped or divided for several processes where there are.

        Args:
            optimiser_of: makes the optimiser, when parameters are what they will be.
        """
        if not self._sharding:
            return self._accelerator.prepare(module, optimiser_of(module))
        module.to(self.device)
        self._sharded = ShardedModule(module, device=self.device, processes=self.count, first=self.first)
        return module, optimiser_of(module)

    @property
    def sharded(self) -> bool:
        """Whether every pass through the module needs all processes."""
        return self._sharded is not None

    def bare(self, module: nn.Module) -> nn.Module:
        """The module without wrappers."""
        return module if self._sharded else self._accelerator.unwrap_model(module)

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """Arithmetic in the chosen precision."""
        return self._accelerator.autocast()

    def quiet(self, module: nn.Module, *, until_last: bool) -> contextlib.AbstractContextManager[None]:
        """Gradients stay in this process where more of the same step follow."""
        if self._sharded:
            return self._sharded.quiet(until_last)
        return self._accelerator.no_sync(module) if until_last else contextlib.nullcontext()

    def backward(self, loss: Tensor) -> None:
        """The backward pass; the loss is scaled in fp16."""
        self._accelerator.backward(loss)

    def clip(self, module: nn.Module, optimiser: Any, most: float) -> float:
        """L2 norm of all gradients, which are shortened to ``most`` unless it is 0."""
        parameters = [each for each in module.parameters() if each.grad is not None]
        if self._sharded:
            norm = torch.nn.utils.clip_grad_norm_(parameters, most or float("inf"))
            return float(whole_tensors(norm))
        norm = self._accelerator.clip_grad_norm_(parameters, most or float("inf"))
        return float(norm) if norm is not None else 0.0

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """Sums over all processes."""
        if self.count == 1:
            return list(numbers)
        both = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        return self._accelerator.reduce(both, reduction="sum").tolist()

    def mean(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """Means over all processes, by name."""
        return dict(zip(numbers, (each / self.count for each in self.sum(list(numbers.values()))), strict=True))

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            self._accelerator.wait_for_everyone()

    @contextlib.contextmanager
    def gathered(self, module: nn.Module) -> Iterator[nn.Module]:
        """The network with whole parameters, in the first process also where processes hold shards. All have to ask."""
        yield self._sharded.gathered().model if self._sharded else self.bare(module).model

    def scaler_state(self) -> dict[str, Any] | None:
        """Of fp16's loss scaling."""
        return None if self._accelerator.scaler is None else self._accelerator.scaler.state_dict()

    def load_scaler(self, state: Mapping[str, Any] | None) -> None:
        """The inverse of :meth:`scaler_state`."""
        if state is not None and self._accelerator.scaler is not None:
            self._accelerator.scaler.load_state_dict(dict(state))
