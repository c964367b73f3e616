"""What a CI service shows of results: JUnit's XML, and the summary page of a GitHub Actions job."""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path

from vla_bench.bench.errors import ConfigError
from vla_bench.bench.records.result_set import ResultSet

STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
"""Variable in which GitHub Actions names the file of a step's summary."""
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, e.g. a terminal's colours."""


def junit(of: ResultSet) -> str:
    """JUnit's XML: a test case per episode; a failure when not all of it was solved, an error when not judged."""
    longest = of.header["longest"]
    suite = ElementTree.Element("testsuite", name=_plain(f"{of.summary.benchmark} {of.summary.policy}"))
    failures = errors = 0
    seconds = 0.0
    for record in of.records:
        took = sum(getattr(record.timings, name) for name in ("physics", "rendering", "policy", "reset"))
        seconds += took
        case = ElementTree.SubElement(
            suite, "testcase", classname=_plain(of.summary.benchmark), name=record.episode, time=f"{took:.3f}"
        )
        if record.error is not None and record.status != "done":
            errors += 1
            message = _plain(record.error.message)
            ElementTree.SubElement(case, "error", type=record.error.kind, message=message).text = message
        elif record.chain_length < longest:
            failures += 1
            failed = next((each.subtask for each in record.subtasks if not each.success), "")
            message = f"{record.chain_length} of {longest} solved; failed at {failed}"
            ElementTree.SubElement(case, "failure", type="not_solved", message=_plain(message))
    counts = {"tests": len(of.records), "failures": failures, "errors": errors}
    for name, count in counts.items():
        suite.set(name, str(count))
    suite.set("time", f"{seconds:.3f}")
    whole = ElementTree.Element("testsuites")
    whole.append(suite)
    ElementTree.indent(whole)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(whole, encoding="unicode") + "\n"


def append_step_summary(markdown: str, environment: Mapping[str, str] = os.environ) -> Path:
    """Adds to the summary of the GitHub Actions step. ConfigError: there is no such step."""
    name = environment.get(STEP_SUMMARY)
    if not name:
        raise ConfigError(f"--github-summary: {STEP_SUMMARY} is not set; GitHub Actions sets it in each step of a job")
    path = Path(name)
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(markdown.rstrip() + "\n\n")
    except OSError as error:
        raise ConfigError(f"--github-summary: cannot write {path}: {error.strerror or error}") from error
    return path


def _plain(text: str) -> str:
    return _NO_XML.sub("�", text)
