"""Repeats recorded actions.

A recording is an ``.npz`` or ``.json`` file. Either it holds one array ``actions``, (n, A), played in
every subtask; or one array per subtask of an episode, under ``<episode>/<position>`` (``seq-0007/0``),
in JSON also as ``{"seq-0007": [[...actions of subtask 0...], ...]}``. When a recording is over it holds
still: a convention of changes commands none, one of poses repeats its last.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vla_bench.envs.damaged import NO_ARCHIVE
from vla_bench.envs.errors import suggestion
from vla_bench.envs.observation import Observation
from vla_bench.envs.simulation import EnvironmentSpec
from vla_bench.policies.base import PolicySpec, SubtaskContext
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.hold import needs_pose
from vla_bench.policies.registry import action_named

FOR_ALL = "actions"
"""Key of the recording that is played in every subtask."""


class ReplayPolicy:
    """Plays the file ``path``.

    ``action``: convention of the recorded numbers, by default the environment's. ``chunk``:
    actions handed out per decision, all of them executed. Float32 recordings stay float32.
    """

    def __init__(self, environment: EnvironmentSpec, path: str, action: str = "", chunk: int = 1) -> None:
        self._spec = self.describe(environment, path, action, chunk)
        self._path = Path(path)
        self._recordings = _read(self._path, self._spec.action.size)
        self._playing: dict[int, tuple[np.ndarray, int]] = {}

    @classmethod
    def describe(cls, environment: EnvironmentSpec, path: str, action: str = "", chunk: int = 1) -> PolicySpec:
        """What a replay with these arguments needs: no camera. PolicyError: there is no such file."""
        if not Path(path).is_file():
            raise PolicyError(f"there is no recording {str(Path(path).absolute())!r} to replay")
        return PolicySpec("replay", action_named(environment, action), chunk=chunk, execute=chunk)

    @property
    def spec(self) -> PolicySpec:
        """Fixed for the life of the policy."""
        return self._spec

    def reset(self, slot: int, instruction: str, context: SubtaskContext) -> None:
        """Winds to the recording of this subtask; PolicyError: the file has none."""
        key = f"{context.episode}/{context.position}"
        recording = self._recordings.get(key, self._recordings.get(FOR_ALL))
        if recording is None:
            raise PolicyError(
                f"{self._path} has no recording {key!r} and none for all ({FOR_ALL!r}); it has "
                f"{len(self._recordings)}, e.g. {next(iter(self._recordings))!r}."
                f"{suggestion(key, self._recordings)}"
            )
        self._playing[slot] = (recording, 0)

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> list[np.ndarray]:
        """The next ``chunk`` recorded actions of each slot, (k, A)."""
        return [self._next(slot) for slot in slots]

    def close(self) -> None:
        """Holds nothing."""

    def _next(self, slot: int) -> np.ndarray:
        recording, place = self._playing[slot]
        wanted = self._spec.chunk
        self._playing[slot] = (recording, place + wanted)
        chunk = recording[place : place + wanted]
        if len(chunk) == wanted:
            return chunk
        still = recording[-1:].copy()
        if not needs_pose(self._spec.action):
            still[:, :-1] = 0.0
        return np.concatenate([chunk, np.repeat(still, wanted - len(chunk), axis=0)])


def _read(path: Path, size: int) -> dict[str, np.ndarray]:
    try:
        if path.suffix == ".npz":
            with np.load(path) as file:
                found: dict[str, Any] = {name: file[name] for name in file.files}
        elif path.suffix == ".json":
            found = _flat(json.loads(path.read_text()))
        else:
            raise PolicyError(f"{path} is no recording: it must end in .npz or .json")
    except NO_ARCHIVE as error:
        raise PolicyError(f"{path} cannot be read: {error}") from None
    if not found:
        raise PolicyError(f"{path} holds no recording")
    return {name: _checked(path, name, actions, size) for name, actions in found.items()}


def _flat(content: Any) -> dict[str, Any]:
    if isinstance(content, list):
        return {FOR_ALL: content}
    if not isinstance(content, Mapping):
        raise PolicyError("a JSON recording is a list of actions or an object of them")
    flat: dict[str, Any] = {}
    for name, value in content.items():
        if name == FOR_ALL or "/" in name:
            flat[name] = value
        else:
            flat |= {f"{name}/{position}": actions for position, actions in enumerate(value)}
    return flat


def _checked(path: Path, name: str, actions: Any, size: int) -> np.ndarray:
    try:
        array = np.asarray(actions)
        array = array if array.dtype == np.float32 else array.astype(np.float64)
    except (ValueError, TypeError):
        raise PolicyError(f"{path}: the recording {name!r} is not a rectangular array of numbers") from None
    if array.ndim != 2 or array.shape[1] != size or len(array) == 0:
        raise PolicyError(
            f"{path}: the recording {name!r} has shape {array.shape}; needed is (n, {size}), n at least 1"
        )
    return array
