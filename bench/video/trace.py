"""The executed actions of one episode: a few kilobytes from which it can be shown again."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vla_bench.bench.errors import ResultSetError
from vla_bench.bench.protocol import EpisodeRecord, EpisodeSpec, spec_from_plain, to_plain
from vla_bench.envs.damaged import NO_ARCHIVE
from vla_bench.envs.observation import Observation
from vla_bench.envs.simulation import family_names

TRACES = "traces"
"""Folder of a run's traces."""
_FIRST = re.compile(r"first_([1-9][0-9]{0,6})")


def wants_trace(choice: str, record: EpisodeRecord) -> bool:
    """Whether a run with ``run.video=<choice>`` shows the episode of this record.

    A failure is an episode in which a subtask was tried and not solved.
    """
    if choice == "failures":
        return bool(record.subtasks) and not record.subtasks[-1].success
    if first := _FIRST.fullmatch(choice):
        return record.index < int(first[1])
    return choice == "all"


@dataclass(slots=True)
class Trace:
    """What was executed, subtask by subtask, and how to set it up again."""

    episode: EpisodeSpec
    family: str
    options: Mapping[str, Any]
    """Of the simulation; plain data."""
    action: str
    """Name of the action convention."""
    python: str = ""
    """Interpreter that ran the simulation, where it was another than the driver's."""
    actions: list[np.ndarray] = field(default_factory=list)
    """(steps, A) for each tried subtask, in the dtype in which they were executed."""
    results: list[dict[str, Any]] = field(default_factory=list)
    """``success``, ``steps`` and ``digest`` of each tried subtask."""
    _pieces: list[list[np.ndarray]] = field(default_factory=list)

    def executed(self, position: int, actions: np.ndarray, _observation: Observation) -> None:
        """Takes actions (k, A) that the subtask at ``position`` has executed."""
        while len(self._pieces) <= position:
            self._pieces.append([])
        self._pieces[position].append(np.array(actions))

    def finish(self, record: EpisodeRecord) -> None:
        """Takes what became of the episode."""
        self.actions = [np.concatenate(pieces) for pieces in self._pieces]
        self.results = [
            {"success": subtask.success, "steps": subtask.steps, "digest": subtask.digest}
            for subtask in record.subtasks
        ]

    def write(self, folder: Path) -> None:
        """Writes ``<episode>.npz``, whole or not at all; an earlier try's is replaced."""
        about = {
            "episode": to_plain(self.episode),
            "family": self.family,
            "options": to_plain(self.options),
            "action": self.action,
            "python": self.python,
            "results": self.results,
        }
        content = io.BytesIO()
        arrays = {f"actions_{position}": actions for position, actions in enumerate(self.actions)}
        arrays["about"] = np.array(json.dumps(about))
        np.savez_compressed(content, **arrays)  # type: ignore[arg-type]  # any name, NumPy's stubs think of one
        folder.mkdir(exist_ok=True)
        path = folder / f"{file_name(self.episode.episode)}.npz"
        part = path.with_name(f".{path.name}.{os.getpid()}")
        part.write_bytes(content.getvalue())
        part.replace(path)

    @classmethod
    def read(cls, path: Path) -> Trace:
        """Reads a trace as data. ResultSetError: it is not one, or is damaged."""
        try:
            with np.load(path) as file:
                about = json.loads(str(file["about"]))
                actions = [file[f"actions_{position}"] for position in range(len(about["results"]))]
            if about["family"] not in family_names():
                raise ValueError(f"unknown family {about['family']!r}")
            episode = spec_from_plain(about["episode"])
            python = str(about.get("python", ""))
            return cls(episode, about["family"], about["options"], about["action"], python, actions, about["results"])
        except NO_ARCHIVE as error:
            raise ResultSetError(f"{path} is no trace of an episode, or damaged: {error}") from error


def file_name(episode: str) -> str:
    """The episode's name, with nothing in it that leads out of a folder."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", episode).strip(".-") or "episode"
