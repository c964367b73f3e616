"""The verbs of a simulation, and the plain data that goes in and out of it.

The verbs are more than Gymnasium's ``step`` because that is where the time goes: actions are
advanced in chunks without rendering, and an image is made only when a policy is about to look.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from vla_bench.envs.action_spec import ActionSpec
from vla_bench.envs.observation import Observation, Sensors


@dataclass(frozen=True, slots=True)
class EpisodeStart:
    """The state an episode starts from; plain numbers, so that it can be stored and hashed."""

    scene: str
    """Scene name within the environment, e.g. ``D``."""
    state: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Named state vectors; CALVIN: ``robot_obs`` (15) and ``scene_obs`` (24). Empty: the
    environment's own default start."""
    task: str = ""
    """What is set out in the scene, where that is a matter of the task; else empty."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of :meth:`Simulation.advance`."""

    steps: int
    """Control steps executed, at most the number of actions given."""
    success: bool
    """Whether the subtask was solved after the last executed step."""
    stopped: bool
    """Whether the environment's stop rule ended the subtask at the last executed step (CALVIN: at
    success, also when that was the last action of the chunk); the rest of the chunk is dropped."""
    ever: bool = False
    """Whether the subtask was solved after any step since ``begin``."""
    flags: Mapping[str, float] = field(default_factory=dict)
    """Partial successes and measurements after the last executed step, e.g. ``grasped``; truth is 1."""


class SceneState(Protocol):
    """The whole truth about a scene, for the scripted expert and for tests."""

    def digest(self) -> str:
        """Hex digest of the exact bits of the state: equal digests, equal states."""
        ...


class Contact(NamedTuple):
    """Two bodies that touch, or nearly do."""

    body: str
    link: int
    """-1: the base."""
    other: str
    other_link: int
    place: tuple[float, float, float]
    """On ``other``, metres, world."""
    distance: float
    """Metres; negative: they overlap."""
    force: float
    """Newtons along the normal."""


class StepState(NamedTuple):
    """What a trace holds of a simulation after a step."""

    vectors: Mapping[str, np.ndarray]
    """Named vectors (n,), always the same names and lengths."""
    contacts: Sequence[Contact]


@runtime_checkable
class Simulation(Protocol):
    """One simulated scene, owned by one process and one thread."""

    def reset(self, start: EpisodeStart) -> None:
        """Starts an episode. Nothing of an earlier episode is left behind."""
        ...

    def begin(self, subtask: str) -> None:
        """Fixes the start information that the success oracle compares with."""
        ...

    def advance(self, actions: np.ndarray) -> Outcome:
        """Executes up to k actions, (k, A) in the caller's dtype, asking the oracle after each.

        Never renders. Stops by the environment's rule (CALVIN: at success).
        """
        ...

    def observe(self) -> Observation:
        """Renders the cameras that were asked for at construction, now."""
        ...

    def privileged(self) -> SceneState:
        """The state behind the observation; never part of an :class:`Observation`."""
        ...

    def close(self) -> None:
        """Releases native resources. May be called twice."""
        ...


@runtime_checkable
class TracedSimulation(Simulation, Protocol):
    """A simulation whose state can be traced step by step."""

    def step_state(self) -> StepState:
        """The state now."""
        ...

    def vector_names(self) -> Mapping[str, Sequence[str]]:
        """What the numbers of each vector of :meth:`step_state` are called, in the scene of the last reset."""
        ...


class Part(NamedTuple):
    """Numbers within a state vector of an observation."""

    vector: str
    first: int
    last: int
    """Not included."""
    form: str = ""
    """Of a rotation: ``euler_xyz``, ``axis_angle``, ``quaternion_xyzw`` or ``quaternion_wxyz``."""


@dataclass(frozen=True, slots=True)
class EnvironmentSpec:
    """What an environment offers to a policy; plain data, known before anything is simulated."""

    family: str
    actions: tuple[ActionSpec, ...]
    """Conventions it understands; the first is the default."""
    cameras: Mapping[str, tuple[int, int]]
    """Own (height, width) in pixels of every camera."""
    control_hz: float
    resizable: bool = True
    """Whether a camera may be asked for at another size than its own."""
    depth: bool = True
    """Whether a camera may be asked for its depth."""
    traced: bool = False
    """Whether its simulations are :class:`TracedSimulation`."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """What stands for what a policy knows by its role: ``static`` (the camera that sees the whole scene) and
    ``gripper`` (the one at the hand) name cameras, ``state`` the vector of the robot's own state. A role that nothing
    has is left out."""
    expert: str = ""
    """Class path of the policy that is called ``expert`` here; empty: there is none."""
    vectors: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """State vectors of an observation, each with values that one may have."""
    parts: Mapping[str, Part] = field(default_factory=dict)
    """Where the numbers are that go by the same name everywhere: ``position`` (3) and ``rotation`` of the tool, which
    are in the frame of ``base_position`` (3) and ``base_rotation`` where these are there too; ``width`` (1) between the
    fingers, metres; ``joints`` of the arm; ``command`` (1), the gripper's last, above one half for open;
    ``closedness`` (1) of the gripper, from 0 to 1. What nothing has is left out."""

    def camera(self, role: str) -> str:
        """The camera of that role; the role itself where no camera is said to have it."""
        return self.roles.get(role, role)

    def action(self, name: str) -> ActionSpec:
        """The convention of that name; ValueError names those on offer."""
        for spec in self.actions:
            if spec.name == name:
                return spec
        offered = ", ".join(spec.name for spec in self.actions)
        raise ValueError(f"{self.family} has no action convention {name!r}; it offers {offered}")


@dataclass(frozen=True, slots=True)
class SimulationSpec:
    """How to build a simulation in another process."""

    family: str
    """One of :func:`family_names`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the family's ``build``; plain data."""
    sensors: Sensors = field(default_factory=Sensors)
    action: str = ""
    """Name of the action convention; empty means the environment's default."""


FAMILIES = {
    "calvin": "vla_bench.envs.calvin.family",
    "simpler": "vla_bench.envs.simpler.family",
    "fake": "vla_bench.envs.fake",
}
"""Module of each built-in family. It has ``environment_spec(options)`` and ``build(spec)``."""
ENTRY_POINTS = "vla_bench.environments"
"""Entry-point group in which an installed package names such a module of its own."""
STRESS = "stress"
"""Option of a simulation that holds levels of stress, and state vector of a start that holds their seed."""


def family_names() -> list[str]:
    """The families that can be simulated, built-in ones first."""
    return [*FAMILIES, *(name for name in _installed() if name not in FAMILIES)]


def _installed() -> dict[str, str]:
    return {point.name: point.value for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}


def _family(name: str) -> Any:
    module = FAMILIES.get(name) or _installed().get(name)
    if module is None:
        raise ValueError(
            f"unknown simulation family {name!r}; known: {', '.join(family_names())}. A package adds one through "
            f"the entry-point group {ENTRY_POINTS}"
        )
    return importlib.import_module(module)


def environment_spec(family: str, options: Mapping[str, Any] | None = None) -> EnvironmentSpec:
    """What that family offers, without loading a simulator."""
    plain = {name: value for name, value in (options or {}).items() if name != STRESS}
    spec: EnvironmentSpec = _family(family).environment_spec(plain)
    return spec


def make_simulation(spec: SimulationSpec) -> Simulation:
    """Builds the simulation that ``spec`` describes; its options hold no levels of stress."""
    simulation: Simulation = _family(spec.family).build(spec)
    return simulation
