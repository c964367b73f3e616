"""How and where a run is run: the one dataclass that goes as it is from the command line to the workers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from vla_bench.bench.errors import ConfigError, at_least

LONGEST_DEADLINE = 1e6
"""Seconds; nobody waits for longer."""


@dataclass(frozen=True, slots=True)
class RunConfig:
    """How and where it is run. Only ``seed`` can change a number; the rest may change between tries."""

    seed: int = 0
    """Seed of the run; stochastic policies draw from it, per episode and subtask."""
    name: str | None = None
    """Name of the run's folder; null makes one from benchmark, policy and seed."""
    results: str = "results"
    """Folder under which the run's folder is made, relative to where you are."""
    overwrite: bool = False
    """Start afresh, discarding what the run's folder holds."""
    extend: bool = False
    """Add sequences, rollouts, tasks or scenes to the result set in run.name, which is a part of this run."""
    same_policy: bool = False
    """Go on although the policy's code or files have changed since; every table says so."""
    only: tuple[str, ...] = ()
    """Run these episodes alone, e.g. seq-0007, seq-0000..seq-0499 or 0..499; all: whatever is missing."""
    workers: int | None = None
    """Simulations at once; null takes one per core of this machine."""
    backend: Literal["ray", "local", "inline"] = "ray"
    """ray: actors, on one machine or many; local: plain processes, starts faster; inline: here, for breakpoints."""
    address: str | None = None
    """Ray cluster to join, e.g. auto or ray://head:10001; null starts Ray here."""
    show_output: bool = False
    """Show what the policy and its workers print; it is kept in the run's folder, in logs/, anyway."""
    max_attempts: int = 3
    """Tries of an episode that crashes or hangs before it is reported as an error."""
    max_error_rate: float = 0.02
    """Share of episodes that may end in an error before the run is given up (exit code 2)."""
    step_deadline: float | None = None
    """Seconds without a control step before a worker is taken for hung; null learns it from the first."""
    decision_deadline: float | None = None
    """Seconds for one decision of the policy; null learns it from the first."""
    start_deadline: float = 300.0
    """Seconds to build the simulation and the policy."""
    inference: Literal["auto", "child", "server"] = "auto"
    """child: each worker has a policy; server: one for a machine's workers; auto: child where it can work."""
    servers: int = 1
    """Policy servers of each machine; with several, each has one of its GPUs."""
    gpu_share: float = 0.0
    """Share of a GPU that each worker reserves with Ray, e.g. 0.1 for ten to a GPU; 0 reserves none."""
    stop_width: float | None = None
    """End early when the 95 % interval of the average chain length is no wider than this; null never does."""
    tracking: Literal["none", "tensorboard", "wandb"] = "none"
    """Experiment tracker that gets the summary too."""
    video: str = "none"
    """Clips of the episodes, made after the run: none, failures, all or first_<n>, e.g. first_20."""
    trace: Literal["none", "states"] = "none"
    """states: robot, scene, action and contacts at every step, a parquet file per episode in states/."""
    vectors: tuple[str, ...] = ("none",)
    """Where the policy is listened to while it decides: head, layers or its modules; vectors extract takes from it."""
    recycle_mb: int = 0
    """Resident megabytes above which a worker is replaced between episodes; 0 means never."""

    @property
    def listened(self) -> tuple[str, ...]:
        """Places of ``vectors``; none where the policy is not listened to."""
        return () if self.vectors == ("none",) else self.vectors

    def __post_init__(self) -> None:
        if self.workers is not None:
            at_least("run.workers", self.workers, 1)
        at_least("run.seed", self.seed, 0)
        at_least("run.max_attempts", self.max_attempts, 1)
        at_least("run.recycle_mb", self.recycle_mb, 0)
        at_least("run.servers", self.servers, 1)
        if self.stop_width is not None and not self.stop_width > 0:
            raise ConfigError(f"run.stop_width: a number of subtasks above 0, got {self.stop_width}")
        if not re.fullmatch(r"none|failures|all|first_[1-9][0-9]{0,6}", self.video):
            raise ConfigError(f"run.video: none, failures, all or first_<n>, e.g. first_20; got {self.video!r}")
        if not self.vectors or ("none" in self.vectors and len(self.vectors) > 1):
            raise ConfigError("run.vectors: none, or places: head, layers, or modules of your policy by name")
        if self.listened and self.inference == "server":
            raise ConfigError(
                "run.vectors listens to a policy in the workers' own processes; type run.inference=child, or drop it"
            )
        if self.servers > 1 and self.inference != "server":
            raise ConfigError("run.servers counts policy servers; type run.inference=server as well")
        if not (0 <= self.gpu_share <= 1 or (self.gpu_share > 0 and self.gpu_share.is_integer())):
            raise ConfigError(f"run.gpu_share: a share of 1, or a number of whole GPUs, got {self.gpu_share}")
        if self.backend == "inline" and ((self.workers or 1) > 1 or self.inference == "server"):
            raise ConfigError("run.backend=inline has one worker and its policy, in this process; drop the rest")
        if self.gpu_share and self.backend != "ray":
            raise ConfigError("run.gpu_share is reserved with Ray; drop it, or type run.backend=ray")
        if self.gpu_share and self.servers > 1:
            raise ConfigError("with run.gpu_share every GPU has a policy server of its own; drop run.servers")
        for name in ("step_deadline", "decision_deadline", "start_deadline"):
            seconds = getattr(self, name)
            if seconds is not None and not 0 < seconds <= LONGEST_DEADLINE:
                raise ConfigError(
                    f"run.{name}: must be more than 0 seconds and at most {LONGEST_DEADLINE:g}, got {seconds}"
                )
        if not 0 <= self.max_error_rate <= 1:
            raise ConfigError(f"run.max_error_rate: a share between 0 and 1, got {self.max_error_rate}")
        if self.extend and self.overwrite:
            raise ConfigError("run.extend keeps what run.overwrite discards; drop one of them")
        if self.extend and self.name is None:
            raise ConfigError("run.extend adds to a result set that is there; say which: run.name=<folder>")
        if self.address is not None and self.backend != "ray":
            raise ConfigError("run.address names a Ray cluster; drop it, or type run.backend=ray")
        if self.address is not None and self.workers is None:
            raise ConfigError("run.address joins a cluster; say how many simulations it shall run: run.workers=<n>")
        if self.name is not None and not _is_folder_name(self.name):
            raise ConfigError(f"run.name={self.name!r}: a plain folder name; run.results= says where it is made")


def _is_folder_name(name: str) -> bool:
    """Whether a file system takes it as one name, and it stays where it is put."""
    plain = name.isprintable() and "/" not in name and not name.startswith(".")
    return bool(name) and plain and len(name.encode()) <= 200
