"""Slices of one run, made on several machines, as one result set."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vla_bench.bench.errors import ResultSetError
from vla_bench.bench.protocol import EpisodeRecord
from vla_bench.bench.records.conditions import flat
from vla_bench.bench.records.journal import Journal, write_atomically
from vla_bench.bench.records.provenance import stated_by_workers, tries_of
from vla_bench.bench.records.result_set import CONFIG, JOURNAL, PROVENANCE, ResultSet
from vla_bench.policies.identity.content import differences, named, shared_differences

_OF_ONE_RUN = ("episodes", "episode_digests", "longest")


def join(folders: Sequence[Path], target: Path) -> ResultSet:
    """Makes one result set of slices of a run.

    They must be of one run to the digest: the same policy (its code and files), arguments, seed, protocol and
    episodes. An episode that several of them hold must have come out the same in all.

    Raises:
        ResultSetError: they are not, the target is there already, or a slice cannot be read.
    """
    if len(folders) < 2:
        raise ResultSetError("give at least two folders to join")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ResultSetError(f"{target} is there already; join into another folder")
    sets = [ResultSet.load(folder) for folder in folders]
    for each in sets[1:]:
        _refuse_unlike(sets[0], each)
    records = _union(sets)
    header = {**sets[0].header, "name": target.name}
    header.pop("format", None)
    header["notes"] = list(dict.fromkeys(note for each in sets for note in each.header["notes"]))
    header["joined"] = [{"folder": each.folder.name, "episodes": len(each.records)} for each in sets]
    if edited := [edit for each in sets for edit in each.header.get("edited", ())]:
        header["edited"] = edited
    with Journal.open(target / JOURNAL, header) as journal:
        for record in records:
            journal.append(record)
    tries = [one for each in sets for one in tries_of(each.folder / PROVENANCE)]
    about = {name: header[name] for name in ("protocol", "identity", "notes")}
    text = json.dumps({**about, "tries": sorted(tries, key=lambda one: one["started"])}, indent=2, ensure_ascii=False)
    write_atomically(target / PROVENANCE, lambda temporary: temporary.write_text(f"{text}\n", encoding="utf-8"))
    if (sets[0].folder / CONFIG).is_file():
        shutil.copyfile(sets[0].folder / CONFIG, target / CONFIG)
    joined = ResultSet.load(target)
    joined.write()
    return joined


def _refuse_unlike(first: ResultSet, other: ResultSet) -> None:
    mine, theirs = dict(first.header["identity"]), dict(other.header["identity"])
    found = differences(mine.pop("content", {}), theirs.pop("content", {}), "here")
    then, now = (stated_by_workers(tries_of(each.folder / PROVENANCE)) for each in (first, other))
    found += [line for line in shared_differences(then, now, "here") if line not in found]
    found += [
        f"{name} {mine.get(name)!r} there, {theirs.get(name)!r} here" for name in mine if mine[name] != theirs.get(name)
    ]
    found += _facts(first.header["protocol"]["facts"], other.header["protocol"]["facts"])
    found += [
        f"the {name.replace('_', ' ')} are others"
        for name in _OF_ONE_RUN
        if first.header.get(name) != other.header.get(name)
    ]
    if found:
        raise ResultSetError(
            f"{first.folder} (there) and {other.folder} (here) are no slices of one run: {named(found)}. To compare "
            "them type: vla-bench compare"
        )


def _facts(first: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    mine, theirs = flat(first), flat(other)
    return [
        f"{name} {mine.get(name)!r} there, {theirs.get(name)!r} here"
        for name in {**mine, **theirs}
        if mine.get(name) != theirs.get(name)
    ]


def _union(sets: Sequence[ResultSet]) -> list[EpisodeRecord]:
    """Each episode once; a judged record goes before an error."""
    found: dict[int, tuple[EpisodeRecord, Path]] = {}
    for each in sets:
        for record in each.records:
            earlier = found.get(record.index)
            if earlier is None or earlier[0].status == "error":
                found[record.index] = (record, each.folder)
            elif record.status == "done" and record.outcome() != earlier[0].outcome():
                raise ResultSetError(
                    f"{record.episode} did not come out the same in {earlier[1]} and in {each.folder}, so one of them "
                    "does not repeat; which of the two counts nobody can say"
                )
    return [found[index][0] for index in sorted(found)]
