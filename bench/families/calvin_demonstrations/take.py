"""One recorded episode, as a function of a simulation, a policy and an episode, and the file it becomes."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vla_bench.bench.episode.actions import Actions, chunks_of
from vla_bench.bench.episode.rollout import SLOT, Meter, Phase
from vla_bench.bench.errors import ResultSetError
from vla_bench.bench.families.calvin_demonstrations.disturbance import Disturber
from vla_bench.bench.families.calvin_demonstrations.feasible import feasible_tasks, kind_of
from vla_bench.bench.families.calvin_demonstrations.looks import look_around
from vla_bench.bench.families.calvin_demonstrations.options import Disturbance, Take
from vla_bench.bench.families.calvin_demonstrations.starts import recorded_start
from vla_bench.bench.protocol import EpisodeRecord, EpisodeSpec, SubtaskRecord, Timings
from vla_bench.bench.video.trace import file_name
from vla_bench.envs.action_spec import ActionSpec
from vla_bench.envs.calvin.robot import POSITION_UNIT, ROTATION_UNIT
from vla_bench.envs.calvin.simulation import CalvinSimulation
from vla_bench.envs.observation import Observation
from vla_bench.policies.base import Policy, SubtaskContext

START, CHAIN, DISTURB, LOOK = -1, -2, -3, -4
"""Places from which an episode's seeds for other things than its subtasks are derived."""
LOOKED = "look_"
"""Beginning of the names of what was only looked at, in an episode's file."""


@dataclass(slots=True)
class Frames:
    """What is seen and done, step by step: n + 1 states and the n steps between them."""

    cameras: tuple[str, ...]
    robot_obs: list[np.ndarray] = field(default_factory=list)
    scene_obs: list[np.ndarray] = field(default_factory=list)
    images: dict[str, list[np.ndarray]] = field(default_factory=dict)
    commanded: list[np.ndarray] = field(default_factory=list)
    """Relative, as the policy asked."""
    targets: list[np.ndarray] = field(default_factory=list)
    """The same as absolute poses."""
    pushed: list[bool] = field(default_factory=list)

    def see(self, observation: Observation) -> None:
        """Takes the state after the steps so far."""
        self.robot_obs.append(np.array(observation["robot_obs"]))
        self.scene_obs.append(np.array(observation["scene_obs"]))
        for camera in self.cameras:
            self.images.setdefault(f"rgb_{camera}", []).append(np.array(observation[f"rgb_{camera}"]))

    def of_one_step(self, before: Observation, action: np.ndarray, target: np.ndarray, after: Observation) -> Frames:
        """Two states and the step between them."""
        self.see(before)
        self.commanded.append(action)
        self.targets.append(target)
        self.pushed.append(False)
        self.see(after)
        return self

    @property
    def steps(self) -> int:
        """Steps so far."""
        return len(self.pushed)

    def arrays(self, steps: int) -> dict[str, np.ndarray]:
        """The first so many steps and the states around them."""
        arrays = {name: np.array(getattr(self, name)[: steps + 1]) for name in ("robot_obs", "scene_obs")}
        arrays |= {name: np.array(images[: steps + 1]) for name, images in self.images.items()}
        return arrays | {name: np.array(getattr(self, name)[:steps]) for name in ("commanded", "targets", "pushed")}


class _Parts:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._last = clock, clock()
        self.seconds = {"reset": 0.0, "physics": 0.0, "rendering": 0.0, "policy": 0.0}

    def lap(self, part: str) -> None:
        now = self._clock()
        self.seconds[part] += now - self._last
        self._last = now


def record_episode(
    simulation: CalvinSimulation,
    policy: Policy,
    episode: EpisodeSpec,
    take: Take,
    *,
    seed: int,
    meter: Meter,
    clock: Callable[[], float] = time.perf_counter,
) -> EpisodeRecord:
    """Runs an episode, looking on at every step, and leaves its file in ``take.folder``.

    The start is drawn if the episode has none; so are the tasks after the first, up to ``take.chain``. What is
    recorded is a function of the episode, ``seed`` and the policy. Nothing is left of an episode without a
    success, unless all are kept.
    """
    parts = _Parts(clock)
    meter.enter(Phase.SIMULATE)
    start = episode.start
    if not start.state:
        start = recorded_start(simulation, start.scene, episode.subtasks[0], episode.seed(seed, START), take.arm)
    simulation.reset(start)
    parts.lap("reset")
    disturber = Disturber(take.disturbance, np.random.default_rng(episode.seed(seed, DISTURB)))
    chain = np.random.default_rng(episode.seed(seed, CHAIN))
    drawn = take.chain > 1
    frames = Frames(tuple(take.cameras))
    frames.see(simulation.observe())
    parts.lap("rendering")
    records: list[SubtaskRecord] = []
    spans: list[tuple[int, int]] = []
    for position in range(take.chain if drawn else len(episode.subtasks)):
        if position < len(episode.subtasks):
            task, text = episode.subtasks[position], episode.instructions[position]
        else:
            task = draw_next(simulation, chain)
            text = take.instructions[task]
        first = frames.steps
        record = _run(simulation, policy, episode, position, (task, text), seed, frames, disturber, meter, parts)
        records.append(record)
        spans.append((first, frames.steps))
        if not record.success and episode.judged == "chain":
            break
    looks: list[Frames] = []
    if take.looks and _kept(take, records, spans):
        generator = np.random.default_rng(episode.seed(seed, LOOK))
        for look in look_around(simulation, episode.start.scene, frames.robot_obs, take.looks, generator):
            looks.append(Frames(tuple(take.cameras)).of_one_step(*look))
            meter.stepped(1)
        parts.lap("rendering")
    _write(take, episode, frames, records, spans, looks)
    return EpisodeRecord(
        index=episode.index,
        episode=episode.episode,
        scene=episode.start.scene,
        cluster=episode.cluster,
        status="done",
        chain_length=sum(record.success for record in records),
        subtasks=tuple(records),
        timings=Timings(**parts.seconds),
    )


def record_as_told(
    simulation: CalvinSimulation,
    policy: Policy,
    episode: EpisodeSpec,
    told: Mapping[str, Any],
    /,
    *,
    seed: int,
    meter: Meter,
) -> EpisodeRecord:
    """:func:`record_episode` from a :class:`Take` as plain data."""
    take = Take(**{**told, "disturbance": Disturbance(**told["disturbance"])})
    return record_episode(simulation, policy, episode, take, seed=seed, meter=meter)


def draw_next(simulation: CalvinSimulation, generator: np.random.Generator) -> str:
    """A task that can begin now; every kind of task is as likely, then every task of the kind."""
    tasks = sorted(feasible_tasks(simulation.privileged()))
    kinds = sorted({kind_of(task) for task in tasks})
    kind = kinds[generator.integers(len(kinds))]
    chosen = [task for task in tasks if kind_of(task) == kind]
    return chosen[generator.integers(len(chosen))]


def _run(
    simulation: CalvinSimulation,
    policy: Policy,
    episode: EpisodeSpec,
    position: int,
    words: tuple[str, str],
    seed: int,
    frames: Frames,
    disturber: Disturber,
    meter: Meter,
    parts: _Parts,
) -> SubtaskRecord:
    task, instruction = words
    actions, lap, enter = Actions(policy.spec), parts.lap, meter.enter
    see = getattr(policy, "see", None) if policy.spec.privileged else None
    first, convention = frames.steps, policy.spec.action
    enter(Phase.DECIDE)
    policy.reset(SLOT, instruction, SubtaskContext(episode.episode, position, episode.seed(seed, position)))
    lap("policy")
    enter(Phase.SIMULATE)
    simulation.begin(task)
    observation = simulation.observe()
    decisions, success = 0, False
    while frames.steps - first < episode.step_limit and not success:
        enter(Phase.DECIDE)
        if see is not None:
            see(SLOT, simulation.privileged())
        (chunk,) = chunks_of(policy.act((SLOT,), (observation,)), 1, policy.spec.name)
        wanted = actions.executed(chunk, episode.step_limit - (frames.steps - first))
        decisions += 1
        lap("policy")
        enter(Phase.SIMULATE)
        for action in wanted:
            executed, pushed = disturber.disturbed(action)
            relative, target = commanded(action, convention, simulation)
            success = bool(simulation.advance(executed[None]).success)
            frames.commanded.append(relative)
            frames.targets.append(target)
            frames.pushed.append(pushed)
            lap("physics")
            meter.stepped(1)
            observation = simulation.observe()
            frames.see(observation)
            lap("rendering")
            if success:
                break
    return SubtaskRecord(
        position=position,
        subtask=task,
        instruction=instruction,
        success=success,
        steps=frames.steps - first,
        decisions=decisions,
        digest=simulation.privileged().digest(),
        ever=success,
    )


def commanded(
    action: np.ndarray, convention: ActionSpec, simulation: CalvinSimulation
) -> tuple[np.ndarray, np.ndarray]:
    """What an action about to be executed asks for: relative (7,), and as an absolute pose (7,), float64.

    Nothing but NaN for conventions of joints and quaternions.
    """
    robot = simulation.world.robot
    wide = np.asarray(action, np.float64)
    if convention.name == "relative":
        target = np.concatenate(
            (
                robot.target_position + wide[:3] * POSITION_UNIT,
                robot.target_euler + wide[3:6] * ROTATION_UNIT,
                wide[6:],
            )
        )
        return wide.copy(), target
    if convention.name == "absolute":
        from vla_bench.envs.calvin.dataset.labels import relative_actions

        return relative_actions(wide[None], robot.observation()[None])[0], wide.copy()
    return np.full(7, np.nan), np.full(7, np.nan)


# The file -----------------------------------------------------------------------------------------


def path_of(folder: str | Path, episode: str) -> Path:
    """Where an episode's file is."""
    return Path(folder) / f"{file_name(episode)}.npz"


def _kept(take: Take, records: list[SubtaskRecord], spans: list[tuple[int, int]]) -> list[dict[str, Any]]:
    return [
        {
            "start": start,
            "end": end,
            "task": record.subtask,
            "instruction": record.instruction,
            "success": record.success,
        }
        for record, (start, end) in zip(records, spans, strict=True)
        if end > start and (record.success or take.kept == "all")
    ]


def _write(
    take: Take,
    episode: EpisodeSpec,
    frames: Frames,
    records: list[SubtaskRecord],
    spans: list[tuple[int, int]],
    looks: list[Frames],
) -> None:
    kept = _kept(take, records, spans)
    path = path_of(take.folder, episode.episode)
    if not kept:
        path.unlink(missing_ok=True)
        return
    if not path.parent.is_dir():
        raise ResultSetError(
            f"{path.parent} cannot be reached from this worker; put output= on a disk that all machines share"
        )
    about = {"scene": episode.start.scene, "subtasks": kept, "notes": {"episode": episode.episode}}
    part = path.with_name(f".{path.name}.{os.getpid()}")
    arrays = frames.arrays(kept[-1]["end"])
    if looks:
        each = [look.arrays(1) for look in looks]
        arrays |= {f"{LOOKED}{name}": np.stack([one[name] for one in each]) for name in each[0]}
    with part.open("wb") as file:
        np.savez(file, **{"about": np.array(json.dumps(about)), **arrays})  # type: ignore[arg-type]
    part.replace(path)


@dataclass(frozen=True, slots=True, eq=False)
class RecordedEpisode:
    """A file of :func:`record_episode`."""

    scene: str
    subtasks: tuple[Mapping[str, Any], ...]
    """``start``, ``end`` (steps), ``task``, ``instruction``, ``success`` of each that is kept."""
    arrays: Mapping[str, np.ndarray]
    """``robot_obs`` (n + 1, 15), ``scene_obs`` (n + 1, 24), ``rgb_*`` (n + 1, H, W, 3) uint8, ``commanded`` and
    ``targets`` (n, 7), ``pushed`` (n,)."""
    looks: Mapping[str, np.ndarray] = field(default_factory=dict)
    """The same of the tables that were only looked at, (looks, …), of one step each."""

    @property
    def steps(self) -> int:
        """n."""
        return len(self.arrays["pushed"])

    @classmethod
    def read(cls, path: Path) -> RecordedEpisode:
        """Reads it. DAMAGED_ARCHIVE: it is not there, or damaged."""
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files if name != "about"}
            about = json.loads(str(file["about"]))
        looks = {name.removeprefix(LOOKED): arrays.pop(name) for name in list(arrays) if name.startswith(LOOKED)}
        return cls(about["scene"], tuple(about["subtasks"]), arrays, looks)


def sized_sensors(policy_sensors: Any, cameras: Mapping[str, int]) -> Any:
    """Sensors of the recording and of the policy in one. ValueError: they want a camera in two sizes."""
    from vla_bench.envs.observation import Camera, Sensors

    wanted = {name: Camera(name, width=size, height=size) for name, size in cameras.items()}
    for camera in policy_sensors.cameras:
        mine = wanted.get(camera.name)
        if mine is None:
            wanted[camera.name] = camera
        elif (camera.width, camera.height) != (mine.width, mine.height):
            raise ValueError(camera.name)
        else:
            wanted[camera.name] = dataclasses.replace(mine, depth=camera.depth)
    return Sensors(tuple(wanted.values()))
