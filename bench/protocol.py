"""What is run and what counts: episodes, their records, and the hash of everything that may
change a number."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from vla_bench.bench.score import Score
from vla_bench.envs.simulation import EpisodeStart

NOT_REPEATABLE = (
    "not repeatable: after the same reset the policy answers the same observation differently. Draw from the seed "
    "that reset(instruction, seed) is given"
)
"""What is said of a policy that the trial before the first episode found to be so."""


@dataclass(frozen=True, slots=True)
class EpisodeSpec:
    """One episode: a state and the subtasks that are tried in a row, from wherever the last ended.

    A sequence has several subtasks, e.g. five; one trial of a single task has one.
    """

    index: int
    """Position within the protocol, from 0."""
    episode: str
    """Identifier, unique within the protocol, e.g. ``seq-0007``."""
    start: EpisodeStart
    subtasks: tuple[str, ...]
    instructions: tuple[str, ...]
    """One text per subtask."""
    step_limit: int
    """Control steps granted to each subtask."""
    judged: Literal["chain", "last"] = "chain"
    """``chain``: the episode ends at the first failure, and its length counts. ``last``: every subtask
    is run, whatever became of the one before, and the episode succeeds when the last one does."""
    cluster: str = ""
    """What it has in common with other episodes, e.g. the arm's start: episodes of one cluster are no independent
    tries, and intervals count them so (:mod:`vla_bench.bench.records.clusters`). Empty: a start of its own. Changes
    no number, so it is in no digest and no hash."""

    @property
    def digest(self) -> str:
        """First 8 hex digits of the SHA-256 of all of it, position aside, in canonical JSON: says whether
        two protocols mean the same by an episode's name."""
        plain = to_plain(self)
        del plain["index"], plain["cluster"]
        return hashlib.sha256(canonical_json(plain).encode()).hexdigest()[:8]

    def seed(self, run_seed: int, position: int) -> int:
        """Seed of one subtask: a function of the run's seed, the episode and the position only."""
        text = f"{run_seed}/{self.episode}/{position}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds of wall time by part, summed over decisions and steps."""

    physics: float = 0.0
    rendering: float = 0.0
    policy: float = 0.0
    reset: float = 0.0
    waiting: float = 0.0

    def __add__(self, other: Timings) -> Timings:
        return Timings(*(getattr(self, f.name) + getattr(other, f.name) for f in dataclasses.fields(self)))


@dataclass(frozen=True, slots=True)
class SubtaskRecord:
    """What became of one subtask."""

    position: int
    subtask: str
    instruction: str
    success: bool
    steps: int
    decisions: int
    digest: str
    """Digest of the simulator's exact state when the subtask ended."""
    ever: bool = False
    """Whether it was solved after any step (where the last one alone counts)."""
    flags: Mapping[str, float] = field(default_factory=dict)
    """Partial successes and measurements after its last step."""


@dataclass(frozen=True, slots=True)
class EpisodeError:
    """Why an episode could not be judged; an error is not a failure."""

    kind: Literal["crash", "hang", "exception", "policy"]
    message: str
    detail: str = ""
    """Traceback or the tail of the worker's log."""


@dataclass(frozen=True, slots=True)
class EpisodeRecord:
    """What became of one episode. Everything but ``worker``, ``attempt`` and ``timings`` is a
    function of the protocol, the policy and the run's seed."""

    index: int
    episode: str
    scene: str
    status: Literal["done", "error"]
    chain_length: int
    """Subtasks solved in a row from the first; judged by the last: 1 when that was solved, else 0."""
    subtasks: tuple[SubtaskRecord, ...]
    """The attempted ones: in a chain, the solved ones and, if any, the first failure."""
    error: EpisodeError | None = None
    worker: str = ""
    attempt: int = 1
    timings: Timings = field(default_factory=Timings)
    latency: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """How long each decision took, counted in steps of 2 % (:mod:`vla_bench.bench.latency`): ``decision``, as
    the worker waited for it, and ``model``, the model's part of it where the policy knows."""
    cluster: str = ""
    """The episode's."""

    def outcome(self) -> dict[str, Any]:
        """The part that must not depend on workers, order or retries, as plain data."""
        record: dict[str, Any] = to_plain(self)
        for name in ("worker", "attempt", "timings", "latency"):
            del record[name]
        return record


@dataclass(frozen=True, slots=True)
class EvaluationProtocol:
    """A named list of episodes and the facts that decide what a number made with it means."""

    name: str
    facts: Mapping[str, Any]
    """Everything that may change a number, as plain data (sequences, limits, instructions, asset
    bundle, renderer, action convention, executed chunk length, compatibility switches)."""
    episodes: tuple[EpisodeSpec, ...]
    score: Score
    """How the episodes make its number; has each of them once."""

    def __post_init__(self) -> None:
        scored, planned = set(self.score.names()), {episode.episode for episode in self.episodes}
        if scored != planned:
            raise ValueError(f"{self.name}: the score and the protocol differ in {sorted(scored ^ planned)[:3]}")

    @property
    def hash(self) -> str:
        """First 12 hex digits of the SHA-256 of name, facts, score and episodes in canonical JSON."""
        plain = {"name": self.name, "facts": to_plain(self.facts), "score": to_plain(self.score)}
        plain["episodes"] = [to_plain(episode) for episode in self.episodes]
        for episode in plain["episodes"]:
            del episode["cluster"]
        return hashlib.sha256(canonical_json(plain).encode()).hexdigest()[:12]


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces; floats by their shortest exact representation."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def to_plain(value: Any) -> Any:
    """Dataclasses, mappings and tuples as dictionaries and lists of JSON's own types."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return value


def spec_from_plain(plain: Mapping[str, Any]) -> EpisodeSpec:
    """The inverse of :func:`to_plain` for an episode."""
    start = plain["start"]
    return EpisodeSpec(
        index=plain["index"],
        episode=plain["episode"],
        start=EpisodeStart(start["scene"], {k: tuple(v) for k, v in start["state"].items()}, start["task"]),
        subtasks=tuple(plain["subtasks"]),
        instructions=tuple(plain["instructions"]),
        step_limit=plain["step_limit"],
        judged=plain["judged"],
        cluster=plain.get("cluster", ""),
    )


def record_from_plain(plain: Mapping[str, Any]) -> EpisodeRecord:
    """The inverse of :func:`to_plain` for a record."""
    error = plain.get("error")
    return EpisodeRecord(
        **{
            **plain,
            "subtasks": tuple(SubtaskRecord(**subtask) for subtask in plain["subtasks"]),
            "error": EpisodeError(**error) if error else None,
            "timings": Timings(**plain["timings"]),
        }
    )
