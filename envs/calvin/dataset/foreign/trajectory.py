"""One trajectory of another form, made a recording of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from vla_bench.envs.calvin.dataset.annotations import UNKNOWN
from vla_bench.envs.calvin.dataset.labels import MAX_EULER, MAX_POSITION, absolute_actions, relative_actions
from vla_bench.envs.calvin.dataset.writer import DatasetWriter, RecordedAnnotation, Recording
from vla_bench.envs.errors import DatasetError

TOLERANCE = 2e-4
"""Metres, radians: how far an action may be from the next state to count as that state, float32 and rounding apart."""
MADE = "the last state of each recording is made from its last action; its images are those of the state before"
"""Said of sets whose source has no state after the last action."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """What a source gives of one episode of n frames."""

    instruction: str
    states: np.ndarray
    """(n, 15) robot_obs, or (n, 7): position, Euler angles, gripper command."""
    images: Mapping[str, np.ndarray]
    """``rgb_static`` and ``rgb_gripper``, (n, H, W, 3) uint8."""
    actions: np.ndarray | None
    """(n, 7) absolute actions."""
    rel_actions: np.ndarray | None
    """(n, 7) relative actions."""
    scene_obs: np.ndarray | None = None
    """(n, 24)."""
    task: str | None = None
    scene: str | None = None
    closing: bool = False
    """Whether the last frame only shows where the last action led."""


class Source(Protocol):
    """A data set of another form."""

    def __len__(self) -> int:
        """How many trajectories."""
        ...

    def trajectories(self, first: int) -> Iterable[Trajectory]:
        """From the ``first``-th on."""
        ...


def need(package: str) -> ModuleType:
    """A package that only this form needs.

    Raises:
        DatasetError: it is not installed; says what to type.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        raise DatasetError(
            f"this form is read with the package {error.name}; type pip install -e '.[datasets]'"
        ) from error


def import_set(
    source: Source,
    target: Path,
    *,
    scene: str,
    where: str,
    tasks: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> DatasetWriter:
    """Writes all trajectories of a source in CALVIN's layout, each a recording; goes on where it was stopped.

    Args:
        source: The other form.
        target: Split folder to write.
        scene: Letter to write where the source does not say.
        where: What the source is, for the provenance.
        tasks: Instruction to task, for sources that only have the words.
        progress: Called with trajectories done and in all.

    Raises:
        DatasetError: a trajectory cannot be one of CALVIN's robot.
    """
    label, made, note = "achieved", False, ""
    for trajectory in source.trajectories(0):
        label, note = kind_of_actions(trajectory)
        made = not trajectory.closing
        break
    provenance: dict[str, Any] = {"imported_from": where, "actions": note}
    if made:
        provenance["closing_states"] = MADE
    writer = DatasetWriter(target, label=label, provenance=provenance)
    for done, trajectory in enumerate(source.trajectories(writer.recordings), writer.recordings + 1):
        if not trajectory.task:
            trajectory = replace(trajectory, task=(tasks or {}).get(trajectory.instruction.strip().lower()))
        writer.write(recording_of(trajectory, label, scene))
        if progress:
            progress(done, len(source))
    writer.finish()
    return writer


def kind_of_actions(trajectory: Trajectory) -> tuple[str, str]:
    """Whether a trajectory's actions are the poses that its states reach; and in words.

    Raises:
        DatasetError: it has no actions.
    """
    states = np.asarray(trajectory.states, float)
    if trajectory.actions is not None:
        far = np.abs(trajectory.actions[:-1, :6] - states[1:, :6]).max(initial=0.0)
        if far < TOLERANCE:
            return "achieved", "the absolute actions are the next states"
        return "commanded", f"the absolute actions differ from the next states by up to {far:.4f} m or rad"
    if trajectory.rel_actions is None:
        raise DatasetError(f"the trajectory {trajectory.instruction!r} has no actions")
    pose = states[:, :7] if states.shape[1] == 7 else states[:, [*range(6), 14]]
    reached = relative_actions(np.concatenate([pose[1:, :6], trajectory.rel_actions[:-1, 6:7]], 1), pose[:-1])
    far = np.abs(reached[:, :6] - trajectory.rel_actions[:-1, :6]).max(initial=0.0)
    if far < 100 * TOLERANCE:
        return "achieved", "the relative actions lead to the next states"
    return "commanded", f"the relative actions differ from the way to the next states by up to {far:.2f}"


def recording_of(trajectory: Trajectory, label: str, scene: str) -> Recording:
    """A trajectory as n + 1 states and n steps; the last state is made where the source has none.

    Raises:
        DatasetError: arrays of lengths that do not fit.
    """
    states = _full_states(np.asarray(trajectory.states, np.float64))
    length = len(states)
    for name, array in (("actions", trajectory.actions), ("rel_actions", trajectory.rel_actions)):
        if array is not None and array.shape != (length, 7):
            raise DatasetError(f"{name} of {trajectory.instruction!r} is {array.shape}, not ({length}, 7)")
    absolute = _absolute(trajectory, states)
    scene_obs = np.zeros((length, 24)) if trajectory.scene_obs is None else np.asarray(trajectory.scene_obs, float)
    images = dict(trajectory.images)
    if not trajectory.closing:
        last = states[-1:].copy()
        last[0, :6], last[0, 14] = absolute[-1, :6], absolute[-1, 6]
        states = np.concatenate([states, last])
        scene_obs = np.concatenate([scene_obs, scene_obs[-1:]])
        images = {key: np.concatenate([array, array[-1:]]) for key, array in images.items()}
    steps = len(states) - 1
    if steps < 1:
        raise DatasetError(f"the trajectory {trajectory.instruction!r} has {length} frames; two or more are needed")
    given: dict[str, Any] = {}
    if label == "commanded":
        relative = trajectory.rel_actions
        if relative is None:
            relative = relative_actions(absolute, states[:length])
        given = {"actions": absolute[:steps], "rel_actions": relative[:steps]}
    elif trajectory.actions is None and trajectory.rel_actions is not None:
        states[1:, 14] = np.where(trajectory.rel_actions[:steps, 6] > 0, 1.0, -1.0)
    return Recording(
        scene=trajectory.scene or scene,
        robot_obs=states,
        scene_obs=scene_obs,
        images=images,
        annotations=(RecordedAnnotation(0, steps, trajectory.task or UNKNOWN, trajectory.instruction),),
        **given,
    )


def _full_states(states: np.ndarray) -> np.ndarray:
    if states.ndim == 2 and states.shape[1] == 15:
        return states
    if states.ndim == 2 and states.shape[1] == 7:
        full = np.zeros((len(states), 15))
        full[:, :6], full[:, 14] = states[:, :6], states[:, 6]
        return full
    raise DatasetError(
        f"states are {states.shape}; CALVIN's robot has 15 numbers, or 7: position, Euler angles and gripper. "
        "Is this the data set of another robot?"
    )


def _absolute(trajectory: Trajectory, states: np.ndarray) -> np.ndarray:
    if trajectory.actions is not None:
        return np.asarray(trajectory.actions, float)
    relative = np.asarray(trajectory.rel_actions, float)
    found = np.concatenate([absolute_actions(states), np.zeros((1, 7))])
    found[-1, :3] = states[-1, :3] + relative[-1, :3] * MAX_POSITION
    found[-1, 3:6] = states[-1, 3:6] + relative[-1, 3:6] * MAX_EULER
    found[:, 6] = relative[:, 6]
    return found


def first_of(names: Sequence[str], held: Iterable[str]) -> str | None:
    """The first of ``names`` that is held, or that ends a held path."""
    held = list(held)
    for name in names:
        for each in held:
            if each == name or each.endswith((f"/{name}", f".{name}")):
                return each
    return None


def chosen_names(
    candidates: Mapping[str, Sequence[str]], held: Iterable[str], mapping: Mapping[str, str]
) -> dict[str, str]:
    """Our name to the source's, from what was typed, else from the usual names.

    Raises:
        DatasetError: a typed name is not there, or of a part of ours that is none.
    """
    held = list(held)
    for ours, theirs in mapping.items():
        if ours not in candidates:
            raise DatasetError(f"--map {ours}=…: the parts are {', '.join(candidates)}")
        if theirs not in held:
            raise DatasetError(f"--map {ours}={theirs}: there is no {theirs}; there are {', '.join(sorted(held))}")
    found = {ours: mapping.get(ours) or first_of(names, held) for ours, names in candidates.items()}
    return {ours: theirs for ours, theirs in found.items() if theirs}
