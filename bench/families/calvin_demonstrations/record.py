"""Records a data set: plans the episodes, runs them on workers, writes what they saw in the episodes' order.

Workers leave one file an episode; the data set is written from these files in the order of the episodes, so
that it does not depend on how many workers there were, on who was faster, or on a crash. The journal says which
episodes are done, the data set itself which of them it holds: running the same command again does the rest.
"""

from __future__ import annotations

import contextlib
import dataclasses
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vla_bench.bench.dispatch import EpisodeFinished, Event, Job, WorkerStarted, make_pool, run_episodes
from vla_bench.bench.dispatch.job import Recording
from vla_bench.bench.errors import ResultSetError, RunFailed
from vla_bench.bench.families.calvin_demonstrations.options import RecordingConfig
from vla_bench.bench.families.calvin_demonstrations.pieces import recordings
from vla_bench.bench.families.calvin_demonstrations.planning import Planned, episodes_after, prepare
from vla_bench.bench.families.calvin_demonstrations.take import RecordedEpisode, path_of
from vla_bench.bench.live.screen import Screen, SilentScreen
from vla_bench.bench.machine.cores import usable_cores
from vla_bench.bench.protocol import EpisodeRecord, EpisodeSpec, to_plain
from vla_bench.bench.records.conditions import flat
from vla_bench.bench.records.journal import Journal
from vla_bench.bench.setup.config import PolicyConfig, RunConfig
from vla_bench.envs.calvin.dataset.writer import DatasetWriter
from vla_bench.envs.damaged import DAMAGED_ARCHIVE

WORKSHOP = "recording"
"""Folder, in the data set's, of the journal and of the episodes that are not in the data set yet."""
EPISODES = "episodes"
RECORD = "vla_bench.bench.families.calvin_demonstrations.take:record_as_told"
"""What a worker runs."""
JOURNAL = "journal.jsonl"


@dataclass(slots=True)
class Recorded:
    """What a recording has come to."""

    folder: Path
    demonstrations: int = 0
    """Solved subtasks in the data set (with ``keep=all``: all that were tried)."""
    tried: int = 0
    """Episodes that were run."""
    complete: bool = False
    lacking: Mapping[str, int] = field(default_factory=dict)
    """By scene and task, how many demonstrations are missing although all tries were made."""
    frames: int = 0


def record(config: RecordingConfig, policy: PolicyConfig, run: RunConfig, screen: Screen | None = None) -> Recorded:
    """Records what the folder does not hold yet.

    Args:
        config: what is recorded.
        policy: who acts.
        run: workers, backend and deadlines; what names a run (``name``, ``results``, ``seed``) is not used.
        screen: shows what goes on.

    Raises:
        UserError: something typed or set up is wrong, or the folder holds something else.
        RunFailed: no worker could start, or too many episodes ended in an error.
    """
    planned = prepare(config, policy, run)
    folder = Path(config.output).expanduser()
    workshop = folder / WORKSHOP
    header = planned.header(folder)
    with Journal.open(workshop / JOURNAL, header) as journal:
        _check_same(folder, journal.contents.header, header)
        (workshop / EPISODES).mkdir(exist_ok=True)
        return _Recording(planned, folder, journal, run, screen or SilentScreen()).run()


def _check_same(folder: Path, there: Mapping[str, Any], mine: Mapping[str, Any]) -> None:
    theirs, now = flat(there["identity"]), flat(mine["identity"])
    changed = [
        f"{name} {theirs.get(name)!r} there, {now.get(name)!r} now"
        for name in {**theirs, **now}
        if theirs.get(name) != now.get(name)
    ]
    if changed:
        raise ResultSetError(
            f"{folder} holds another recording, which differs in: {'; '.join(changed)}. "
            "Choose another folder with output=<folder>, or remove that one"
        )


class _Recording:
    def __init__(self, planned: Planned, folder: Path, journal: Journal, run: RunConfig, screen: Screen) -> None:
        self.planned, self.folder, self.journal, self.settings, self.screen = planned, folder, journal, run, screen
        self.episodes_folder = folder / WORKSHOP / EPISODES
        self.done = {record.index: record for record in journal.contents.records if record.status == "done"}
        self.writers: dict[str, DatasetWriter] = {}
        self.written: dict[str, set[int]] = {}
        self.next = 0
        """Index of the first episode whose recordings are not all in the data set."""
        self.errors = 0
        self.episodes: list[EpisodeSpec] = []

    def run(self) -> Recorded:
        self._open_writers()
        complete = True
        for wave in self._waves():
            self.episodes += wave
            missing = [episode for episode in wave if not self._is_there(episode)]
            header = {**self.planned.header(self.folder), "episodes": len(self.episodes)}
            self.screen.begin(self.folder, header, self.journal.contents, len(missing))
            try:
                complete = self._run(missing) if missing else True
                self._assemble()
            finally:
                self.screen.end()
            if not complete:
                break
            if lost := [each.episode for each in wave if each.index not in self.done]:
                raise RunFailed(
                    f"{len(lost)} of {len(self.episodes)} episodes ended in an error, the first {lost[0]}; what is in "
                    f"{self.folder} stays, and the same command tries them again"
                )
        for writer in self.writers.values():
            if writer.recordings:
                writer.finish()
        return self._result(complete)

    def _waves(self) -> Iterator[list[EpisodeSpec]]:
        """The episodes that are wanted whatever comes of them, then those that take the place of failures."""
        while wave := episodes_after(self.planned, self.episodes, self.done):
            yield wave

    def _open_writers(self) -> None:
        for split in self.planned.splits:
            writer = DatasetWriter(self.folder / split, self.planned.config.labels, self.planned.provenance)
            self.writers[split] = writer
            for line in writer.lines:
                self.written.setdefault(line["notes"]["episode"], set()).add(line["notes"]["piece"])

    def _is_there(self, episode: EpisodeSpec) -> bool:
        """Whether it was run, and what it recorded, if anything, is in the data set or waits in its file."""
        record = self.done.get(episode.index)
        if record is None:
            return False
        if not self._keeps(record) or self._whole(episode.episode):
            return True
        try:
            with zipfile.ZipFile(path_of(self.episodes_folder, episode.episode)) as file:
                return file.testzip() is None
        except DAMAGED_ARCHIVE:
            return False

    def _keeps(self, record: EpisodeRecord) -> bool:
        return record.chain_length > 0 or (self.planned.config.keep == "all" and bool(record.subtasks))

    def _whole(self, name: str) -> bool:
        if name not in self.written:
            return False
        lines = [line for writer in self.writers.values() for line in writer.lines if line["notes"]["episode"] == name]
        return len(lines) == lines[0]["notes"]["pieces"]

    def _run(self, missing: list[EpisodeSpec]) -> bool:
        settings = self.settings
        limit = max(2, settings.max_error_rate * len(self.episodes))

        def take(event: Event) -> None:
            match event:
                case WorkerStarted(worker, info):
                    self.planned.check_worker(worker, info)
                case EpisodeFinished(record):
                    self._take(record)
            self.screen.take(event)
            if isinstance(event, EpisodeFinished):
                if event.record.error and self.errors > limit:
                    raise RunFailed(
                        f"{self.errors} of {len(self.episodes)} episodes ended in an error. The last one: "
                        f"{event.record.error.kind}: {event.record.error.message}"
                    )
                self._assemble()

        workers = min(settings.workers or usable_cores(), len(missing))
        job = Job(
            simulation=self.planned.simulation,
            policy=self.planned.choice,
            run=dataclasses.replace(settings, seed=self.planned.config.seed),
            inference=self.planned.inference,
            recording=Recording(RECORD, to_plain(self.planned.take(str(self.episodes_folder.absolute())))),
        )
        pool = make_pool(settings.backend, workers, settings.address, settings.gpu_share)
        return run_episodes(job, missing, pool, on_event=take)

    def _take(self, record: EpisodeRecord) -> None:
        self.journal.append(record)
        self.errors += record.status == "error"
        if record.status == "done":
            self.planned.check_replay(record)
            self.done[record.index] = record

    def _assemble(self) -> None:
        """Writes the recordings of all episodes up to the first that is not done yet."""
        while self.next < len(self.episodes):
            episode = self.episodes[self.next]
            record = self.done.get(episode.index)
            if record is None:
                return
            path = path_of(self.episodes_folder, episode.episode)
            if self._keeps(record) and not self._whole(episode.episode):
                writer = self.writers[self.planned.split_of(episode)]
                there = self.written.setdefault(episode.episode, set())
                for recording in recordings(RecordedEpisode.read(path), episode.episode, self.planned.config.labels):
                    if recording.notes["piece"] not in there:
                        writer.write(recording)
                        there.add(recording.notes["piece"])
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            self.next += 1

    def _result(self, complete: bool) -> Recorded:
        kept = self.planned.config.keep == "all"
        demonstrations, lacking = 0, dict[str, int]()
        for episode in self.episodes:
            record = self.done.get(episode.index)
            if record is not None:
                demonstrations += len(record.subtasks) if kept else record.chain_length
        for cell, episodes in self.planned.by_cell(self.episodes).items():
            good = sum(self._keeps(self.done[each.index]) for each in episodes if each.index in self.done)
            if good < self.planned.wanted:
                lacking[cell] = self.planned.wanted - good
        return Recorded(
            folder=self.folder,
            demonstrations=demonstrations,
            tried=len(self.done),
            complete=complete,
            lacking=lacking,
            frames=sum(writer.next_frame for writer in self.writers.values()),
        )
