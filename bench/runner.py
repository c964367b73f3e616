"""One evaluation from its configuration to its result set: plan, find the folder, run what is missing.

Running the same configuration again finishes the rest: the journal says which episodes are judged, and
only the others are run. What identifies a run (benchmark, policy, seed) may not change between tries;
where and how fast it is run may.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.config import Config, config_to_plain
from bench.dispatch import (
    EpisodeFinished,
    Event,
    Job,
    PolicyChoice,
    WorkerStarted,
    make_pool,
    run_episodes,
)
from bench.errors import ConfigError, ProtocolMismatch, ResultSetError, RunFailed, suggestion
from bench.evaluations import Plan, environment_of, plan
from bench.inference import Placement
from bench.protocol import EpisodeError, EpisodeSpec, canonical_json, to_plain
from bench.provenance import Provenance, now, usable_cores
from bench.records.early_stop import Looker, early_stop
from bench.records.journal import Journal
from bench.records.result_set import (
    CONFIG,
    DERIVED,
    ERRORS,
    JOURNAL,
    PROVENANCE,
    ResultSet,
)
from bench.screen import Screen, SilentScreen
from bench.tracking import check_tracker
from policies.base import PolicySpec
from policies.registry import NEED_NUMPY_ONLY, describe_policy

ERRORS_BEFORE_GIVING_UP = 3
"""A run with fewer errors is finished before ``run.max_error_rate`` is held against it; one that has so
many and not a single judged episode is not worth going on with."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DISK_FAULTS = _FULL | {errno.EIO, errno.EROFS, errno.ESTALE, errno.EACCES, errno.EPERM}


@dataclass(frozen=True, slots=True)
class Preparation:
    """A run that could start: everything known before a worker exists."""

    config: Config
    policy: PolicySpec
    plan: Plan
    identity: Mapping[str, Any]
    """What a run's folder belongs to, as plain data; another identity may not add to it."""
    folder: Path


def prepare(config: Config) -> Preparation:
    """Plans the run and names its folder; touches nothing, loads no simulator.

    Raises:
        UserError: the policy, the assets or the benchmark are not as configured; says what to type.
    """
    choice = PolicyChoice(config.policy.target, config.policy.arguments)
    policy = describe_policy(choice, environment_of(config.benchmark))
    if config.run.inference == "server" and policy.privileged:
        raise ConfigError(
            f"policy={config.policy.target} is shown the simulator's state, which no policy server "
            "gets: leave run.inference=server out"
        )
    check_tracker(config.run.tracking)
    if config.run.video != "none":
        from bench.video.clips import check_encoder

        check_encoder()
    made = plan(config.benchmark, policy)
    if config.run.stop_width is not None and made.protocol.facts["kind"] != "chains":
        raise ConfigError(
            "run.stop_width is for chains: a task suite has its episodes task by task, so its beginning does "
            "not stand for the whole. Leave it out"
        )
    identity = {
        "split": config.benchmark.split,
        "policy": config.policy.target,
        "arguments": to_plain(config.policy.arguments),
        "seed": config.run.seed,
        "protocol": made.protocol.hash,
    }
    if policy.files:
        identity["files"] = dict(policy.files)
    name = config.run.name or _slug(config.benchmark.name or config.benchmark.family, policy.name, identity)
    return Preparation(config, policy, made, identity, Path(config.run.results) / name)


def evaluate(config: Config, screen: Screen | None = None) -> ResultSet:
    """Runs what the run's folder does not hold yet, and makes its tables.

    Args:
        config: the run.
        screen: shows what goes on; nothing is shown without one.

    Returns:
        The result set; not complete (``summary.complete``) when the run was interrupted.

    Raises:
        UserError: see :func:`prepare`. ConfigError: ``run.only`` names an episode there is not.
        ResultSetError: the folder is in use, belongs to another run, or its disk is full.
        RunFailed: no worker could start, or more errors than ``run.max_error_rate`` allows. What was
            finished is its ``result_set``.
    """
    screen = screen or SilentScreen()
    ready = prepare(config)
    run = config.run
    header = _header(ready)
    wanted = _wanted(ready)
    longest = header["longest"]
    if not run.overwrite:
        _check_no_orphans(ready.folder)
    with (
        _writing_to(ready.folder),
        Journal.open(ready.folder / JOURNAL, header, overwrite=run.overwrite) as journal,
    ):
        _check_same_run(ready, journal, header)
        judged = {record.index for record in journal.contents.records if record.status == "done"}
        missing = [episode for episode in wanted if episode.index not in judged]
        if run.stop_width is not None and early_stop(journal.contents.records, run.stop_width, longest):
            missing = []
        if run.overwrite:
            for name in DERIVED:
                (ready.folder / name).unlink(missing_ok=True)
        screen.begin(ready.folder, header, journal.contents, len(missing))
        failure: RunFailed | None = None
        try:
            if missing:
                _write_config(ready.folder / CONFIG, config)
                _run(ready, missing, journal, screen)
        except RunFailed as error:
            failure = error
        except BaseException:
            with contextlib.suppress(ResultSetError, OSError):  # what went wrong first is told
                ResultSet.load(ready.folder).write()
            raise
        finally:
            screen.end()
        result_set = ResultSet.load(ready.folder)
        result_set.write()
    summary = result_set.summary
    if failure is None and summary.complete and summary.errors > run.max_error_rate * summary.planned:
        last = next(record.error for record in reversed(result_set.records) if record.error)
        failure = _too_many_errors(summary.errors, last, ready)
    if failure is not None:
        failure.result_set = result_set
        raise failure
    return result_set


class _Enough(Exception):
    """The average is known closely enough; the running episodes are dropped."""


def _run(ready: Preparation, missing: list[EpisodeSpec], journal: Journal, screen: Screen) -> None:
    run = ready.config.run
    about = {name: journal.contents.header[name] for name in ("protocol", "identity", "notes")}
    provenance = Provenance(ready.folder / PROVENANCE, about, fresh=run.overwrite)
    facts = ready.plan.protocol.facts
    limit = max(ERRORS_BEFORE_GIVING_UP - 1, run.max_error_rate * len(ready.plan.protocol.episodes))
    judged = sum(record.status == "done" for record in journal.contents.records)
    finished = errors = 0

    looker = None
    if run.stop_width is not None:
        looker = Looker(run.stop_width, journal.contents.header["longest"])
        for record in journal.contents.records:
            looker.take(record)

    def take(event: Event) -> None:
        nonlocal finished, errors, judged
        match event:
            case WorkerStarted(worker, info):
                _check_worker(worker, info, facts)
                provenance.add_worker(worker, info)
            case EpisodeFinished(record):
                journal.append(record)
                finished += 1
                errors += record.status == "error"
                judged += record.status == "done"
        screen.take(event)
        broken = errors > limit or (errors >= ERRORS_BEFORE_GIVING_UP and not judged)
        if broken and isinstance(event, EpisodeFinished) and event.record.error:
            raise _too_many_errors(errors, event.record.error, ready)
        if looker is not None and isinstance(event, EpisodeFinished):
            looker.take(event.record)
            if looker.reached is not None:
                raise _Enough

    inference = _placement(ready)
    workers = min(run.workers or usable_cores(), len(missing))
    job = Job(
        simulation=ready.plan.simulation,
        policy=PolicyChoice(ready.config.policy.target, ready.config.policy.arguments),
        seed=run.seed,
        step_deadline=run.step_deadline,
        decision_deadline=run.decision_deadline,
        start_deadline=run.start_deadline,
        recycle_mb=run.recycle_mb,
        video=run.video,
        folder=str(ready.folder.absolute()),
        inference=inference,
        servers=run.servers,
        trial=ready.plan.protocol.episodes[0],
        python=ready.plan.python,
    )
    placement = {name: getattr(run, name) for name in ("backend", "address", "stop_width")}
    provenance.begin(job.policy.target, {**placement, "inference": inference, "workers": workers})
    try:
        pool = make_pool(run.backend, workers, run.address, run.gpu_share)
        with contextlib.suppress(_Enough):
            run_episodes(job, missing, pool, max_attempts=run.max_attempts, on_event=take)
    except BaseException:
        with contextlib.suppress(OSError):  # what went wrong first is told
            provenance.end(finished)
        raise
    provenance.end(finished)


def _placement(ready: Preparation) -> Placement:
    """Where decisions are made."""
    chosen = ready.config.run.inference
    if chosen != "auto":
        return chosen
    elsewhere = ready.plan.python and not ready.policy.privileged
    return "server" if elsewhere and ready.config.policy.target not in NEED_NUMPY_ONLY else "child"


def _header(ready: Preparation) -> dict[str, Any]:
    """Line 1 of the journal: all that is needed to make sense of its records."""
    protocol = ready.plan.protocol
    return {
        "created": now(),
        "name": ready.folder.name,
        "benchmark": ready.config.benchmark.name or ready.config.benchmark.family,
        "policy": ready.policy.name,
        "identity": dict(ready.identity),
        "protocol": {"name": protocol.name, "hash": protocol.hash, "facts": to_plain(protocol.facts)},
        "episodes": len(protocol.episodes),
        "episode_digests": [episode.digest for episode in protocol.episodes],
        "longest": max(len(episode.subtasks) for episode in protocol.episodes),
        "tasks": sorted({task for episode in protocol.episodes for task in episode.subtasks}),
        "scenes": list(dict.fromkeys(episode.start.scene for episode in protocol.episodes)),
        "notes": list(ready.plan.notes),
    }


def _wanted(ready: Preparation) -> list[EpisodeSpec]:
    """The episodes of the protocol that this try is about."""
    episodes, only = ready.plan.protocol.episodes, ready.config.run.only
    names = {episode.episode for episode in episodes}
    for name in only:
        if name not in names:
            raise ConfigError(
                f"run.only={name}: this run has no such episode.{suggestion(name, names)} It has "
                f"{len(episodes)}, from {episodes[0].episode} to {episodes[-1].episode}"
            )
    return [episode for episode in episodes if not only or episode.episode in only]


def _check_no_orphans(folder: Path) -> None:
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
def _writing_to(folder: Path) -> Iterator[None]:
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


def _check_same_run(ready: Preparation, journal: Journal, mine_header: Mapping[str, Any]) -> None:
    """Refuses to add to another run's journal, naming what differs; gives one that is to be extended
    the header of the longer run."""
    header = journal.contents.header
    theirs, mine = header["identity"], dict(ready.identity)
    if theirs == mine:
        return
    places = _places_here(ready, header)
    if places and ready.config.run.extend:
        before = {"episodes": header["episodes"], "protocol": theirs["protocol"], "until": now()}
        extended = [*header.get("extended", []), before]
        about = {**mine_header, "created": header.get("created"), "extended": extended}
        journal.replace_header(about, places)
        return
    differences = [
        f"{name} {theirs.get(name)!r} there, {mine[name]!r} now"
        for name in mine
        if name != "protocol" and theirs.get(name) != mine[name]
    ]
    if theirs["protocol"] != mine["protocol"]:
        then, today = _flat(header["protocol"]["facts"]), _flat(ready.plan.protocol.facts)
        then["episodes"], today["episodes"] = header["episodes"], len(ready.plan.protocol.episodes)
        changed = [name for name in {**then, **today} if then.get(name) != today.get(name)]
        differences += [f"{name} {then.get(name)!r} there, {today.get(name)!r} now" for name in changed]
        if not changed:
            differences.append("the episodes themselves (states, subtasks, instructions or step limit)")
    more = "Add the further episodes to it with run.extend=true, or give" if places else "Give"
    raise ResultSetError(
        f"{ready.folder} holds another run, which differs in: {'; '.join(differences)}. "
        f"{more} this run its own folder with run.name=<name>, or discard that one with run.overwrite=true."
    )


def _places_here(ready: Preparation, header: Mapping[str, Any]) -> list[int]:
    """The places that the episodes of the run in the folder have in this one, when that run is a part of it:
    the same but for further sequences, rollouts, tasks or scenes. Empty when it is not."""
    protocol, digests = ready.plan.protocol, header.get("episode_digests")
    mine = {episode.digest: episode for episode in protocol.episodes}
    if not isinstance(digests, list) or len(digests) >= len(mine):
        return []
    theirs = [mine[digest] for digest in digests if isinstance(digest, str) and digest in mine]
    part = tuple(dataclasses.replace(episode, index=index) for index, episode in enumerate(theirs))
    same = {**ready.identity, "protocol": dataclasses.replace(protocol, episodes=part).hash}
    return [episode.index for episode in theirs] if header["identity"] == same else []


def _flat(facts: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested facts as dotted names."""
    flat: dict[str, Any] = {}
    for name, value in to_plain(facts).items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _check_worker(worker: str, info: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Refuses a worker whose renderer or assets are not those of the protocol."""
    for name in ("renderer", "assets", "assets_checksum"):
        if name in info and facts[name] not in (info[name], "none"):
            raise ProtocolMismatch(
                f"{worker} on {info.get('host')} has {name} {info[name]!r}, the run has {facts[name]!r}. "
                f"Make both machines alike, or name the {name} with benchmark.{name.partition('_')[0]}="
            )


def _too_many_errors(errors: int, last: EpisodeError, ready: Preparation) -> RunFailed:
    reason = last.message.partition("\n")[0]
    return RunFailed(
        f"{errors} of {len(ready.plan.protocol.episodes)} episodes ended in an error, more than "
        f"run.max_error_rate={ready.config.run.max_error_rate:g} allows. The last one: {last.kind}: "
        f"{reason}. The logs are in {ready.folder / ERRORS}; the same command tries those episodes again."
    )


def _slug(benchmark: str, policy: str, identity: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:8]
    return re.sub(r"[^a-z0-9._-]+", "-", f"{benchmark}-{policy}".lower()).strip("-.") + f"-{digest}"


def _write_config(path: Path, config: Config) -> None:
    import yaml

    from bench.records.journal import write_atomically

    lasting = dataclasses.replace(config.run, overwrite=False, extend=False, only=())
    plain = config_to_plain(dataclasses.replace(config, run=lasting))
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
