"""The contract between a policy and the runner.

A policy is batched over *slots*: one slot is one running episode, and the policy keeps whatever
history it needs per slot. Most users write a plain class with ``reset(instruction)`` and
``act(observation)`` instead; :class:`vla_bench.policies.one_slot.OneSlotPolicy` gives it this face.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from vla_bench.envs.action_spec import ActionSpec
from vla_bench.envs.observation import Camera, Observation, Sensors
from vla_bench.envs.simulation import SceneState


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """What a policy needs and what its actions mean; checked against the environment at start."""

    name: str
    """Name shown in tables."""
    action: ActionSpec
    """Convention of the actions it returns."""
    sensors: Sensors = field(default_factory=Sensors)
    """Cameras it looks through; none means that nothing is rendered."""
    chunk: int = 1
    """Actions it predicts per decision."""
    execute: int = 1
    """Actions of a chunk that are executed before it looks again; at most ``chunk``."""
    privileged: bool = False
    """True for a policy that must be told the simulator's state through :meth:`Policy.see`."""
    stochastic: bool = False
    """True when its actions depend on the seed in :class:`SubtaskContext`."""
    batched: bool = True
    """Whether :meth:`Policy.act` is faster for several slots at once than for one after the other."""
    ends: bool = False
    """True for a policy that may end a subtask itself, through :meth:`EndingPolicy.ended` (RT-1's
    ``terminate_episode``). Heeded where the last step counts (SimplerEnv); CALVIN has no such end."""
    switches: Mapping[str, str] = field(default_factory=dict)
    """Further choices that may change a number, e.g. ``compat: released``; part of the protocol's facts."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Digests of the files it is made of, by what they are (``checkpoint``): a run belongs to these, so that
    other weights under the same name do not finish it."""
    placement: tuple[str, ...] = ()
    """Names of its arguments that say where and how it runs, not what it decides (an address): a run may go on
    with other values."""
    notes: tuple[str, ...] = ()
    """Sentences that must stand beside every number made with it."""


@dataclass(frozen=True, slots=True)
class SubtaskContext:
    """Which subtask of which episode is about to start, beside its instruction."""

    episode: str
    """Identifier of the episode within its protocol, e.g. ``seq-0007``."""
    position: int
    """0-based place of the subtask in the episode."""
    seed: int
    """A function of the run's seed, the episode and the position alone; 0 <= seed < 2**63."""
    executed: int = 0
    """Actions of the last decision before it that were executed before the subtask ended; 0 at position 0. For a
    policy whose chunks run on over the change of the instruction."""
    task: str = ""
    """Name of the subtask, e.g. ``open_drawer``; what its instruction says in words."""

    @property
    def new_episode(self) -> bool:
        """Whether the scene has been set up anew since the subtask before: at the first of an episode."""
        return self.position == 0


@dataclass(frozen=True, slots=True)
class EpisodeOutcome:
    """What became of an episode, as a policy is told."""

    success: bool
    """Whether all of it was solved."""
    chain_length: int
    """Subtasks solved in a row from the first; judged by the last: 1 when that was solved, else 0."""
    steps: int
    """Control steps of all its subtasks."""
    seconds: float
    """Wall time."""


@runtime_checkable
class Policy(Protocol):
    """Observations in, action chunks out."""

    @property
    def spec(self) -> PolicySpec:
        """Fixed for the life of the policy."""
        ...

    def reset(self, slot: int, instruction: str, context: SubtaskContext) -> None:
        """Starts a new subtask in ``slot`` and forgets the slot's history."""
        ...

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Sequence[np.ndarray]:
        """One chunk per slot, (k, A) with 1 <= k; ``spec.execute`` of them are executed.

        Asked for several slots, it may put an exception in the place of a chunk: what went wrong for that slot alone.
        """
        ...

    def close(self) -> None:
        """Releases what the policy holds."""
        ...


@runtime_checkable
class PrivilegedPolicy(Policy, Protocol):
    """A policy that is shown the simulator's state before each decision, e.g. the expert."""

    def see(self, slot: int, state: SceneState) -> None:
        """Called before every :meth:`act`, in the process that owns the simulation."""
        ...


@runtime_checkable
class ToldPolicy(Policy, Protocol):
    """A policy that is told when an episode has ended, e.g. to send or store what belongs to it."""

    def finished(self, slot: int, outcome: EpisodeOutcome) -> None:
        """Called after the last subtask of an episode that was judged. An episode that breaks off is not told:
        the next :meth:`reset` at position 0 is."""
        ...


@runtime_checkable
class TimedPolicy(Policy, Protocol):
    """A policy that knows how much of a decision its model took, the rest being transport and queueing."""

    def model_seconds(self, slot: int) -> float | None:
        """Of the slot's last decision; None when it does not know."""
        ...


@runtime_checkable
class EndingPolicy(Policy, Protocol):
    """A policy that says when it is through with a subtask."""

    def ended(self, slot: int) -> bool:
        """Called after every :meth:`act`: whether the subtask is to end once that decision's actions are
        executed."""
        ...


def spec_from_plain(plain: Mapping[str, Any]) -> PolicySpec:
    """The inverse of ``dataclasses.asdict`` for a spec."""
    cameras = tuple(Camera(**camera) for camera in plain["sensors"]["cameras"])
    return PolicySpec(**{**plain, "action": ActionSpec(**plain["action"]), "sensors": Sensors(cameras)})
