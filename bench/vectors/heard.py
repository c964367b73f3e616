"""``run.vectors``: what a policy holds at each of its decisions, kept by the worker that runs the episode.

For each episode that counts the run's folder ``heard/`` has ``<episode>.f32``, the numbers of one decision after the
other, all places side by side; ``<episode>.jsonl``, what each of them is; and ``<episode>.json``, written last. A
decision in which nothing was computed at one of the places, as of a policy that plays on what it had planned, has none.
``vectors extract --episodes`` without a policy takes its frames from these.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from vla_bench.bench.dispatch.job import Job
from vla_bench.bench.episode.rollout import Recorder
from vla_bench.bench.families import find_family
from vla_bench.bench.protocol import EpisodeRecord, EpisodeSpec
from vla_bench.bench.records.journal import write_atomically
from vla_bench.bench.vectors.store import VectorsError, writing
from vla_bench.bench.video.trace import file_name
from vla_bench.envs.observation import Observation
from vla_bench.policies.base import Policy
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.listening import Listener, listening

HEARD = "heard"
"""Folder of a run's vectors."""


@contextmanager
def hearing(policy: Policy, episode: EpisodeSpec, job: Job, recorder: Recorder | None) -> Iterator[Heard]:
    """Listens to the policy for one episode. Errors as :func:`vla_bench.policies.listening.listening`."""
    folder = Path(job.folder) / HEARD
    with writing(folder):
        folder.mkdir(exist_ok=True)
    with listening(policy, job.run.listened) as listener, contextlib.ExitStack() as files:
        yield Heard(listener, episode, folder, job.simulation.family, recorder, files)


class Heard:
    """A :class:`vla_bench.bench.episode.rollout.Recorder` that writes down what was heard of each decision, and passes
    on what it is told."""

    def __init__(
        self,
        listener: Listener,
        episode: EpisodeSpec,
        folder: Path,
        family: str,
        recorder: Recorder | None,
        files: contextlib.ExitStack,
    ) -> None:
        self._listener, self._episode, self._recorder = listener, episode, recorder
        self._arm = find_family(family).arm
        self._path = folder / file_name(episode.episode)
        self._at(".json").unlink(missing_ok=True)
        self._files = files
        self._numbers = self._open(".f32")
        self._rows = self._open(".jsonl")
        self._shapes: dict[str, tuple[int, ...]] | None = None
        self._steps: dict[int, int] = {}
        self._decisions: list[tuple[int, int]] = []

    def _at(self, end: str) -> Path:
        return self._path.with_name(self._path.name + end)

    def _open(self, end: str) -> IO[bytes]:
        with writing(self._path.parent):
            return self._files.enter_context(self._at(end).open("wb"))

    def executed(self, position: int, actions: np.ndarray, observation: Observation) -> None:
        """Takes what was heard of the decision. VectorsError: it cannot be written."""
        step = self._steps.get(position, 0)
        self._steps[position] = step + len(actions)
        try:
            found = self._listener.take(1)
        except PolicyError:  # nothing was computed
            found = None
        if found is not None:
            self._write(position, step, found, observation)
        if self._recorder is not None:
            self._recorder.executed(position, actions, observation)

    def _write(self, position: int, step: int, found: Mapping[str, np.ndarray], observation: Observation) -> None:
        shapes = {place: tuple(each.shape[1:]) for place, each in found.items()}
        self._shapes = self._shapes or shapes
        if shapes != self._shapes:
            raise VectorsError(
                f"run.vectors: {', '.join(shapes)} gave vectors of shapes {list(shapes.values())}, those before were "
                f"{list(self._shapes.values())}: the length depends on what is seen; listen somewhere else"
            )
        image = next((image for name, image in observation.items() if name.startswith("rgb_")), None)
        row = {name: number for name, number in self._arm(observation).items() if name in ("gripper", "x", "y", "z")}
        shown = {} if image is None else {"picture": base64.b64encode(picture(image)).decode()}
        with writing(self._path.parent):
            for each in found.values():
                self._numbers.write(np.ascontiguousarray(each, "<f4").tobytes())
            self._rows.write(json.dumps({**row, **shown}).encode() + b"\n")
        self._decisions.append((position, step))

    def finish(self, record: EpisodeRecord) -> None:
        """Says that the episode is whole."""
        about = {
            "episode": record.episode,
            "index": record.index,
            "scene": record.scene,
            "places": {place: list(shape) for place, shape in (self._shapes or {}).items()},
            "dtypes": {place: self._listener.dtypes[place] for place in self._shapes or {}},
            "decisions": self._decisions,
            "subtasks": [
                {"task": each.subtask, "instruction": each.instruction, "success": each.success, "steps": each.steps}
                for each in record.subtasks
            ],
        }
        with writing(self._path.parent):
            self._numbers.flush()
            self._rows.flush()
            write_atomically(self._at(".json"), lambda path: path.write_text(json.dumps(about), encoding="utf-8"))


def picture(image: np.ndarray, side: int = 96) -> bytes:
    """A small JPEG of an (H, W, 3) uint8 image, its longer side ``side`` pixels."""
    import io

    from PIL import Image

    small = Image.fromarray(image)
    small.thumbnail((side, side))
    content = io.BytesIO()
    small.save(content, "JPEG", quality=70)
    return content.getvalue()
