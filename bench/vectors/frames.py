"""Where frames come from: a data set, or what a result set met, made again from the actions that it executed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from vla_bench.bench.errors import ConfigError, ResultSetError
from vla_bench.bench.vectors.sampling import Episode, Sample
from vla_bench.envs.observation import Observation, Sensors

if TYPE_CHECKING:
    from vla_bench.bench.video.trace import Trace


@dataclass(frozen=True, slots=True)
class Seen:
    """One sample with what a policy is shown: the frames it remembers, oldest first, and the sample's own."""

    sample: Sample
    history: tuple[Observation, ...]
    arm: Mapping[str, float] = field(default_factory=dict)
    """``gripper`` (1 open), ``x``, ``y`` and ``z`` of the tool in metres, as far as the family says them."""
    picture: np.ndarray | None = None
    """(H, W, 3) uint8, for people."""
    faithful: bool = True
    """Whether the replay so far ended where the run did."""


class Listed(Protocol):
    """Episodes, of whose frames a plan chooses."""

    kind: str
    name: str
    digest: str

    def episodes(self, *, path: bool) -> list[Episode]:
        """All of them; ``path`` only when asked for, since it takes reading."""
        ...


class Source(Listed, Protocol):
    """Episodes and their frames."""

    def check(self, sensors: Sensors) -> None:
        """ConfigError: a camera that is asked for is not there."""
        ...

    def seen(self, samples: Sequence[Sample], sensors: Sensors, history: int, stride: int) -> Iterator[Seen]:
        """The samples in their order, each with up to ``history`` frames ``stride`` steps apart."""
        ...


class ResultSource:
    """What a result set's policy met, from the actions in its traces (``run.video=all``)."""

    kind = "episodes"

    def __init__(self, folder: Path) -> None:
        from vla_bench.bench.video.trace import TRACES, Trace

        self.name = str(folder)
        if not folder.is_dir():
            raise ResultSetError(f"there is no result set {folder}")
        paths = sorted((folder / TRACES).glob("*.npz"))
        if not paths:
            raise ResultSetError(
                f"{folder} has kept no executed actions to make its frames of again; run it with run.video=all"
            )
        self._paths: dict[str, Path] = {}
        self.python = ""
        self._found: list[tuple[Episode, str, int]] = []
        for path in paths:
            trace = Trace.read(path)
            self._paths[trace.episode.episode] = path
            self.family, self.options, self.python = trace.family, trace.options, trace.python
            for position, (actions, result) in enumerate(zip(trace.actions, trace.results, strict=True)):
                if len(actions):
                    self._found.append(
                        (_subtask(trace, position, len(actions), result), trace.episode.episode, position)
                    )
        self._of = {episode.name: (name, position) for episode, name, position in self._found}
        self.digest = _digest(paths)
        if not self._found:
            raise ResultSetError(f"{folder} has executed nothing, so that there are no frames to look at")

    def episodes(self, *, path: bool) -> list[Episode]:
        if path:
            raise ConfigError("--stratify path: is told from a data set's states; frames of --episodes have no path")
        return [episode for episode, *_ in self._found]

    def check(self, sensors: Sensors) -> None:
        """All is rendered that the simulation can render, under this interpreter."""
        if self.python:
            raise ConfigError(
                f"{self.name} was run by another interpreter, {self.python}; its frames can be made again by that one "
                "alone: run vectors extract with it"
            )

    def seen(self, samples: Sequence[Sample], sensors: Sensors, history: int, stride: int) -> Iterator[Seen]:
        from vla_bench.bench.families import find_family
        from vla_bench.bench.video.trace import Trace
        from vla_bench.envs.simulation import SimulationSpec, environment_spec, make_simulation

        wanted: dict[str, dict[int, list[Sample]]] = {}
        for sample in samples:
            name, position = self._of[sample.episode.name]
            wanted.setdefault(name, {}).setdefault(position, []).append(sample)
        simulation, kind = None, ""
        arm = find_family(self.family).arm
        if not sensors.cameras:  # people want to see what a policy without eyes did
            sensors = Sensors.of(*list(environment_spec(self.family, self.options).cameras)[:1])
        try:
            for name, places in wanted.items():
                trace = Trace.read(self._paths[name])
                if simulation is None or kind != repr((trace.family, trace.options, trace.action)):
                    if simulation is not None:
                        simulation.close()
                    simulation = make_simulation(SimulationSpec(trace.family, trace.options, sensors, trace.action))
                    kind = repr((trace.family, trace.options, trace.action))
                yield from _replayed(simulation, trace, places, history, stride, arm)
        finally:
            if simulation is not None:
                simulation.close()


def _subtask(trace: Trace, position: int, steps: int, result: Mapping[str, Any]) -> Episode:
    episode = trace.episode
    scene = str(getattr(episode.start, "scene", None) or trace.options.get("scene") or "?")
    name = f"{episode.episode}/{position}"
    task, words = episode.subtasks[position], episode.instructions[position]
    return Episode(name, 0, steps, task, words, scene, success=bool(result["success"]))


def _replayed(
    simulation: Any,
    trace: Trace,
    places: Mapping[int, Sequence[Sample]],
    history: int,
    stride: int,
    arm: Callable[[Observation], Mapping[str, float]],
) -> Iterator[Seen]:
    faithful = True
    simulation.reset(trace.episode.start)
    for position, actions in enumerate(trace.actions[: max(places) + 1]):
        simulation.begin(trace.episode.subtasks[position])
        samples = {sample.frame: sample for sample in places.get(position, ())}
        needed = {frame - stride * back for frame in samples for back in range(history)}
        kept: dict[int, Observation] = {}
        for step, action in enumerate(actions):
            if step in needed:
                kept[step] = simulation.observe()
                kept = {at: seen for at, seen in kept.items() if at > step - stride * history}
            if step in samples:
                shown = [kept[at] for at in sorted(kept) if (step - at) % stride == 0]
                picture = next((image for name, image in shown[-1].items() if name.startswith("rgb_")), None)
                yield Seen(samples[step], tuple(shown[-history:]), arm(shown[-1]), picture, faithful)
            simulation.advance(action[None])
        faithful = faithful and simulation.privileged().digest() == trace.results[position]["digest"]


def _digest(paths: Sequence[Path]) -> str:
    import hashlib

    content = hashlib.sha256()
    for path in paths:
        content.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return content.hexdigest()[:16]
