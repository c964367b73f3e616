"""A run's folder, before and while it is written to: whose it is, and what the disk says."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vla_bench.bench.errors import ResultSetError
from vla_bench.bench.protocol import to_plain
from vla_bench.bench.records.conditions import flat
from vla_bench.bench.records.journal import Journal, write_atomically
from vla_bench.bench.records.provenance import now
from vla_bench.bench.records.result_set import CONFIG, DERIVED, JOURNAL
from vla_bench.bench.setup.config import Config, config_to_plain
from vla_bench.bench.setup.preparation import Preparation
from vla_bench.policies.identity.content import differences, named

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DISK_FAULTS = _FULL | {errno.EIO, errno.EROFS, errno.ESTALE, errno.EACCES, errno.EPERM}


def check_no_orphans(folder: Path) -> None:
    """Refuses to write over tables whose journal is gone: they may be all that is left of a run."""
    journal = folder / JOURNAL
    if journal.exists() and (not journal.is_file() or journal.stat().st_size):
        return
    if orphans := [name for name in DERIVED if (folder / name).exists()]:
        raise ResultSetError(
            f"{folder} holds {orphans[0]}, but no {JOURNAL} that it was made from. Move the folder away, "
            "give this run another one with run.name=<name>, or type run.overwrite=true to start afresh"
        )


@contextlib.contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Says in a sentence that a disk is full, read-only or gone."""
    try:
        yield
    except OSError as error:
        there = Path(str(error.filename2 or error.filename))
        if error.errno not in _DISK_FAULTS and folder not in there.parents:
            raise
        where = there if folder in there.parents else folder
        mend = "make room" if error.errno in _FULL else "mend that"
        raise ResultSetError(
            f"cannot write to {where}: {error.strerror or error}. What {JOURNAL} holds is safe; {mend}, "
            "and the same command finishes the rest"
        ) from error


def check_same_run(ready: Preparation, journal: Journal, mine_header: Mapping[str, Any]) -> None:
    """Refuses to add to another run's journal, naming what differs; gives one that is to be extended
    the header of the longer run, and one that another state of the policy goes on with a mark."""
    header = journal.contents.header
    theirs, mine = dict(header["identity"]), dict(ready.identity)
    edits = differences(theirs.pop("content", {}), mine.pop("content"))
    places = _places_here(ready, header, theirs, mine)
    if theirs != mine and not (places and ready.config.run.extend):
        raise _another_run(ready, header, theirs, mine, edits, places)
    if edits and not ready.config.run.same_policy:
        raise ResultSetError(
            f"{ready.folder} was made by another state of the policy: {named(edits)}. Give this one its own folder "
            "with run.name=<name>, discard that one with run.overwrite=true, or go on with run.same_policy=true if "
            "you know that both are the same policy; every table then says so."
        )
    about = dict(header)
    if theirs != mine:
        before = {"episodes": header["episodes"], "protocol": theirs["protocol"], "until": now()}
        extended = [*header.get("extended", []), before]
        about = {**mine_header, "created": header.get("created"), "extended": extended}
        about["edited"] = list(header.get("edited", []))
    if edits and journal.contents.records and _something_missing(ready, journal):
        about["edited"] = [*about.get("edited", []), {"until": now(), "changed": edits}]
    elif edits and journal.contents.records:
        return  # nothing is run, so nothing of the new state gets into it
    about["identity"] = dict(ready.identity)
    if about != header:
        about.pop("format", None)
        journal.replace_header(about, places or range(header["episodes"]))


def _something_missing(ready: Preparation, journal: Journal) -> bool:
    judged = sum(record.status == "done" for record in journal.contents.records)
    return judged < len(ready.plan.protocol.episodes)


def _another_run(
    ready: Preparation,
    header: Mapping[str, Any],
    theirs: Mapping[str, Any],
    mine: Mapping[str, Any],
    edits: list[str],
    places: list[int],
) -> ResultSetError:
    found = [
        f"{name} {theirs.get(name)!r} there, {mine[name]!r} now"
        for name in mine
        if name != "protocol" and theirs.get(name) != mine[name]
    ]
    if theirs["protocol"] != mine["protocol"]:
        then, today = flat(header["protocol"]["facts"]), flat(to_plain(ready.plan.protocol.facts))
        then["episodes"], today["episodes"] = header["episodes"], len(ready.plan.protocol.episodes)
        changed = [name for name in {**then, **today} if then.get(name) != today.get(name)]
        found += [f"{name} {then.get(name)!r} there, {today.get(name)!r} now" for name in changed]
        if "score" not in header["protocol"]:
            found.append("it was begun by a version before 0.2.0, whose protocol did not state its score")
        elif not changed:
            found.append("the episodes themselves (states, subtasks, instructions or step limit)")
    if edits:
        found.append(named(edits))
    more = "Add the further episodes to it with run.extend=true, or give" if places else "Give"
    return ResultSetError(
        f"{ready.folder} holds another run, which differs in: {'; '.join(found)}. "
        f"{more} this run its own folder with run.name=<name>, or discard that one with run.overwrite=true."
    )


def _places_here(
    ready: Preparation, header: Mapping[str, Any], theirs: Mapping[str, Any], mine: Mapping[str, Any]
) -> list[int]:
    """The places that the episodes of the run in the folder have in this one, when that run is a part of it:
    the same but for further sequences, rollouts, tasks or scenes. Empty when it is not."""
    protocol, digests = ready.plan.protocol, header.get("episode_digests")
    here = {episode.digest: episode for episode in protocol.episodes}
    if not isinstance(digests, list) or len(digests) >= len(here):
        return []
    episodes = [here[digest] for digest in digests if isinstance(digest, str) and digest in here]
    part = tuple(dataclasses.replace(episode, index=index) for index, episode in enumerate(episodes))
    score = protocol.score.restricted([episode.episode for episode in part])
    if score is None:
        return []
    same = {**mine, "protocol": dataclasses.replace(protocol, episodes=part, score=score).hash}
    return [episode.index for episode in episodes] if theirs == same else []


def write_config(folder: Path, config: Config) -> None:
    """Writes what was asked for, so that it can be asked for again."""
    import yaml

    lasting = dataclasses.replace(config.run, overwrite=False, extend=False, same_policy=False, only=())
    plain = config_to_plain(dataclasses.replace(config, run=lasting))
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    write_atomically(folder / CONFIG, lambda temporary: temporary.write_text(text, encoding="utf-8"))
