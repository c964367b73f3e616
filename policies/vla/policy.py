"""The policy ``vla`` as the runner sees it. Imports neither torch nor transformers until it is built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from envs.observation import Observation
from envs.simulation import EnvironmentSpec
from policies.base import PolicySpec, SubtaskContext
from policies.errors import PolicyError
from policies.vla.options import VlaOptions


class VlaPolicy:
    """A vision-language-action model, batched over slots, each with its own history.

    Its arguments are the fields of :class:`policies.vla.options.VlaOptions`, and ``config``: the path of the
    RoboVLMs JSON file beside a checkpoint.
    """

    def __init__(self, environment: EnvironmentSpec, **arguments: Any):
        del environment  # Checked against the spec by the registry.
        options = VlaOptions.from_arguments(arguments)
        try:
            from policies.vla.engine import Engine
        except ModuleNotFoundError as error:
            raise PolicyError(
                f"policy 'vla' needs the package {error.name!r}; type: pip install -e '.[vla]'"
            ) from None
        self._spec = options.spec()
        self._engine: Engine | None = Engine.from_options(options)

    @classmethod
    def describe(cls, environment: EnvironmentSpec, **arguments: Any) -> PolicySpec:
        """What the policy needs, without building it."""
        del environment
        return VlaOptions.from_arguments(arguments).spec()

    @property
    def spec(self) -> PolicySpec:
        """Made from the options."""
        return self._spec

    def reset(self, slot: int, instruction: str, context: SubtaskContext) -> None:
        """Forgets the slot's history and tokenises the instruction, once per text."""
        del context
        self._running().reset(slot, instruction)

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> list[np.ndarray]:
        """One (execute, 7) chunk per slot, float32, or float64 from generated tokens."""
        return self._running().act(slots, observations)

    def close(self) -> None:
        """Releases the weights."""
        self._engine = None

    def _running(self) -> Any:
        if self._engine is None:
            raise RuntimeError("the policy is closed")
        return self._engine
