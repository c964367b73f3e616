"""What can be known of a recording before a worker exists: its episodes, its simulation, its identity."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vla_bench.bench.dispatch import PolicyChoice
from vla_bench.bench.dispatch.job import Placement
from vla_bench.bench.errors import ConfigError, ProtocolMismatch, ResultSetError, suggestion
from vla_bench.bench.families.calvin_demonstrations.options import RecordingConfig, Take
from vla_bench.bench.families.calvin_demonstrations.take import sized_sensors
from vla_bench.bench.protocol import EpisodeRecord, EpisodeSpec, canonical_json, to_plain
from vla_bench.bench.records.provenance import now
from vla_bench.bench.setup.config import PolicyConfig, RunConfig
from vla_bench.bench.video.trace import TRACES, Trace
from vla_bench.envs.calvin.bundle import find_bundle
from vla_bench.envs.calvin.renderers import resolve_renderer
from vla_bench.envs.calvin.tasks import TASKS
from vla_bench.envs.simulation import EpisodeStart, SimulationSpec, environment_spec
from vla_bench.policies.registry import describe_policy

PLAYER = "vla_bench.bench.families.calvin_demonstrations.player:TracePlayer"
MOST_TRIES = 1000
"""``tries`` is at most this."""
COMMANDED = ("relative", "absolute")
"""Conventions from which both kinds of commanded actions can be told."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A recording that could start."""

    config: RecordingConfig
    choice: PolicyChoice
    policy: str
    """Name of the policy."""
    simulation: SimulationSpec
    inference: Placement
    facts: Mapping[str, Any]
    """What decides what is recorded, as plain data."""
    instructions: Mapping[str, str]
    traces: tuple[Trace, ...] = ()
    """What is replayed, if anything."""
    _digests: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def cells(self) -> list[tuple[str, str]]:
        """Scenes and the tasks to begin with."""
        tasks = self.config.tasks or tuple(TASKS)
        return [(scene, task) for scene in self.config.scenes for task in tasks]

    @property
    def wanted(self) -> int:
        """Episodes of each cell that are to be kept."""
        return 0 if self.traces else self.config.count

    @property
    def splits(self) -> tuple[str, ...]:
        """Folders of the data set."""
        return ("training", "validation") if self.config.validation else ("training",)

    @property
    def provenance(self) -> dict[str, Any]:
        """What is written into the data set: how it came to be."""
        return {"recorded_by": "vla_bench data record", **self.facts}

    def header(self, folder: Path) -> dict[str, Any]:
        """Line 1 of the journal, in the form of an evaluation's."""
        config, longest = self.config, self.config.chain
        if self.traces:
            longest = max(len(trace.episode.subtasks) for trace in self.traces)
        facts = {"family": "calvin", "kind": "chains" if longest > 1 else "tasks", **self.facts}
        name = "demonstrations"  # whose episodes are not known beforehand
        plain = {"name": name, "facts": to_plain(facts), "episodes": []}
        digest = hashlib.sha256(canonical_json(plain).encode()).hexdigest()[:12]
        return {
            "created": now(),
            "name": folder.name,
            "benchmark": "demonstrations",
            "policy": self.policy,
            "identity": {"split": "none", "protocol": digest, **self.facts},
            "protocol": {"name": name, "hash": digest, "facts": facts},
            "episodes": len(self.traces) or len(self.cells) * config.count * MOST_TRIES,
            "longest": longest,
            "tasks": list(TASKS),
            "scenes": list(config.scenes),
            "notes": [],
        }

    def take(self, folder: str) -> Take:
        """What a worker is told."""
        config = self.config
        return Take(
            folder,
            config.cameras,
            config.chain,
            dict(self.instructions),
            config.arm,
            config.keep,
            config.disturbance,
            config.looks,
        )

    def split_of(self, episode: EpisodeSpec) -> str:
        """Folder an episode goes to: evenly spread, and known before it is run."""
        share, number = self.config.validation, int(episode.episode.rsplit("-", 1)[1])
        return "validation" if math.floor((number + 1) * share) > math.floor(number * share) else "training"

    def by_cell(self, episodes: Sequence[EpisodeSpec]) -> dict[str, list[EpisodeSpec]]:
        """Episodes by scene and first task."""
        cells: dict[str, list[EpisodeSpec]] = {}
        for episode in episodes:
            cells.setdefault(f"{episode.start.scene} {episode.subtasks[0]}", []).append(episode)
        return cells

    def check_worker(self, worker: str, info: Mapping[str, Any]) -> None:
        """ProtocolMismatch: a worker's renderer or assets are not those of this recording."""
        for name in ("renderer", "assets_checksum"):
            if name in info and info[name] != self.facts[name]:
                raise ProtocolMismatch(
                    f"{worker} on {info.get('host')} has {name} {info[name]!r}, the recording has {self.facts[name]!r}"
                )

    def check_replay(self, record: EpisodeRecord) -> None:
        """ResultSetError: the replay did not come to the states that the run had come to."""
        recorded = self._digests.get(record.episode)
        if recorded is not None and recorded != tuple(subtask.digest for subtask in record.subtasks):
            raise ResultSetError(
                f"the replay of {record.episode} came to another state than the run had recorded: "
                "its assets or its simulator are not what they were"
            )


def prepare(config: RecordingConfig, policy: PolicyConfig, run: RunConfig) -> Planned:
    """Plans the recording; touches nothing.

    Raises:
        UserError: the policy, the assets or what was typed cannot be used.
    """
    environment = environment_spec("calvin")
    traces = _traces(config) if config.result_set else ()
    choice = PolicyChoice(policy.target, policy.arguments)
    if traces:
        choice = PolicyChoice(PLAYER, {"folder": str(_trace_folder(config).absolute()), "action": traces[0].action})
    spec = describe_policy(choice, environment)
    for name in config.tasks:
        if name not in TASKS:
            raise ConfigError(f"tasks: CALVIN has no task {name!r}.{suggestion(name, TASKS)} Tasks: {', '.join(TASKS)}")
    disturbed = config.bursts or config.white
    if disturbed and spec.action.name != "relative":
        raise ConfigError(f"bursts and white disturb relative actions; {spec.name} gives {spec.action.name} ones")
    if disturbed and traces:
        raise ConfigError("a replay is not disturbed: leave bursts and white out")
    if config.looks and spec.action.name != "relative":
        raise ConfigError(f"looks=: needs a policy of relative actions; {spec.name} gives {spec.action.name} ones")
    if config.looks and traces:
        raise ConfigError("looks=: a replay looks at nothing else; leave it out")
    if config.labels == "commanded" and spec.action.name not in COMMANDED:
        raise ConfigError(
            f"labels=commanded needs relative or absolute actions; {spec.name} gives {spec.action.name} ones"
        )
    if run.inference == "server" and spec.privileged:
        raise ConfigError(f"policy={policy.target} is shown the simulator's state: leave run.inference=server out")
    try:
        sensors = sized_sensors(spec.sensors, config.cameras)
    except ValueError as error:
        raise ConfigError(
            f"{spec.name} looks through the {error} camera in another size than is recorded; give {error}=<its pixels>"
        ) from None
    bundle = find_bundle(traces[0].options.get("assets", "builtin") if traces else config.assets)
    renderer = resolve_renderer(config.renderer)
    options = {**(traces[0].options if traces else {}), "assets": bundle.name, "renderer": renderer}
    facts = {
        **{
            name: value
            for name, value in to_plain(config).items()
            if name not in ("output", "tries", "renderer", "assets") and (name, value) != ("looks", 0)
        },
        "policy": choice.target if not traces else "replay",
        "arguments": to_plain(policy.arguments) if not traces else {},
        "assets": bundle.name,
        "assets_checksum": bundle.checksum,
        "renderer": renderer,
    }
    if spec.files:
        facts["files"] = dict(spec.files)
    digests = {trace.episode.episode: tuple(result["digest"] for result in trace.results) for trace in traces}
    return Planned(
        config=config,
        choice=choice,
        policy=spec.name,
        simulation=SimulationSpec("calvin", options, sensors, spec.action.name),
        inference="server" if run.inference == "server" else "child",
        facts=facts,
        instructions=dict(bundle.instructions),
        traces=traces,
        _digests=digests,
    )


def episodes_after(
    planned: Planned, before: Sequence[EpisodeSpec], done: Mapping[int, EpisodeRecord]
) -> list[EpisodeSpec]:
    """The next episodes to run: first all that are wanted, then as many as have failed, while tries are left.

    A function of what came of the episodes before, in whatever order they were run.
    """
    if planned.traces:
        return (
            []
            if before
            else [dataclasses.replace(trace.episode, index=index) for index, trace in enumerate(planned.traces)]
        )
    config = planned.config
    tried = planned.by_cell(before)
    wave: list[EpisodeSpec] = []
    for scene, task in planned.cells:
        episodes = tried.get(f"{scene} {task}", [])
        if config.keep == "all":
            lacking = config.count if not episodes else 0
        else:
            good = sum(done[each.index].chain_length > 0 for each in episodes if each.index in done)
            lacking = min(config.count - good, config.count * config.tries - len(episodes))
        for number in range(len(episodes), len(episodes) + lacking):
            wave.append(
                EpisodeSpec(
                    index=len(before) + len(wave),
                    episode=f"{scene}-{task}-{number:05d}",
                    start=EpisodeStart(scene),
                    subtasks=(task,),
                    instructions=(planned.instructions[task],),
                    step_limit=config.step_limit,
                )
            )
    return wave


def _trace_folder(config: RecordingConfig) -> Path:
    return Path(config.result_set).expanduser() / TRACES


def _traces(config: RecordingConfig) -> tuple[Trace, ...]:
    folder = _trace_folder(config)
    if not Path(config.result_set).expanduser().is_dir():
        raise ResultSetError(f"there is no result set {config.result_set}")
    if config.tasks or config.chain > 1:
        raise ConfigError("a result set is replayed as it is: leave tasks and chain out")
    traces = [Trace.read(path) for path in sorted(folder.glob("*.npz"))]
    if not traces:
        raise ResultSetError(
            f"{config.result_set} holds no executed actions ({TRACES}/): run it with run.video=all to keep them"
        )
    first = traces[0]
    if first.family != "calvin":
        raise ConfigError(f"{config.result_set} is of {first.family}; data sets are recorded in CALVIN")
    return tuple(sorted(traces, key=lambda trace: trace.episode.index))
