"""What a worker is told before its first episode: plain data, the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from vla_bench.bench.demonstrations.options import Disturbance, Take
from vla_bench.bench.protocol import EpisodeSpec, spec_from_plain, to_plain
from vla_bench.envs.observation import Camera, Sensors
from vla_bench.envs.simulation import SimulationSpec
from vla_bench.policies.choice import PolicyChoice

Placement = Literal["child", "server"]
"""Where decisions are made: in the child process that owns the simulation, or in one process for all
workers of a machine."""


@dataclass(frozen=True, slots=True)
class Job:
    """Everything a worker needs, the episodes aside."""

    simulation: SimulationSpec
    """Sensors and action convention filled in from the policy's spec."""
    policy: PolicyChoice
    seed: int = 0
    """Seed of the run; every subtask derives its own from it."""
    step_deadline: float | None = None
    """Seconds one call of the simulation (a reset, a frame, an executed chunk) may take before the
    process is taken for hung; None: learned from how long they take (:mod:`vla_bench.bench.dispatch.deadlines`)."""
    decision_deadline: float | None = None
    """Seconds one call of the policy may take; None: learned likewise."""
    start_deadline: float = 300.0
    """Seconds that building simulation and policy may take."""
    recycle_mb: int = 0
    """Resident memory, in MiB, above which a worker's process is replaced between episodes; 0: never."""
    trial: EpisodeSpec | None = None
    """Tried out for one step before a first episode (:mod:`vla_bench.bench.episode.preflight`); None: no trial."""
    inference: Placement = "child"
    """Where decisions are made."""
    servers: int = 1
    """Policy servers of each machine, for ``inference="server"``."""
    policy_python: str = ""
    """Interpreter of the policy servers; empty: the driver's."""
    run: str = ""
    """What the policy servers of this run are known by; empty: a name that no other run has."""
    video: str = "none"
    """Which episodes' executed actions are kept, for clips (:mod:`vla_bench.bench.video`)."""
    folder: str = ""
    """The run's, for what a worker writes itself; nothing is written where there is no such folder."""
    results: str = ""
    """Folder of the run's folder, whose files are no part of the policy wherever its arguments lead."""
    directory: str = ""
    """Folder in which the processes run, where it exists, so that relative paths and modules beside the
    user are found; empty: the driver's current one."""
    python: str = ""
    """Interpreter of the process that owns the simulation; empty: the supervisor's own."""
    packages: tuple[str, ...] = ()
    """Distributions that may change a number; each worker states the versions it has."""
    served_at: str = ""
    """Socket at which the driver itself decides (:mod:`vla_bench.bench.policy_server.live`), for
    ``inference="server"``; empty: servers are started."""
    take: Take | None = None
    """Demonstrations are recorded this way (:mod:`vla_bench.bench.demonstrations`); None: episodes are judged."""


def job_to_plain(job: Job) -> dict[str, Any]:
    """The job as JSON's own types."""
    plain: dict[str, Any] = to_plain(job)
    return plain


def job_from_plain(plain: Mapping[str, Any]) -> Job:
    """The inverse of :func:`job_to_plain`; lists in options and arguments stay lists."""
    simulation = plain["simulation"]
    cameras = tuple(Camera(**camera) for camera in simulation["sensors"]["cameras"])
    return Job(
        **{
            **plain,
            "simulation": SimulationSpec(**{**simulation, "sensors": Sensors(cameras)}),
            "policy": PolicyChoice(**plain["policy"]),
            "packages": tuple(plain["packages"]),
            "trial": spec_from_plain(plain["trial"]) if plain["trial"] else None,
            "take": _take(plain["take"]) if plain["take"] else None,
        }
    )


def _take(plain: Mapping[str, Any]) -> Take:
    return Take(**{**plain, "disturbance": Disturbance(**plain["disturbance"])})
