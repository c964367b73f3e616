"""What is recorded and how, as frozen dataclasses: the command's words, and what a worker is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from vla_bench.bench.errors import ConfigError

Labels = Literal["achieved", "commanded"]
Kept = Literal["successes", "all"]
Arm = Literal["rest", "moved", "after_task", "varied"]
CAMERAS = ("static", "gripper")


@dataclass(frozen=True, slots=True)
class Disturbance:
    """How the executed actions differ from the policy's, which stay the labels of ``commanded``."""

    bursts: float = 0.0
    """Strength of pushes of some steps each, units of a relative action."""
    rate: float = 0.06
    """Chance of each step that one begins."""
    white: float = 0.0
    """Standard deviation of what is added to every action."""
    clean: float = 0.2
    """Share of the episodes that are left undisturbed."""


@dataclass(frozen=True, slots=True)
class Take:
    """What a worker is told of the recording it works for."""

    folder: str
    """Where it leaves one file an episode."""
    cameras: Mapping[str, int]
    """Pixels of a side, by camera."""
    chain: int = 1
    """Tasks in a row from one start; those after the first are drawn from what can begin there."""
    instructions: Mapping[str, str] = field(default_factory=dict)
    """Text of every task."""
    arm: Arm = "varied"
    kept: Kept = "successes"
    disturbance: Disturbance = field(default_factory=Disturbance)
    looks: int = 0
    """Tables set at random that are only looked at, after each episode."""


@dataclass(frozen=True, slots=True)
class RecordingConfig:
    """What ``data record`` records."""

    output: str = ""
    """Folder of the data set; the same command goes on with it, or finds it complete."""
    scenes: tuple[str, ...] = ("D",)
    """Scenes to record in, out of A,B,C,D."""
    tasks: tuple[str, ...] = ()
    """Tasks to begin with; empty or all means all 34."""
    count: int = 10
    """Demonstrations of each task in each scene; with chain, chains that begin with it."""
    chain: int = 1
    """Tasks in a row from one start; those after the first are drawn from what can begin there."""
    seed: int = 0
    """Draws the starts, the chains and the disturbances; never meets the task suite's seeds."""
    arm: Arm = "varied"
    """Where the arm starts: rest, moved at random, after_task (where another task left it), or varied: both."""
    keep: Kept = "successes"
    """successes: solved subtasks only, tried again until count is reached; all: whatever happened."""
    labels: Labels = "achieved"
    """achieved: the next state, as CALVIN has it; commanded: what the policy asked for."""
    static: int = 200
    """Pixels of a side of the static camera; 0 leaves it out."""
    gripper: int = 84
    """Pixels of a side of the gripper camera; 0 leaves it out."""
    bursts: float = 0.0
    """Strength of pushes off the way, in units of an action: 2 to 6 steps each, 0.7 is strong; 0 has none."""
    burst_rate: float = 0.06
    """Chance of each step that a push begins."""
    white: float = 0.0
    """Strength of noise on every action; the expert needs policy.tolerance above it, or stalls."""
    clean: float = 0.2
    """Share of the episodes that are left undisturbed."""
    looks: int = 0
    """Tables set at random that each episode also looks at, the arm where it was in some frame of the episode: two
    frames each, of no task, for train.scene_frames."""
    validation: float = 0.0
    """Share of the episodes that goes to validation/ instead of training/."""
    step_limit: int = 360
    """Control steps granted to each task."""
    tries: int = 3
    """With keep=successes: as many times count episodes are tried before a task is given up."""
    assets: Literal["builtin", "official"] = "builtin"
    """Asset bundle: the play tables shipped here, or the official ones."""
    renderer: Literal["auto", "tiny", "egl", "fast"] = "fast"
    """Renderer of the cameras."""
    result_set: str = ""
    """Folder of a run made with run.video=all: its executed actions are replayed instead of a policy."""

    def __post_init__(self) -> None:
        if not self.output:
            raise ConfigError("say where the data set goes: output=<folder>, e.g. output=demos/abc")
        for scene in self.scenes:
            if scene not in ("A", "B", "C", "D"):
                raise ConfigError(f"scenes: there is no scene {scene!r}; scenes are A, B, C, D")
        if not self.scenes or len(set(self.scenes)) < len(self.scenes):
            raise ConfigError("scenes: name at least one scene, each once")
        for name, least in (("count", 1), ("chain", 1), ("seed", 0), ("looks", 0), ("step_limit", 1), ("tries", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name}={getattr(self, name)}: must be at least {least}")
        if self.tries > 1000:
            raise ConfigError(f"tries={self.tries}: at most 1000")
        for name in CAMERAS:
            size = getattr(self, name)
            if size and not 16 <= size <= 1024:
                raise ConfigError(f"{name}={size}: pixels of a side, 16 to 1024, or 0 for no such images")
        if not self.static and not self.gripper:
            raise ConfigError("static=0 gripper=0: a data set without images; leave at least one camera in")
        for name in ("burst_rate", "clean"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}={getattr(self, name)}: a share between 0 and 1")
        if not 0 <= self.validation < 1:
            raise ConfigError(f"validation={self.validation}: a share from 0 to below 1")
        for name in ("bursts", "white"):
            if not 0 <= getattr(self, name) <= 2:
                raise ConfigError(f"{name}={getattr(self, name)}: 0 to 2 units of an action")

    @property
    def cameras(self) -> dict[str, int]:
        """Pixels of a side of the recorded cameras."""
        return {name: size for name in CAMERAS if (size := getattr(self, name))}

    @property
    def disturbance(self) -> Disturbance:
        """As a worker is told."""
        return Disturbance(self.bursts, self.burst_rate, self.white, self.clean)
