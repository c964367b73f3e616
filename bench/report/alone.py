"""Episodes that only one of two policies solved, and where each can be seen side by side."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_bench.bench.protocol import EpisodeRecord
from vla_bench.bench.records.provenance import tries_of
from vla_bench.bench.records.result_set import JOURNAL, PROVENANCE, ResultSet
from vla_bench.bench.records.rows import read_rows, row_of
from vla_bench.bench.video.clips import VIDEOS, Clip, read_index
from vla_bench.bench.video.trace import TRACES, file_name
from vla_bench.program import evaluation, program

SHOWN = 4
"""Episodes whose clips are shown, of each of the two, where there are clips; or whose clips are told how to make."""
AGAIN = "clips"
"""Folder within a run's where its episodes may be run once more, for their clips."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A clip and where it is."""

    clip: Clip
    folder: Path

    @property
    def path(self) -> Path:
        """The film."""
        return self.folder / VIDEOS / self.clip.file

    @property
    def poster(self) -> Path | None:
        """A frame of it; None for one of an earlier version."""
        return self.folder / VIDEOS / self.clip.poster if self.clip.poster else None


def solved(record: EpisodeRecord) -> bool:
    """Whether every subtask of a judged episode was solved; the first failure ends one."""
    return record.status == "done" and bool(record.subtasks) and record.subtasks[-1].success


def solved_by_one(winner: ResultSet, other: ResultSet) -> list[tuple[EpisodeRecord, EpisodeRecord]]:
    """Records of the episodes that ``winner`` solved and ``other`` did not, though both were judged; those in which
    ``other`` got least far first."""
    theirs = {record.episode: record for record in other.records if record.status == "done"}
    found = [
        (record, theirs[record.episode])
        for record in winner.records
        if solved(record) and record.episode in theirs and not solved(theirs[record.episode])
    ]
    return sorted(found, key=lambda pair: (pair[1].chain_length, pair[0].index))


def clips_of(of: ResultSet) -> dict[str, Seen]:
    """The clips of a run by episode: its own, and of those that were run once more in its folder, the same by what
    identifies them."""
    seen = {clip.episode: Seen(clip, of.folder) for clip in read_index(of.folder)}
    for path in sorted((of.folder / AGAIN).glob(f"**/{JOURNAL}")):
        more = read_index(path.parent)
        if more and ResultSet.load(path.parent).header["identity"] == of.header["identity"]:
            seen = {clip.episode: Seen(clip, path.parent) for clip in more} | seen
    return seen


def directions(sets: Mapping[str, ResultSet]) -> list[dict[str, Any]]:
    """For the first set with each later one, both ways: the episodes that only the one solved.

    Returns:
        Dictionaries with the indices of ``winner`` and ``other``, all ``episodes`` (name, scene, how far the other
        got, at which subtask it failed), ``failed`` tasks with counts, and ``pairs`` of records.
    """
    indexed = list(enumerate(sets.values()))
    (base, first), *later = indexed
    found = []
    for index, each in later:
        for (a, winner), (b, other) in (((index, each), (base, first)), ((base, first), (index, each))):
            pairs = solved_by_one(winner, other)
            failed = Counter(theirs.subtasks[-1].subtask for _, theirs in pairs if theirs.subtasks)
            found.append(
                {
                    "winner": a,
                    "other": b,
                    "later": index,
                    "failed": failed.most_common(3),
                    "episodes": [
                        (mine.episode, mine.scene, theirs.chain_length, len(mine.subtasks), _last(theirs))
                        for mine, theirs in pairs
                    ],
                    "pairs": pairs,
                }
            )
    return found


def _last(record: EpisodeRecord) -> str:
    return record.subtasks[-1].subtask if record.subtasks else ""


def chosen(of: Sequence[Mapping[str, Any]], clips: Sequence[Mapping[str, Seen]], budget: int) -> Iterator[list[str]]:
    """For each direction the episodes to show, those with both clips first, as long as ``budget`` bytes last."""
    taken: set[tuple[int, str]] = set()
    for direction in of:
        sides = (direction["winner"], direction["other"])
        names = [episode for episode, *_ in direction["episodes"]]
        names = [name for name in names if any(name in clips[side] for side in sides)]
        names.sort(key=lambda name: not all(name in clips[side] for side in sides))
        picked: list[str] = []
        for name in names:
            there = {(side, name) for side in sides if name in clips[side]} - taken
            size = sum(clips[side][episode].clip.bytes for side, episode in there)
            if len(picked) < SHOWN and size <= budget:
                budget -= size
                taken |= there
                picked.append(name)
        yield picked


def commands(of: ResultSet, episodes: Iterable[str], clips: Mapping[str, Seen]) -> list[str]:
    """What is typed to have clips of those of the episodes that have none; empty where nobody can say."""
    missing = [episode for episode in episodes if episode not in clips]
    traced = [each for each in missing if (of.folder / TRACES / f"{file_name(each)}.npz").is_file()]
    untraced = [each for each in missing if each not in traced]
    found = []
    if traced:
        found.append(f"{program()} video {shlex.join([str(of.folder), '--episodes', *traced])}")
    if untraced and (words := _words(of)) is not None:
        again = [f"run.results={of.folder / AGAIN}", f"run.only=[{','.join(untraced)}]", "run.video=all"]
        found.append(f"{evaluation()} {shlex.join([*words, *again])}")
    return found


def _words(of: ResultSet) -> list[str] | None:
    """What was typed for the run, without what says where and how it is kept; of an ablation what was typed for the
    row. None: it was made by a program, or by a training."""
    tries = tries_of(of.folder / PROVENANCE)
    words = shlex.split(str(tries[-1].get("command", ""))) if tries else []
    begins = next((at for at, word in enumerate(words) if word == "run" or word.endswith("run_benchmark.py")), None)
    if begins is None:
        return None
    words = [word for word in words[begins + 1 :] if not word.startswith("--")]
    if any(word.startswith("ablation=") for word in words):
        row = next((row for row in read_rows(of.folder.parent) if row.folder == of.folder.name), None)
        if row is None or row.evaluation or not row.words:  # of an earlier version nobody noted them
            return None
        mine = row_of(of.header) or row.name
        own = [word.removeprefix(f"{mine}:") for word in words if word.startswith(f"{mine}:")]
        common = [word for word in words if ":" not in word.partition("=")[0] and not word.startswith("ablation=")]
        words = [*common, *row.words, *own]
    left_out = ("run.name", "run.results", "run.only", "run.video", "run.overwrite", "run.extend", "run.workers")
    return [word for word in words if word.partition("=")[0] not in left_out]
