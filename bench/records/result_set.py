"""A run's folder: the files it holds, how they are made, and how they are read back.

====================  ==================================================================================
config.yaml           the resolved configuration, every field spelled out
provenance.json       code, packages, machine, assets and renderer; one entry per try
journal.jsonl         the truth: one checksummed line per finished episode
episodes.parquet/csv  one row per episode
subtasks.parquet/csv  one row per attempted subtask of the judged episodes
timings.parquet/csv   one row per episode: which worker, which attempt, seconds by part
summary.json/md       the numbers, each with its n and interval
errors.md             only with errors: their logs, and how to run such an episode alone
====================  ==================================================================================

``episodes`` and ``subtasks`` depend on the records' outcomes alone: equal runs give equal bytes, however
many workers, tries and interruptions they took. What differs between equal runs is kept apart: in
``timings``, in the ``timing`` section that ends ``summary.json`` and ``summary.md``, in ``provenance.json``
and in the journal.
"""

from __future__ import annotations

import csv
import dataclasses
import html
import io
import json
import os
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_bench.bench.errors import ResultSetError
from vla_bench.bench.protocol import NOT_REPEATABLE, EpisodeRecord, Timings
from vla_bench.bench.records.early_stop import EarlyStop, early_stop
from vla_bench.bench.records.error_report import error_report
from vla_bench.bench.records.formats import html as html_table
from vla_bench.bench.records.formats import latex
from vla_bench.bench.records.journal import JournalContents, read_journal, write_atomically
from vla_bench.bench.records.numbers import Numbers, write_report
from vla_bench.bench.records.old_journals import score_of
from vla_bench.bench.records.provenance import (
    answers_of,
    changes_between,
    elapsed,
    pixels_of,
    policies_of,
    tries_of,
)
from vla_bench.bench.records.scoring import check_places
from vla_bench.bench.records.summary import Summary, summarize, summary_to_plain
from vla_bench.bench.records.tables import counted, counts_line, headline, key_line, tables, to_markdown
from vla_bench.policies.identity.content import named

if TYPE_CHECKING:
    import pandas
    import pyarrow

OF_TWIN = "twin:"
"""Begins what stands for the worker of a record that another set has made; the name of its folder follows."""
JOURNAL = "journal.jsonl"
CONFIG = "config.yaml"
PROVENANCE = "provenance.json"
ERRORS = "errors.md"
TABLES = ("episodes", "subtasks", "timings")
DERIVED = (
    *(f"{name}.{kind}" for name in TABLES for kind in ("parquet", "csv")),
    "summary.json",
    "summary.md",
    ERRORS,
)
"""Files that are made from the journal and can be made again."""

_INTEGERS = {"index", "chain_length", "attempted", "steps", "decisions", "position", "attempt"}
_BOOLEANS = {"success", "ever"}


class ResultSet(Numbers):
    """The results of one run, finished or not, read from its journal."""

    def __init__(self, folder: Path, contents: JournalContents) -> None:
        self.folder = folder
        self.header: Mapping[str, Any] = contents.header
        """Whose run it is: identity, protocol with its facts, number of episodes."""
        self.records: tuple[EpisodeRecord, ...] = contents.records
        """One per finished episode, by index."""
        self.damaged: tuple[int, ...] = contents.damaged
        """Journal lines that do not match their checksum; their episodes count as not run."""
        self._times = contents.times

    @classmethod
    def load(cls, folder: str | Path) -> ResultSet:
        """Reads a run's folder; works while the run is still going on.

        Raises:
            ResultSetError: the folder holds no readable journal, or one with a record that no number has.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise ResultSetError(f"there is no folder {folder}")
        contents = read_journal(folder / JOURNAL)
        check_places(score_of(contents.header, contents.records), contents.records, folder / JOURNAL)
        return cls(folder, contents)

    @cached_property
    def summary(self) -> Summary:
        """The numbers."""
        tries = tries_of(self.folder / PROVENANCE)
        took = elapsed(tries, self._times)
        header = dict(self.header)
        if changed := changes_between(tries):
            header["notes"] = [
                *header["notes"],
                f"made in several tries that differ in {', '.join(changed)}; see {PROVENANCE}",
            ]
        edits = [line for edit in header.get("edited", ()) for line in edit["changed"]]
        if edits := [*edits, *policies_of(tries)]:
            header["notes"] = [
                *header["notes"],
                f"more than one state of the policy made this (run.same_policy=true): {named(edits)}",
            ]
        twins = [record.worker.removeprefix(OF_TWIN) for record in self.records if record.worker.startswith(OF_TWIN)]
        if twins:
            header["notes"] = [
                *header["notes"],
                f"the policy is shown none of what was changed, so {counted(len(twins), 'episode')} "
                f"{'is' if len(twins) == 1 else 'are'} the unchanged twin's ({', '.join(sorted(set(twins)))})",
            ]
        workers = [worker for each in tries for worker in each.get("workers", ())]
        if any(worker.get("repeatable") is False for worker in workers):
            header["notes"] = [*header["notes"], NOT_REPEATABLE]
        if len(pixels := pixels_of(tries)) > 1:
            drawn = "; ".join(f"{frame} on {who}" for frame, who in pixels.items())
            header["notes"] = [*header["notes"], f"the workers drew different pixels ({drawn})"]
        if len(answers := answers_of(tries)) > 1:
            starts = sum(answers.values())
            header["notes"] = [
                *header["notes"],
                f"the server gave {len(answers)} different answers to the same observation in {starts} starts of "
                "workers: it draws at random, or is not the same model throughout",
            ]
        records: Sequence[EpisodeRecord] = self.records
        if stop := self.early_stop:
            header["episodes"] = stop.n
            header["notes"] = [*header["notes"], str(stop)]
            records = [record for record in records if record.index < stop.n]
        return summarize(header, records, wall=took.wall, startup=took.startup)

    @cached_property
    def early_stop(self) -> EarlyStop | None:
        """Where its last try stopped early, with ``run.stop_width``; None when it did not."""
        tries = tries_of(self.folder / PROVENANCE)
        placement = tries[-1].get("placement") if tries else None
        width = placement.get("stop_width") if isinstance(placement, dict) else None
        if not isinstance(width, int | float) or len(self.records) == self.header["episodes"]:
            return None
        return early_stop(self.records, width, self.header["longest"])

    @property
    def episodes(self) -> pandas.DataFrame:
        """One row per episode; ``chain_length`` is missing where an error kept it from being judged."""
        return self._arrow("episodes").to_pandas()

    @property
    def subtasks(self) -> pandas.DataFrame:
        """One row per attempted subtask of the judged episodes."""
        return self._arrow("subtasks").to_pandas()

    @property
    def timings(self) -> pandas.DataFrame:
        """One row per episode: worker, attempt, seconds by part."""
        return self._arrow("timings").to_pandas()

    def to_latex(self) -> str:
        """Its first table (chain table or task suite) for a paper; needs the booktabs package."""
        if not self.summary.done:
            raise ResultSetError(f"{self.folder}: no episode was judged, so there is no table")
        return latex(tables(self.summary)[0])

    def report(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Writes one HTML file to read or to send, and returns where it is: ``report.html`` in the folder unless said.

        ResultSetError: nothing is finished yet, or the file cannot be written.
        """
        if not self.records:
            raise ResultSetError(f"{self.folder} has no finished episode yet, so there is nothing to report")
        return write_report(path or self.folder / "report.html", {self.summary.policy: self})

    def __repr__(self) -> str:
        return f"<ResultSet {self.folder.name}: {key_line(self.summary)}>"

    def _repr_html_(self) -> str:
        lines = [headline(self.summary), counts_line(self.summary), *self.summary.notes]
        said = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
        return said + "".join(html_table(table) for table in tables(self.summary)[:-1])

    def has(self, episodes: Sequence[str] = ()) -> bool:
        """Whether these episodes (names, or ranges as in ``run.only``) are judged or given up; without any: all of
        the protocol."""
        places = {record.episode: record.index for record in self.records}
        finished = set(places.values())
        for word in episodes:
            first, dots, last = word.partition("..")
            ends = [places.get(end, int(end) if dots and end.isdecimal() else -1) for end in (first, last or first)]
            if -1 in ends or not finished.issuperset(range(ends[0], ends[1] + 1)):
                return False
        return bool(episodes) or self.summary.complete

    def write(self) -> None:
        """Makes all derived files anew from the records, each whole or not at all."""
        from pyarrow import parquet

        for name in TABLES:
            make_parquet = partial(parquet.write_table, self._arrow(name))
            write_atomically(self.folder / f"{name}.parquet", make_parquet)
            write_atomically(self.folder / f"{name}.csv", partial(_write_bytes, self._csv(name)))
        plain = json.dumps(summary_to_plain(self.summary), indent=2, ensure_ascii=False, allow_nan=False)
        for name, text in (("summary.json", f"{plain}\n"), ("summary.md", to_markdown(self.summary))):
            write_atomically(self.folder / name, partial(_write_bytes, text.encode()))
        if any(record.error for record in self.records):
            report = error_report(self.records, tries_of(self.folder / PROVENANCE))
            write_atomically(self.folder / ERRORS, partial(_write_bytes, report.encode()))
        else:
            (self.folder / ERRORS).unlink(missing_ok=True)

    def _csv(self, name: str) -> bytes:
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS[name], lineterminator="\n")
        writer.writeheader()
        writer.writerows(_ROWS[name](self.records))
        return text.getvalue().encode()

    def _arrow(self, name: str) -> pyarrow.Table:
        # By way of the CSV text: building a table from Python objects would import pandas, most of a
        # second. Arrow reads a float's shortest representation back to the same bits.
        import pyarrow
        from pyarrow import csv as arrow_csv

        table = arrow_csv.read_csv(
            pyarrow.BufferReader(self._csv(name)),
            arrow_csv.ReadOptions(use_threads=False),
            arrow_csv.ParseOptions(newlines_in_values=True),
            arrow_csv.ConvertOptions(
                column_types={column: _arrow_type(column) for column in COLUMNS[name]},
                null_values=[""],
                true_values=["True"],
                false_values=["False"],
                strings_can_be_null=True,
            ),
        )
        return table.replace_schema_metadata({"protocol": self.header["protocol"]["hash"]})


def _episode_rows(records: Sequence[EpisodeRecord]) -> list[dict[str, Any]]:
    return [
        {
            "index": record.index,
            "episode": record.episode,
            "scene": record.scene,
            "status": record.status,
            "chain_length": record.chain_length if record.status == "done" else None,
            "attempted": len(record.subtasks),
            "steps": sum(subtask.steps for subtask in record.subtasks),
            "decisions": sum(subtask.decisions for subtask in record.subtasks),
            "error_kind": record.error.kind if record.error else None,
            "error_message": record.error.message if record.error else None,
        }
        for record in records
    ]


def _subtask_rows(records: Sequence[EpisodeRecord]) -> list[dict[str, Any]]:
    return [
        {
            "index": record.index,
            "episode": record.episode,
            "scene": record.scene,
            "position": subtask.position,
            "subtask": subtask.subtask,
            "instruction": subtask.instruction,
            "success": subtask.success,
            "ever": subtask.ever,
            "steps": subtask.steps,
            "decisions": subtask.decisions,
            "flags": json.dumps(dict(subtask.flags), sort_keys=True) if subtask.flags else None,
            "digest": subtask.digest,
        }
        for record in records
        if record.status == "done"
        for subtask in record.subtasks
    ]


def _timing_rows(records: Sequence[EpisodeRecord]) -> list[dict[str, Any]]:
    return [
        {
            "index": record.index,
            "episode": record.episode,
            "worker": record.worker,
            "attempt": record.attempt,
            **{f"{part}_s": seconds for part, seconds in dataclasses.asdict(record.timings).items()},
        }
        for record in records
    ]


_ROWS = {"episodes": _episode_rows, "subtasks": _subtask_rows, "timings": _timing_rows}

COLUMNS = {
    "episodes": (
        *("index", "episode", "scene", "status", "chain_length", "attempted", "steps", "decisions"),
        *("error_kind", "error_message"),
    ),
    "subtasks": (
        *("index", "episode", "scene", "position", "subtask", "instruction", "success", "ever"),
        *("steps", "decisions", "flags", "digest"),
    ),
    "timings": (
        *("index", "episode", "worker", "attempt"),
        *(f"{part.name}_s" for part in dataclasses.fields(Timings)),
    ),
}
"""Columns of each table, in order."""


def _arrow_type(column: str) -> pyarrow.DataType:
    import pyarrow

    if column in _INTEGERS:
        return pyarrow.int64()
    if column in _BOOLEANS:
        return pyarrow.bool_()
    return pyarrow.float64() if column.endswith("_s") else pyarrow.string()


def _write_bytes(content: bytes, path: Path) -> None:
    path.write_bytes(content)
