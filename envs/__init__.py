"""Environments: simulators, tasks and assets.

Knows nothing of policies or of the benchmark runner. The shared vocabulary lives in modules that
import numpy only: :mod:`vla_bench.envs.observation`, :mod:`vla_bench.envs.action_spec` and
:mod:`vla_bench.envs.simulation`.
A family of simulations (``calvin``, ``fake``) is imported when :func:`make_simulation` asks for it.
"""

from vla_bench.envs.action_spec import ActionSpec
from vla_bench.envs.observation import Camera, Observation, Sensors
from vla_bench.envs.simulation import (
    EnvironmentSpec,
    EpisodeStart,
    Outcome,
    SceneState,
    Simulation,
    SimulationSpec,
    make_simulation,
)

__all__ = [
    "ActionSpec",
    "Camera",
    "EnvironmentSpec",
    "EpisodeStart",
    "Observation",
    "Outcome",
    "SceneState",
    "Sensors",
    "Simulation",
    "SimulationSpec",
    "make_simulation",
]
