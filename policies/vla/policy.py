"""The policy ``vla`` as the runner sees it. Imports neither torch nor transformers until it is built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vla_bench.envs.observation import Observation
from vla_bench.envs.simulation import EnvironmentSpec
from vla_bench.policies.base import PolicySpec, SubtaskContext
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.vla.embodiment import (
    ChunkCommands,
    Embodiment,
    embodiment_in,
    names_in,
    seen_as,
    spec_by_roles,
)
from vla_bench.policies.vla.options import VlaOptions
from vla_bench.program import installing


class VlaPolicy:
    """A vision-language-action model, batched over slots, each with its own history.

    Its arguments are the fields of :class:`vla_bench.policies.vla.options.VlaOptions`, and ``config``: the path of the
    RoboVLMs JSON file beside a checkpoint.
    """

    def __init__(self, environment: EnvironmentSpec, **arguments: Any):
        options = VlaOptions.from_arguments(arguments)
        self._embodiment = embodiment_in(environment, options)
        self._spec = _spec(options, self._embodiment, environment)
        self._names = names_in(environment)
        if self._embodiment is not None:
            options = self._embodiment.options(options)
        self._options = options
        self._rules: dict[int, ChunkCommands] = {}
        try:
            from vla_bench.policies.vla.engine import Engine
        except ModuleNotFoundError as error:
            raise PolicyError(f"policy 'vla' needs the package {error.name!r}; type: {installing('vla')}") from None
        self._engine: Engine | None = Engine.from_options(options)

    @classmethod
    def describe(cls, environment: EnvironmentSpec, **arguments: Any) -> PolicySpec:
        """What the policy needs, without building it."""
        options = VlaOptions.from_arguments(arguments)
        return _spec(options, embodiment_in(environment, options), environment)

    @property
    def spec(self) -> PolicySpec:
        """Made from the options and the environment."""
        return self._spec

    @property
    def remark(self) -> str:
        """What has to be said of its weights, e.g. that the file holds others, too."""
        return self._running().remark

    def reset(self, slot: int, instruction: str, context: SubtaskContext) -> None:
        """Forgets the slot's history and tokenises the instruction, once per text."""
        del context
        self._running().reset(slot, instruction)
        if self._embodiment is not None:
            self._rules[slot] = self._embodiment.rules(self._options)

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> list[np.ndarray]:
        """One (execute, 7) chunk per slot: float32, or float64 from generated tokens and for robots of data sets."""
        if self._embodiment is None:
            return self._running().act(slots, [seen_as(self._names, seen) for seen in observations])
        chunks = self._running().act(slots, [self._embodiment.shown(seen) for seen in observations])
        return [self._rules[slot](chunk) for slot, chunk in zip(slots, chunks, strict=True)]

    def close(self) -> None:
        """Releases the weights."""
        self._engine = None

    def _running(self) -> Any:
        if self._engine is None:
            raise RuntimeError("the policy is closed")
        return self._engine


def _spec(options: VlaOptions, embodiment: Embodiment | None, environment: EnvironmentSpec) -> PolicySpec:
    return spec_by_roles(options, environment) if embodiment is None else embodiment.spec(options)
