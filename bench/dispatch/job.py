"""What a worker is told before its first episode: plain data, the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from vla_bench.bench.episode.rollout import Meter
from vla_bench.bench.protocol import EpisodeRecord, EpisodeSpec, spec_from_plain, to_plain
from vla_bench.bench.setup.run_config import RunConfig
from vla_bench.envs.observation import Camera, Sensors
from vla_bench.envs.simulation import SimulationSpec
from vla_bench.policies.base import Policy
from vla_bench.policies.choice import PolicyChoice

Placement = Literal["child", "server"]
"""Where decisions are made: in the child process that owns the simulation, or in one process for all
workers of a machine."""


class RecordEpisode(Protocol):
    """Runs an episode in place of :func:`vla_bench.bench.episode.rollout.run_episode`, and keeps what was seen."""

    def __call__(
        self,
        simulation: Any,
        policy: Policy,
        episode: EpisodeSpec,
        told: Mapping[str, Any],
        /,
        *,
        seed: int,
        meter: Meter,
    ) -> EpisodeRecord:
        """``told``: :attr:`Recording.told`; the rest as for an episode that is judged."""
        ...


@dataclass(frozen=True, slots=True)
class Recording:
    """How a family records demonstrations on a worker."""

    function: str
    """``module:name`` of a :class:`RecordEpisode`."""
    told: Mapping[str, Any]
    """What it is told of the recording; plain data."""


@dataclass(frozen=True, slots=True)
class Job:
    """Everything a worker needs, the episodes aside."""

    simulation: SimulationSpec
    """Sensors and action convention filled in from the policy's spec."""
    policy: PolicyChoice
    run: RunConfig = field(default_factory=RunConfig)
    """As it was typed; a worker reads its seed, deadlines, servers, video, vectors and recycle_mb."""
    trial: EpisodeSpec | None = None
    """Tried out for one step before a first episode (:mod:`vla_bench.bench.episode.preflight`); None: no trial."""
    inference: Placement = "child"
    """Where decisions are made: what ``run.inference`` came to."""
    policy_python: str = ""
    """Interpreter of the policy servers; empty: the driver's."""
    run_key: str = ""
    """What the policy servers of this run are known by; empty: a name that no other run has."""
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
    recording: Recording | None = None
    """Demonstrations are recorded this way; None: episodes are judged."""
    asked_at: str = ""
    """By which the process that has built the policy already is claimed (:mod:`vla_bench.policies.kept`)."""
    served_at: str = ""
    """Socket at which the driver itself decides (:mod:`vla_bench.bench.policy_server.live`), for
    ``inference="server"``; empty: servers are started."""


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
            "run": RunConfig(**{**plain["run"], **{name: tuple(plain["run"][name]) for name in ("only", "vectors")}}),
            "packages": tuple(plain["packages"]),
            "trial": spec_from_plain(plain["trial"]) if plain["trial"] else None,
            "recording": Recording(**plain["recording"]) if plain["recording"] else None,
        }
    )
