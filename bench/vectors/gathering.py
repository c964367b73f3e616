"""Vectors that were kept while a run went on (``run.vectors``), as a source of frames and an extraction of its own."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vla_bench.bench.errors import ConfigError, ResultSetError, suggestion
from vla_bench.bench.records.journal import read_journal
from vla_bench.bench.records.result_set import JOURNAL
from vla_bench.bench.vectors.extraction import identity, row_of
from vla_bench.bench.vectors.heard import HEARD
from vla_bench.bench.vectors.sampling import Episode, Plan, Sample
from vla_bench.bench.vectors.store import VectorsError, Writer
from vla_bench.policies.listening import LAYERS

BATCH = 64
"""Rows that are written together."""


@dataclass(frozen=True)
class _Kept:
    """One episode of a run, and which of its rows are of a subtask."""

    path: Path
    """Without an ending."""
    rows: Mapping[int, tuple[int, ...]]
    """By position of the subtask, the numbers of the rows."""
    steps: Mapping[int, tuple[int, ...]]
    """Control steps of the subtask before each."""
    lengths: Mapping[int, int]
    """Control steps of each subtask."""


class HeardSource:
    """Decisions of a result set's policy; a frame is the number of a decision within its subtask.

    Raises:
        ResultSetError: nothing was kept. VectorsError: it is damaged, or of several kinds.
    """

    kind = "episodes"

    def __init__(self, folder: Path) -> None:
        self.name, self._folder = str(folder), folder
        contents = read_journal(folder / JOURNAL)
        self.header = contents.header
        judged = {record.episode for record in contents.records if record.status == "done"}
        self._kept: dict[str, _Kept] = {}
        self._found: list[Episode] = []
        self.places: dict[str, tuple[int, ...]] = {}
        self.dtypes: dict[str, str] = {}
        """By place, what the network computed in; empty of runs before that was noted."""
        content = hashlib.sha256()
        for path in sorted((folder / HEARD).glob("*.json")):
            about = _read(path)
            if about["episode"] not in judged or not about["decisions"]:
                continue
            places = {place: tuple(shape) for place, shape in about["places"].items()}
            if self.places and places != self.places:
                raise VectorsError(
                    f"{folder} was listened to at {', '.join(self.places)} in some episodes and at {', '.join(places)} "
                    "in others; run it again with one run.vectors and run.overwrite=true"
                )
            self.places = places
            self.dtypes = self.dtypes or about["dtypes"]
            self._take(path.with_suffix(""), about)
            content.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
        if not self._found:
            raise ResultSetError(f"{folder} has kept no vectors: run it with run.vectors=head, or name a policy")
        self.digest = content.hexdigest()[:16]
        self.lacking = len(judged) - len(self._kept)
        """Judged episodes that were not listened to."""

    def _take(self, path: Path, about: Mapping[str, Any]) -> None:
        size = 4 * sum(int(np.prod(shape)) for shape in self.places.values()) * len(about["decisions"])
        numbers = path.with_name(f"{path.name}.f32")
        if not numbers.exists() or numbers.stat().st_size != size:
            raise VectorsError(f"{numbers} was cut off; run the episode again: run.only={about['episode']}")
        rows: dict[int, list[int]] = {}
        steps: dict[int, list[int]] = {}
        for row, (position, step) in enumerate(about["decisions"]):
            rows.setdefault(position, []).append(row)
            steps.setdefault(position, []).append(step)
        self._kept[about["episode"]] = _Kept(
            path,
            {position: tuple(each) for position, each in rows.items()},
            {position: tuple(each) for position, each in steps.items()},
            {position: subtask["steps"] for position, subtask in enumerate(about["subtasks"])},
        )
        for position, of in rows.items():
            told = about["subtasks"][position]
            name = f"{about['episode']}/{position}"
            self._found.append(
                Episode(
                    name, 0, len(of), told["task"], told["instruction"], about["scene"] or "?", success=told["success"]
                )
            )

    @property
    def family(self) -> str:
        """Of the benchmark."""
        return str(self.header["protocol"]["facts"].get("family", ""))

    def episodes(self, *, path: bool) -> list[Episode]:
        """Subtasks with the number of their decisions. ConfigError: ``path`` is asked for."""
        if path:
            raise ConfigError("--stratify path: is told from a data set's states; frames of --episodes have no path")
        return self._found

    def chosen(self, places: Sequence[str]) -> list[str]:
        """The places asked for; all where none is. VectorsError: one is not there."""
        if LAYERS in places and LAYERS not in self.places:
            layers = [place for place in self.places if place.rpartition(".")[2].isdigit()]
            places = [each for place in places for each in (layers if place == LAYERS and layers else [place])]
        for place in places:
            if place not in self.places:
                raise VectorsError(
                    f"{self.name} was not listened to at {place!r} but at {', '.join(self.places)}."
                    f"{suggestion(place, self.places)}"
                )
        return list(dict.fromkeys(places)) or list(self.places)

    def taken(self, samples: Sequence[Sample]) -> Iterator[tuple[dict[str, np.ndarray], dict[str, Any]]]:
        """(…) float32 by place of each sample, and its row; an episode at a time."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self.places.values()])
        for name, of in itertools.groupby(samples, lambda sample: sample.episode.name.rpartition("/")[0]):
            kept, wanted = self._kept[name], list(of)
            numbers = np.memmap(kept.path.with_name(f"{kept.path.name}.f32"), "<f4", "r").reshape(-1, int(ends[-1]))
            places = [int(each.episode.name.rpartition("/")[2]) for each in wanted]
            rows = [kept.rows[place][each.frame] for place, each in zip(places, wanted, strict=True)]
            lines = _lines(kept.path.with_name(f"{kept.path.name}.jsonl"), set(rows))
            for each, position, row in zip(wanted, places, rows, strict=True):
                parts = np.split(np.array(numbers[row]), ends[:-1])
                found = {
                    place: part.reshape(shape) for (place, shape), part in zip(self.places.items(), parts, strict=True)
                }
                step = kept.steps[position][each.frame]
                more = {"frame": step, "position": step / max(kept.lengths[position] - 1, 1)}
                yield found, {**row_of(self.digest, each), **lines[row], **more}


def gather(
    source: HeardSource,
    plan: Plan,
    output: Path,
    about: Mapping[str, Any],
    places: Sequence[str],
    on_progress: Callable[[int, int], None],
) -> None:
    """Writes the planned decisions as an extraction. VectorsError: it cannot be written, or is another."""
    mine = source.header["identity"]
    settings = {"at": list(places), "heard": True}
    who = identity(mine["policy"], mine["arguments"], mine.get("content") or {}, source, plan, **settings)
    writer = Writer(output, {**about, "policy": source.header["policy"], "identity": who}, len(plan.samples))
    try:
        if writer.finished:
            return
        if source.dtypes:
            writer.tell({place: source.dtypes[place] for place in places})
        taken = source.taken(plan.samples[writer.done :])
        while group := list(itertools.islice(taken, BATCH)):
            found = {place: np.stack([vectors[place] for vectors, _ in group]) for place in places}
            writer.add(found, [row for _, row in group])
            on_progress(writer.done, len(plan.samples))
        writer.finish()
    finally:
        writer.close()


def _read(path: Path) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        wanted = ("episode", "scene", "places", "decisions", "subtasks")
        return {**{name: about[name] for name in wanted}, "dtypes": about.get("dtypes", {})}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VectorsError(f"{path} is damaged ({type(error).__name__}: {error}); run the episode again") from error


def _lines(path: Path, wanted: set[int]) -> dict[int, dict[str, Any]]:
    try:
        with path.open("rb") as file:
            found = {number: json.loads(line) for number, line in enumerate(file) if number in wanted}
    except (OSError, ValueError) as error:
        raise VectorsError(f"{path} is damaged ({error}); run the episode again") from error
    if len(found) < len(wanted):
        raise VectorsError(f"{path} was cut off; run the episode again")
    return found
