"""One evaluation from its configuration to its result set: plan, find the folder, run what is missing.

Running the same configuration again finishes the rest: the journal says which episodes are judged, and
only the others are run. What identifies a run (benchmark, policy, seed) may not change between tries;
where and how fast it is run may.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from typing import Any

from vla_bench.bench.dispatch import (
    EpisodeFinished,
    Event,
    Job,
    PolicyChoice,
    WorkerStarted,
    make_pool,
    run_episodes,
)
from vla_bench.bench.dispatch.inline_pool import InlinePool
from vla_bench.bench.dispatch.worker_log import ShownLogs, keep_output
from vla_bench.bench.errors import ProtocolMismatch, ResultSetError, RunFailed
from vla_bench.bench.families import find_family
from vla_bench.bench.live.screen import Screen, SilentScreen
from vla_bench.bench.machine.cores import usable_cores
from vla_bench.bench.packages import ENGINE, LEARNED
from vla_bench.bench.policy_server.live import LiveInstance, serving
from vla_bench.bench.protocol import EpisodeError, EpisodeSpec
from vla_bench.bench.records.early_stop import Looker, early_stop
from vla_bench.bench.records.journal import Journal, read_journal
from vla_bench.bench.records.provenance import Provenance, policy_entry, stated_by_workers, tries_of
from vla_bench.bench.records.result_set import (
    DERIVED,
    ERRORS,
    JOURNAL,
    PROVENANCE,
    ResultSet,
)
from vla_bench.bench.records.step_states import STATES
from vla_bench.bench.setup.config import Config
from vla_bench.bench.setup.plan import environment_of
from vla_bench.bench.setup.preparation import (
    Preparation,
    identified,
    journal_header,
    placement,
    prepare,
    wanted_episodes,
)
from vla_bench.bench.setup.run_folder import check_no_orphans, check_same_run, write_config, writing_to
from vla_bench.bench.stopping import StopButton
from vla_bench.bench.stress.reuse import twins_records
from vla_bench.bench.vectors.heard import HEARD
from vla_bench.policies.identity.content import Content, content_from_plain, named, shared_differences

SERVER = "policy.server"
"""What a policy that is served elsewhere says of itself, among the digests of a run."""
ERRORS_BEFORE_GIVING_UP = 3
"""A run with fewer errors is finished before ``run.max_error_rate`` is held against it; one that has so
many and not a single judged episode is not worth going on with."""


def evaluate(
    config: Config, screen: Screen | None = None, ready: Preparation | None = None, live: LiveInstance | None = None
) -> ResultSet:
    """Runs what the run's folder does not hold yet, and makes its tables.

    Args:
        config: the run.
        screen: shows what goes on; nothing is shown without one.
        ready: what :func:`prepare` or :func:`plan_run` made of it, where that is known already: planning may ask a
            driver or a policy.
        live: a policy of this process, which serves it to the workers.

    Returns:
        The result set; not complete (``summary.complete``) when the run was interrupted. An interruption that came
        when all was judged is passed on: KeyboardInterrupt, after Ctrl-C.

    Raises:
        UserError: see :func:`prepare`. ConfigError: ``run.only`` names an episode there is not.
        ResultSetError: the folder is in use, belongs to another run, or its disk is full.
        RunFailed: no worker could start, or more errors than ``run.max_error_rate`` allows. What was
            finished is its ``result_set``.
    """
    screen = screen or SilentScreen()
    ready = plan_run(config, live, ready)
    try:
        with StopButton() as stop:
            result_set = _finish(ready, screen, stop)
    finally:
        ready.release()
    if result_set.has(config.run.only):
        stop.pass_on()
    return result_set


def plan_run(config: Config, live: LiveInstance | None = None, ready: Preparation | None = None) -> Preparation:
    """All that has to be asked before the run's folder is touched; ``ready`` is what :func:`prepare` knows of it.

    Raises:
        UserError: see :func:`prepare`.
    """
    ready = ready or prepare(config, live, keep=True)
    try:
        return ready if ready.identified else _with_its_word(ready) or identified(ready)
    except BaseException:
        ready.release()
        raise


def _finish(ready: Preparation, screen: Screen, stop: StopButton) -> ResultSet:
    """Runs what is missing and writes the tables, which a stop does not keep from being written."""
    config, run = ready.config, ready.config.run
    header = journal_header(ready)
    wanted = wanted_episodes(ready)
    longest = header["longest"]
    if not run.overwrite:
        check_no_orphans(ready.folder)
    with (
        writing_to(ready.folder),
        Journal.open(ready.folder / JOURNAL, header, overwrite=run.overwrite) as journal,
    ):
        check_same_run(ready, journal, header)
        judged = {record.index for record in journal.contents.records if record.status == "done"}
        missing = [episode for episode in wanted if episode.index not in judged]
        if run.stop_width is not None and early_stop(journal.contents.records, run.stop_width, longest):
            missing = []
        if run.overwrite:
            for name in DERIVED:
                (ready.folder / name).unlink(missing_ok=True)
            for path in (*(ready.folder / STATES).glob("*.parquet"), *(ready.folder / HEARD).glob("*")):
                path.unlink(missing_ok=True)
        if reused := twins_records(ready, missing):
            for record in reused:
                journal.append(record)
            journal.contents = read_journal(ready.folder / JOURNAL)
            done = {record.index for record in reused}
            missing = [episode for episode in missing if episode.index not in done]
            write_config(ready.folder, config)
        screen.begin(ready.folder, header, journal.contents, len(missing))
        failure: RunFailed | None = None
        try:
            if missing:
                write_config(ready.folder, config)
                _run(ready, missing, journal, screen, stop)
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


def _with_its_word(ready: Preparation) -> Preparation | None:
    """A run that is through needs to ask nobody what it was: its journal says so. None: it is not through."""
    if ready.config.run.overwrite:
        return None
    try:
        contents = read_journal(ready.folder / JOURNAL)
    except (ResultSetError, OSError):
        return None
    judged = {record.index for record in contents.records if record.status == "done"}
    if any(episode.index not in judged for episode in wanted_episodes(ready)):
        return None
    theirs = contents.header["identity"].get("content")
    words = {name: word for name, word in theirs.items() if name == SERVER} if isinstance(theirs, Mapping) else {}
    identity = {**ready.identity, "content": {**ready.content.digests, **words}}
    return dataclasses.replace(ready, identity=identity, identified=True)


class _Enough(Exception):
    """The average is known closely enough; the running episodes are dropped."""


def _run(ready: Preparation, missing: list[EpisodeSpec], journal: Journal, screen: Screen, stop: StopButton) -> None:
    run = ready.config.run
    about = {name: journal.contents.header[name] for name in ("protocol", "identity", "notes")}
    about["protocol"] = {name: value for name, value in about["protocol"].items() if name != "score"}  # it is long
    packages = (*ENGINE, *LEARNED, *find_family(ready.config.benchmark.family).packages)
    earlier = Content() if run.overwrite else stated_by_workers(tries_of(ready.folder / PROVENANCE))
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
                _check_policy(worker, info, ready, earlier)
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

    inference = placement(ready)
    workers = 1 if run.backend == "inline" else min(run.workers or usable_cores(), len(missing))
    job = Job(
        simulation=ready.plan.simulation,
        policy=PolicyChoice(ready.config.policy.target, ready.config.policy.arguments),
        run=run,
        folder=str(ready.folder.absolute()),
        results=str(ready.folder.parent.absolute()),
        inference=inference,
        trial=ready.plan.protocol.episodes[0],
        python=ready.plan.python,
        packages=packages,
        asked_at=ready.kept.address if ready.kept is not None else "",
    )
    how = {name: getattr(run, name) for name in ("backend", "address", "stop_width")}
    provenance.begin(
        policy_entry(job.policy.target, ready.content), {**how, "inference": inference, "workers": workers}
    )
    try:
        pool = make_pool(run.backend, workers, run.address, run.gpu_share)
        if isinstance(pool, InlinePool):
            pool.asked = ready.built
        if ready.live is not None:
            pool = serving(pool, ready.live.serve(environment_of(ready.config.benchmark), ready.content))
        if ready.kept is None:  # else it begins the log of what that process becomes
            keep_output(ready.folder, "specification", ready.output)
        shown = ShownLogs(ready.folder) if run.show_output and run.backend != "inline" else contextlib.nullcontext()
        with contextlib.suppress(_Enough), shown:
            run_episodes(job, missing, pool, on_event=take, stop=stop)
    except BaseException:
        with contextlib.suppress(OSError):  # what went wrong first is told
            provenance.end(finished)
        raise
    provenance.end(finished)


def _check_worker(worker: str, info: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Refuses a worker whose renderer or assets are not those of the protocol."""
    for name in ("renderer", "assets", "assets_checksum"):
        if name in info and facts[name] not in (info[name], "none"):
            raise ProtocolMismatch(
                f"{worker} on {info.get('host')} has {name} {info[name]!r}, the run has {facts[name]!r}. "
                f"Make both machines alike, or name the {name} with benchmark.{name.partition('_')[0]}="
            )


def _check_policy(worker: str, info: Mapping[str, Any], ready: Preparation, earlier: Content) -> None:
    """Refuses a worker that has other code or other files than this process, or reads others than workers of an earlier
    try did: it has decided once by then, and may read what no source names."""
    if ready.config.run.same_policy or not isinstance(info.get("content"), Mapping):
        return
    content = content_from_plain(info["content"])
    edits = shared_differences(ready.content, content, f"on {worker}")
    if not edits:
        edits = shared_differences(earlier, Content(content.sources, content.read), f"on {worker}")
    if edits:
        raise ProtocolMismatch(
            f"{worker} on {info.get('host')} has another state of the policy than the run: {named(edits)}. Bring "
            "both to the same state (an edit while a run goes on waits for its end), or go on with "
            "run.same_policy=true; every table then says so"
        )


def _too_many_errors(errors: int, last: EpisodeError, ready: Preparation) -> RunFailed:
    reason = last.message.partition("\n")[0]
    return RunFailed(
        f"{errors} of {len(ready.plan.protocol.episodes)} episodes ended in an error, more than "
        f"run.max_error_rate={ready.config.run.max_error_rate:g} allows. The last one: {last.kind}: "
        f"{reason}. The logs are in {ready.folder / ERRORS}; the same command tries those episodes again."
    )
